# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo asks of its machine over SSH, as data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
LAB = (sys.executable, "-m", "tests.lab")
HISTORY_KEYS = (
    "ClusterId,ProcId,JobStatus,ShutdownCode,ShutdownMessage,VacKind,VacRuntime,LastRemoteHost,CompletionDate"
)
COMPLETED = 4
SEPARATOR = "---"


class DemoError(Exception):
    """The demo cannot go on; the message is one line that says why."""


class Node:
    """The demo's machine, which is the whole pool."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, script: str) -> str:
        """Standard output of a shell script on the machine. Raises DemoError if it fails."""
        argv = [*LAB, "ssh", self.name, script]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=180)
        if done.returncode != 0:
            raise DemoError(f"{script!r} on {self.name} failed: {(done.stderr or done.stdout).strip()[-300:]}")
        return done.stdout

    def observe(self, machinetype: str, queue_url: str) -> dict[str, Any]:
        """{factory, machines, tasks}: the status of the machinetype's factory, its VMs, the experiment's queue."""
        # `condor_vac` exits 1 where it has a finding to report; what it reports is what counts here.
        text = self.run(
            f"condor_vac status --json || [ $? -eq 1 ]; echo {SEPARATOR}; "
            f"condor_vac machines --json || [ $? -eq 1 ]; echo {SEPARATOR}; taskqueue status {queue_url}"
        )
        status, machines, tasks = (json.loads(part) for part in text.split(f"\n{SEPARATOR}\n"))
        return {"factory": status["machinetypes"].get(machinetype, {}), "machines": machines, "tasks": tasks}

    def ended(self, machinetype: str) -> list[dict[str, Any]]:
        """The ads (HISTORY_KEYS) of the VMs that ended, oldest first, from HTCondor's queue and history."""
        constraint = f"""'JobUniverse == 13 && VacMachinetype == "{machinetype}"'"""
        found: dict[tuple[int, int], dict[str, Any]] = {}
        for tool in ("condor_history", "condor_q -allusers"):
            text = self.run(f"{tool} -constraint {constraint} -json -attributes {HISTORY_KEYS}").strip()
            for ad in json.loads(text) if text else []:
                if ad.get("JobStatus") == COMPLETED:
                    found[ad["ClusterId"], ad["ProcId"]] = ad
        return sorted(found.values(), key=lambda ad: int(ad.get("CompletionDate", 0)))
