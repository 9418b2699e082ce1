#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a pool in a box: submits VM jobs of its own beside the factory's, and tells what the node holds.

``vm_jobs.py submit NAME COUNT JSON``: the JSON's ``options`` are the guest's user data options, ``machinetype``
and ``commands`` changes to both; prints the cluster. ``vm_jobs.py state``: one JSON object.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, "/usr/local/lib/condor_vac/current")

from condor_vac import machinetype, submitfile

PLACE = Path("/var/lib/condor_vac/tests")
EXECUTE = Path("/var/lib/condor/execute")
KEYS = (
    "ClusterId,ProcId,JobStatus,NumJobStarts,NumShadowStarts,ShutdownCode,ShutdownMessage,VacCause,VacRuntime,VacKind,"
    "HoldReason,HoldReasonCode,HoldReasonSubCode,VacBatch"
)


def run(*argv: str) -> str:
    """What a program prints; empty if it fails, since a service may be down just now."""
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


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
        "fizzle_seconds": 1200,
        "heartbeat_file": "heartbeat",
        "heartbeat_seconds": 900,
        "job_lease_duration": 60,
        **changes.get("machinetype", {}),
    }
    (place / f"{name}.json").write_text(json.dumps(described), "utf-8")
    kind = machinetype.Machinetype.from_mapping(described, name)
    commands = submitfile.describe(kind, machinetype_file=f"{place}/{name}.json")
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


def state() -> None:
    """Leases, domains, exports, sandboxes, consoles and jobs."""
    leases = json.loads(run("/usr/local/libexec/vac_lease", "list") or "[]")
    for lease in leases:
        heartbeat = Path(lease["joboutputs"], "heartbeat")
        lease["heartbeat"] = heartbeat.stat().st_mtime if heartbeat.exists() else None
        lease["sandbox_there"] = os.path.isdir(lease["sandbox"])
    jobs: list[Any] = []
    for tool in (["condor_q", "-allusers"], ["condor_history", "-limit", "30"]):
        text = run(*tool, "-constraint", "JobUniverse == 13 && VacBatch =?= undefined", "-json", "-attributes", KEYS)
        jobs += json.loads(text.strip() or "[]")
    domains = [line.split() for line in run("virsh", "-q", "list").splitlines() if line.strip()]
    consoles = Path("/var/log/libvirt/qemu")
    found = {
        "leases": leases,
        "domains": {words[1]: int(words[0]) for words in domains},
        "exports": [line.split("(")[0].split() for line in run("exportfs", "-s").splitlines()],
        "sandboxes": sorted(path.name for path in EXECUTE.glob("dir_*")),
        "consoles": sorted(path.name for path in consoles.glob("vac-*")) if consoles.is_dir() else [],
        "jobs": {f"{ad['ClusterId']}.{ad['ProcId']}": ad for ad in jobs},
    }
    print(json.dumps(found))


if sys.argv[1] == "submit":
    submit(sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4]))
else:
    state()
