# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo asks of its machine over SSH, as data."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
LAB = (sys.executable, "-m", "tests.lab")
HISTORY_KEYS = (
    "ClusterId,ProcId,JobStatus,CompletionDate,LastRemoteHost,"
    "VacMachinetype,ShutdownCode,ShutdownMessage,VacKind,VacRuntime"
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

    def observe(self, queues: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        """Machinetype → {factory, tasks}: the status of its factory, and its experiment's queue.

        ``queues`` has the URL of each machinetype's queue.
        """
        # `condor_vac` exits 1 where it has a finding to report; what it reports is what counts here.
        asked = "".join(f"; echo {SEPARATOR}; taskqueue status {url}" for url in queues.values())
        text = self.run(f"condor_vac status --json || [ $? -eq 1 ]{asked}")
        status, *tasks = (json.loads(part) for part in text.split(f"\n{SEPARATOR}\n"))
        factories = status["machinetypes"]
        return {name: {"factory": factories.get(name, {}), "tasks": tasks[n]} for n, name in enumerate(queues)}

    def ended(self) -> list[dict[str, Any]]:
        """The ads (HISTORY_KEYS) of the VMs that ended, oldest first, from HTCondor's queue and history."""
        constraint = "'JobUniverse == 13 && isString(VacMachinetype)'"
        found: dict[tuple[int, int], dict[str, Any]] = {}
        for tool in ("condor_history", "condor_q -allusers"):
            text = self.run(f"{tool} -constraint {constraint} -json -attributes {HISTORY_KEYS}").strip()
            for ad in json.loads(text) if text else []:
                if ad.get("JobStatus") == COMPLETED:
                    found[ad["ClusterId"], ad["ProcId"]] = ad
        return sorted(found.values(), key=lambda ad: int(ad.get("CompletionDate", 0)))
