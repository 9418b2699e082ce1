#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the access point, from standard input: what HTCondor, the factory and the task queue show.

``fill SECONDS...``: add a task of each length to the task queue, in this order. ``empty``: withdraw those that wait.
``look``: {"time", "idle", "in_use" (VMs by HTCondor's queue), "working" (tasks that VMs have), "decided" (Unix s, of
the factory's last decision, or null), "avoided" [hosts], "shown" [jobs whose work the factory has seen]}.
``end``: {"vms": [as `vms`], "events": the task queue's, "cycles": [Unix s of each negotiation cycle]}.
Standard library only.
"""

from __future__ import annotations

import datetime
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

QUEUE = "http://127.0.0.1:8080/work"
STATE = Path("/var/lib/condor_vac/work/state.json")
VMS = 'JobUniverse == 13 && VacMachinetype =?= "work"'
KEYS = "ClusterId,ProcId,JobStatus,JobCurrentStartDate,CompletionDate,LastRemoteHost,RemoteHost,ShutdownCode,Iwd"
# JobStatus of jobs that wait, and of those that have a slot (running, and transferring output).
IDLE, IN_USE, COMPLETED = 1, (2, 6), 4
LIMIT_SECONDS = 60.0
# The agent's first line, in the outputs of its VM.
_AGENT = re.compile(r" VM ([0-9a-f-]{36}), mode ")
_CYCLE = re.compile(r"^(\d\d/\d\d/\d\d \d\d:\d\d:\d\d).* Started Negotiation Cycle", re.MULTILINE)


def run(*argv: str) -> str:
    """What a program prints. Raises SubprocessError, also when it takes too long."""
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=LIMIT_SECONDS).stdout


def ask(what: str, method: str = "POST") -> Any:
    """The task queue's answer. Raises OSError."""
    request = urllib.request.Request(f"{QUEUE}/{what}", method=method)  # noqa: S310 - http
    with urllib.request.urlopen(request, timeout=LIMIT_SECONDS) as answer:  # noqa: S310
        return json.load(answer)


def ads(tool: str, *words: str) -> list[dict[str, Any]]:
    """The VM jobs that condor_q or condor_history shows."""
    found: list[dict[str, Any]] = json.loads(
        run(tool, *words, "-constraint", VMS, "-json", "-attributes", KEYS) or "[]"
    )
    return found


def look() -> dict[str, Any]:
    """What there is now."""
    states = Counter(ad["JobStatus"] for ad in ads("condor_q", "-allusers"))
    factory = json.loads(STATE.read_text("utf-8")) if STATE.exists() else {}
    return {
        "time": time.time(),
        "idle": states[IDLE],
        "in_use": sum(states[state] for state in IN_USE),
        "working": ask("status", "GET")["taken"],
        "decided": (factory.get("last") or {}).get("time"),
        "avoided": sorted(factory.get("avoid", ())),
        "shown": sorted(name.partition(":")[0] for name in factory.get("worked", ())),
    }


def vms() -> list[dict[str, Any]]:
    """Each VM that has had a slot: job, uuid (null if its agent left no log), host, matched, ended (Unix s), code."""
    found = {}
    for ad in [*ads("condor_history"), *ads("condor_q", "-allusers")]:
        if "JobCurrentStartDate" in ad:
            found[f"{ad['ClusterId']}.{ad['ProcId']}"] = ad
    return [
        {
            "job": job,
            "uuid": uuid(Path(ad["Iwd"])),
            "host": (ad.get("RemoteHost") or ad["LastRemoteHost"]).rpartition("@")[2],
            "matched": ad["JobCurrentStartDate"],
            "ended": ad.get("CompletionDate") if ad["JobStatus"] == COMPLETED else None,
            "code": ad.get("ShutdownCode"),
        }
        for job, ad in found.items()
    ]


def uuid(directory: Path) -> str | None:
    """The VM's name in the task queue, from what its agent logged."""
    try:
        match = _AGENT.search((directory / "joboutputs" / "vm-pilot.log").read_text("utf-8", "replace"))
    except OSError:
        return None
    return match[1] if match else None


def cycles(log: str) -> list[float]:
    """When each negotiation cycle began (Unix s), by the negotiator's log."""
    return [datetime.datetime.strptime(text, "%m/%d/%y %H:%M:%S").timestamp() for text in _CYCLE.findall(log)]


def end() -> dict[str, Any]:
    """All that is written down when it is over."""
    log = Path(run("condor_config_val", "NEGOTIATOR_LOG").strip()).read_text("utf-8", "replace")
    return {"vms": vms(), "events": ask("status", "GET")["events"], "cycles": cycles(log)}


def fill(*seconds: str) -> int:
    """How many tasks were added."""
    for each in seconds:
        ask(f"add?n=1&seconds={each}&light=yes")
    return len(seconds)


def empty() -> Any:
    """The task queue's answer."""
    return ask("empty")


if __name__ == "__main__":
    verb: Any = {"look": look, "end": end, "fill": fill, "empty": empty}[sys.argv[1]]
    print(json.dumps(verb(*sys.argv[2:])))
