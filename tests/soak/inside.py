#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a node of the soak, from standard input: what of it is broken now, or what is left on it at the end.

``health``: {"broken": [texts], "vms": {UUID: CLUSTER.PROC of the VMs with leases}}, and on the access point
{"offering": [nodes that offer VMs], "queue": {STATE: VM jobs}, "tasks": {UUID: tasks that it has done}}.
``left``: {KIND: [things that should be gone, as text]}; standard library only.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

RUN = Path("/run/condor_vac")
EXECUTE = Path("/var/lib/condor/execute")
CONSOLES = Path("/var/log/libvirt/qemu")
FACTORIES = Path("/var/lib/condor_vac")
MACHINETYPES = Path("/etc/condor_vac/machinetypes")
QUEUES = "http://127.0.0.1:8080"
LIMIT_SECONDS = 10.0
# A run of vac_watch every ten seconds; one that is this old does not come any more.
WATCH_SECONDS = 60.0
CYCLE_SECONDS = 90.0
# What the programs keep under /run/condor_vac while they run no VM.
KEPT = {"lock", "leases", "watch", "http", "vm_universe_looked", "damaged", "troubles.json"}
PROCESSES = re.compile(
    r"qemu-system|xorriso|genisoimage|vm-gahp|condor_starter|vac_lease|vac_prepare_hook|vac_exit_hook"
    r"|libvirt_cernvm_script|libexec/vac_watch|hooks/qemu"
)


def run(*argv: str) -> str:
    """What a program prints. Raises OSError or SubprocessError, also when it takes too long."""
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=LIMIT_SECONDS).stdout


def tried(what: str, broken: list[str], *argv: str) -> str:
    """What a program prints; if it fails, that is broken and there is nothing."""
    try:
        return run(*argv)
    except (OSError, subprocess.SubprocessError) as error:
        words = (getattr(error, "stderr", None) or str(error)).split()
        broken.append(f"{what}: {' '.join(words)[-160:]}")
        return ""


def is_worker() -> bool:
    return Path("/etc/condor_vac/worker.json").exists()


def health() -> dict[str, Any]:
    """What is broken on this node now, and its VMs."""
    found: dict[str, Any] = {"broken": [], "vms": {}}
    units = ["condor"] + (["libvirtd", "vac_http", "vac_watch.timer"] if is_worker() else ["taskqueue"])
    for unit in units:
        tried(unit, found["broken"], "systemctl", "is-active", unit)
    if is_worker():
        tried("libvirt", found["broken"], "virsh", "-q", "list")
        found["broken"] += watch_trouble()
        found["vms"] = leases()
    else:
        found.update(access_point(found["broken"]))
    return found


def watch_trouble() -> list[str]:
    """What is wrong with vac_watch: no run for too long, or one that failed.

    A starter that does not answer is its VM's matter: none does in the first half minute of its VM.
    """
    broken: list[str] = []
    names = ("Result", "ExecMainStartTimestampMonotonic")
    text = tried("vac_watch", broken, "systemctl", "show", "vac_watch", *(f"--property={name}" for name in names))
    shown = dict(line.partition("=")[::2] for line in text.splitlines())
    started = int(shown.get("ExecMainStartTimestampMonotonic") or 0) / 1e6
    if not broken and time.clock_gettime(time.CLOCK_MONOTONIC) - started > WATCH_SECONDS:
        broken.append("vac_watch: its last run began too long ago")
    elif shown.get("Result") not in {"success", None}:
        said = tried("the journal", broken, "journalctl", "-q", "-o", "cat", "-t", "vac_watch", "--since", "-30s")
        lines = (line[:160] for line in dict.fromkeys(said.splitlines()))
        broken += [line for line in lines if "vac_watch: " in line and "no answer within" not in line]
    return broken


def leases() -> dict[str, str]:
    """UUID to job of the VMs that have leases which can be read; HTCondor's name of a VM ends with its job."""
    found = {}
    for path in (RUN / "leases").glob("*.json"):
        try:
            found[path.stem] = str(json.loads(path.read_text("utf-8"))["domain"]).rpartition("_")[2]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def access_point(broken: list[str]) -> dict[str, Any]:
    """Which nodes offer VMs, the VM jobs in the queue, each VM's tasks; what is wrong with the factories."""
    slots = tried(
        "the collector", broken, "condor_status", "-constraint", "PartitionableSlot", "-af", "Machine", "HasVM"
    )
    pairs = (line.split() for line in slots.splitlines())
    offering = [words[0].partition(".")[0] for words in pairs if words[1:] == ["true"]]
    jobs = tried("the schedd", broken, "condor_q", "-allusers", "-constraint", "JobUniverse == 13", "-af", "JobStatus")
    states = jobs.split()
    factories = tried(
        "the schedd", broken, "condor_q", "-allusers", "-constraint", "JobUniverse == 7", "-af", "JobStatus"
    )
    wanted = len(list(MACHINETYPES.glob("*.json")))
    if factories.split().count("2") != wanted:
        broken.append(f"of {wanted} factories {factories.split().count('2')} run")
    else:
        for path in FACTORIES.glob("*/state.json"):
            broken += factory_trouble(path)
    return {
        "offering": offering,
        "queue": {state: states.count(state) for state in sorted(set(states))},
        "tasks": tasks(),
    }


def factory_trouble(path: Path) -> list[str]:
    """What is wrong with a factory by its state file."""
    name = path.parent.name
    try:
        last = json.loads(path.read_text("utf-8"))["last"]
        if last["error"]:
            return [f"{name}'s factory: {last['error'][:160]}"]
        age = time.time() - last["time"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{name}'s state: {error!r}"]
    return [f"{name}'s factory: its last cycle was {age:.0f} s ago"] if age > CYCLE_SECONDS else []


def tasks() -> dict[str, int]:
    """How many tasks each VM has done; none while the queue does not answer."""
    try:
        with urllib.request.urlopen(f"{QUEUES}/work/status", timeout=LIMIT_SECONDS) as answer:  # noqa: S310 - http
            return {name: int(vm["done"]) for name, vm in json.load(answer)["vms"].items()}
    except (OSError, ValueError):
        return {}


def left() -> dict[str, list[str]]:
    """What is on this node of VMs and jobs that are over."""
    found = {"process": processes(), "mount": mounts()}
    if is_worker():
        found |= {
            "lease": [path.name for path in (RUN / "leases").glob("*")],
            "nginx directory": [path.name for path in (RUN / "http").glob("*")],
            "lease that was put aside": [path.name for path in (RUN / "damaged").glob("*")],
            "watch's file": [path.name for path in (RUN / "watch").glob("*")],
            "file of the run directory": [path.name for path in RUN.glob("*") if path.name not in KEPT],
            # The next start of the startd reads and removes a killed starter's dir_PID.recover: docs/faults.md.
            "sandbox": [path.name for path in EXECUTE.glob("*") if not path.name.endswith(".recover")],
            "console": [path.name for path in CONSOLES.glob("vac-*")],
            "domain": run("virsh", "-q", "list", "--all", "--name").split(),
            "address filter": run("virsh", "-q", "nwfilter-binding-list").splitlines(),
            "network device": re.findall(r"\bvnet[0-9]+", run("ip", "-o", "link")),
            "export": run("exportfs", "-s").splitlines() if os.path.exists("/proc/fs/nfsd/threads") else [],
        }
    return {kind: sorted(things) for kind, things in found.items() if things}


def processes() -> list[str]:
    """Processes of VMs, of their jobs and of the programs that serve them."""
    lines = run("ps", "-eo", "pid,etimes,args").splitlines()[1:]
    return [" ".join(line.split())[:160] for line in lines if PROCESSES.search(line)]


def mounts() -> list[str]:
    """What is mounted where only VMs have mounts; the disk of EXECUTE itself stays."""
    points = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text("utf-8").splitlines()]
    return [point for point in points if point.startswith((f"{RUN}/", f"{EXECUTE}/"))]


def main() -> None:
    """Print what the command line asks for."""
    print(json.dumps({"health": health, "left": left}[sys.argv[1]]()))


if __name__ == "__main__":
    main()
