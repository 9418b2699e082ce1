#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a pool in a box: submits VM jobs of its own beside the factory's, and shows what the node holds.

``vm_jobs.py submit NAME COUNT JSON``: the JSON's ``options`` are the guest's user data options, ``machinetype``
and ``commands`` changes to both; prints the cluster. ``vm_jobs.py state``: one JSON object. A part of the node
that could not be asked is missing from it and named in its ``unknown``, with the reason: not the same as empty.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, "/usr/local/lib/condor_vac/current")

from condor_vac.factory import job_ad, submit_description, vm_jobs
from condor_vac.model import machinetype, outcome_record

PLACE = Path("/var/lib/condor_vac/tests")
EXECUTE = Path("/var/lib/condor/execute")
LEASE = "/usr/local/libexec/vac_lease"
WORKER = Path("/etc/condor_vac/worker.json")
CONSOLES = Path("/var/log/libvirt/qemu")
SHARES = "/run/condor_vac/http/"
FIZZLE_SECONDS = 1200
# Leases that change during each of so many looks are those of VMs that come and go; the test looks again.
LOOKS = 3
KEYS = ",".join({
    *vm_jobs.PROJECTION,
    *("NumJobStarts", "ShutdownMessage", "HoldReason"),
})  # fmt: skip


class Unknown(Exception):
    """Why a part of the node's state cannot be seen just now."""


def run(*argv: str) -> str:
    """What a program prints. Raises Unknown if it fails: a service may be down."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Unknown(f"{argv[0]}: {error.strerror}") from error
    if done.returncode != 0:
        raise Unknown(f"{' '.join(argv[:2])}: exit code {done.returncode}: {' '.join(done.stderr.split())[-200:]}")
    return done.stdout


def sharing() -> list[str]:
    """How the node shares with VMs: nfs, http."""
    ways: list[str] = json.loads(WORKER.read_text("utf-8"))["sharing"]
    return ways


def submit(name: str, count: int, changes: dict[str, Any]) -> None:
    """Submit ``count`` VM jobs of a machinetype that is the lab's with changes."""
    place = PLACE / name
    place.mkdir(parents=True, exist_ok=True)
    described = {
        "name": name,
        "owner": "vac",
        "kind": "cernvm",
        "image": str(next(Path("/var/lib/condor_vac/images").glob("*.iso"))),
        "image_format": "iso",
        "user_data": f"{place}/user_data",
        "user_data_options": changes.get("options", {}),
        "memory_mb": 256,
        "cvmfs_cache_gb": 1,
        "scratch_gb": 1,
        "fizzle_seconds": FIZZLE_SECONDS,
        "heartbeat_file": "heartbeat",
        "heartbeat_seconds": 900,
        "job_lease_duration": 60,
        "sharing": sharing()[0],
        **changes.get("machinetype", {}),
    }
    (place / f"{name}.json").write_text(json.dumps(described), "utf-8")
    kind = machinetype.Machinetype.from_mapping(described, name)
    commands = submit_description.describe(kind, machinetype_file=f"{place}/{name}.json")
    commands.update({"initialdir": f"{place}/$(ProcId)", "log": "vm.log", "leave_in_queue": "False"})
    commands.update(changes.get("commands", {}))
    lines = [f"{key} = {value}" for key, value in commands.items() if value is not None]
    (place / "submit").write_text("\n".join([*lines, f"queue {count}", ""]), "utf-8")
    for number in range(count):
        (place / str(number)).mkdir(exist_ok=True)
    subprocess.run(["chown", "-R", "vac:", str(PLACE)], check=True)
    argv = ["runuser", "-u", "vac", "--", "condor_submit", "-terse", str(place / "submit")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"condor_submit: {done.stderr}")
    print(done.stdout.split(".")[0])


def leases() -> list[dict[str, Any]]:
    """The node's leases, each with its VM's latest heartbeat (mtime, None) and whether its sandbox exists."""
    found: list[dict[str, Any]] = json.loads(run(LEASE, "list"))
    for lease in found:
        try:
            lease["heartbeat"] = os.stat(f"{lease['joboutputs']}/heartbeat").st_mtime
        except OSError:
            lease["heartbeat"] = None
        lease["sandbox_there"] = os.path.isdir(lease["sandbox"])
    return found


def jobs() -> dict[str, Any]:
    """The tests' VM jobs, in the queue or ended, by CLUSTER.PROC, as the factory sees them; none without a schedd."""
    if "SCHEDD" not in run("condor_config_val", "DAEMON_LIST").replace(",", " ").split():
        return {}
    constraint = "JobUniverse == 13 && VacBatch =?= undefined"
    ads: list[Any] = []
    # In this order: a job that leaves the queue meanwhile is in the history afterwards, and what is there counts.
    for tool in (["condor_q", "-allusers"], ["condor_history", "-limit", "30"]):
        text = run(*tool, "-constraint", constraint, "-json", "-attributes", KEYS)
        ads += json.loads(text.strip() or "[]")
    completed = (job_ad.with_message(outcome_record.completed(ad), FIZZLE_SECONDS) for ad in ads)
    return {f"{ad['ClusterId']}.{ad['ProcId']}": dict(ad) for ad in completed}


def domains() -> dict[str, int]:
    """The domains that run and libvirt's number of each."""
    lines = (line.split() for line in run("virsh", "-q", "list").splitlines() if line.strip())
    return {words[1]: int(words[0]) for words in lines}


def exports() -> list[list[str]]:
    """What is exported by NFS: [directory, address]."""
    if "nfs" not in sharing():
        return []
    return [line.split("(")[0].split() for line in run("exportfs", "-s").splitlines()]


def shares() -> dict[str, list[str]]:
    """What is mounted for nginx: address to names."""
    found: dict[str, list[str]] = {}
    for line in Path("/proc/self/mountinfo").read_text("utf-8").splitlines():
        point = line.split(" ")[4]
        if point.startswith(SHARES):
            address, _, name = point[len(SHARES) :].partition("/")
            found.setdefault(address, []).append(name)
    return found


def names(directory: Path, pattern: str) -> list[str]:
    """The names in a directory that must exist. Raises Unknown."""
    if not directory.is_dir():
        raise Unknown(f"{directory} does not exist")
    return sorted(path.name for path in directory.glob(pattern))


PARTS: dict[str, Callable[[], Any]] = {
    "leases": leases,
    "domains": domains,
    "exports": exports,
    "shares": shares,
    "consoles": lambda: names(CONSOLES, "vac-*"),
    "sandboxes": lambda: names(EXECUTE, "dir_*"),
    "jobs": jobs,
    "again": leases,
}


def look() -> dict[str, Any]:
    """Every part, and why any is missing."""
    found: dict[str, Any] = {"unknown": {}}
    for name, part in PARTS.items():
        try:
            found[name] = part()
        except Unknown as reason:
            found["unknown"][name] = str(reason)
    return found


def state() -> None:
    """Print every part as read while the leases did not change, so that no VM's start or end looks like a leak."""
    for _ in range(LOOKS):
        found = look()
        if found["unknown"] or uuids(found["leases"]) == uuids(found.pop("again")):
            break
    else:
        found["unknown"]["leases"] = "they changed during each look"
    print(json.dumps(found))


def uuids(found: list[dict[str, Any]]) -> set[str]:
    """The VMs that hold these leases."""
    return {str(lease["uuid"]) for lease in found}


def main() -> None:
    """Run the command line's verb."""
    if sys.argv[1] == "submit":
        submit(sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4]))
    else:
        state()


if __name__ == "__main__":
    main()
