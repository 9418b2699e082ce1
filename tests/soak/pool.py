# SPDX-License-Identifier: GPL-3.0-or-later
"""The soak's nodes: scripts on them, what they show at one moment, and what only the lab does to them."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.demo.guard import LAB
from tests.demo.own_lab import HEAD, NODES
from tests.demo.steps import ROOT
from tests.lab import plays, ssh, state
from tests.lab.paths import LabError

from .faults import BOOT, CUT, DRAIN, UNDRAIN

INSIDE = Path(__file__).resolve().parent / "inside.py"
ALL = (HEAD, *NODES)
# A script that takes longer hangs.
SCRIPT_SECONDS = 120.0
LOOK_SECONDS = 60.0
VMS = "'JobUniverse == 13'"
KEYS = (
    "ClusterId,ProcId,JobStatus,NumJobStarts,NumShadowStarts,ShutdownCode,VacCause,VacKind,VacOutcome,VacEnded,"
    "VacMachinetype,LastRemoteHost,HoldReason,RemoveReason"
)  # fmt: skip


class NotDoneError(Exception):
    """A script failed on a node, or the node did not answer; the message is one line."""


@dataclass(frozen=True)
class Look:
    """What the nodes show at one moment (``time``, Unix s).

    ``broken`` and ``vms`` are by node, VMs by UUID with their jobs; a node that is off or does not answer is broken.
    ``offering`` are the nodes that offer VMs, ``queue`` VM jobs by JobStatus, ``tasks`` those that each VM has done.
    """

    time: float
    broken: Mapping[str, Sequence[str]]
    vms: Mapping[str, Mapping[str, str]]
    offering: Sequence[str] = ()
    queue: Mapping[str, int] = field(default_factory=dict)
    tasks: Mapping[str, int] = field(default_factory=dict)

    def trouble(self, node: str) -> list[str]:
        """What is wrong with a node, as far as VMs need it."""
        found = list(self.broken.get(node, ()))
        if node in NODES and not found and node not in self.offering:
            found.append("it offers no VMs")
        return found

    def __str__(self) -> str:
        running = ", ".join(f"{node} {len(self.vms.get(node, ()))}" for node in NODES)
        wrong = "; ".join(f"{node}: {text}" for node in ALL for text in self.trouble(node))
        idle, held = (self.queue.get(state, 0) for state in ("1", "5"))
        return f"VMs: {running}; {idle} idle, {held} held, {self.queue.get('4', 0)} ended. {wrong or 'All is well.'}"


class Pool:
    """The nodes, by SSH; those in ``off`` have no power."""

    def __init__(self, inventories: Sequence[Path]) -> None:
        self._inventories = [str(path) for path in inventories]
        self.off: set[str] = set()

    def run(self, node: str, script: str, stdin: str = "", seconds: float = SCRIPT_SECONDS) -> str:
        """Standard output of a shell script on a node, which must succeed in time. Raises NotDoneError."""
        try:
            command = ssh.command(state.require(node), script, options=("-o", "ConnectTimeout=20"))
            done = subprocess.run(
                command,
                input=stdin,
                capture_output=True,
                text=True,
                check=False,
                timeout=seconds,
                start_new_session=True,
            )
        except (LabError, subprocess.TimeoutExpired) as error:
            raise NotDoneError(f"{node}: {' '.join(str(error).split())[-300:]}") from error
        if done.returncode != 0:
            words = (done.stderr or done.stdout).split()
            raise NotDoneError(f"{node}: exit code {done.returncode}: {' '.join(words)[-300:]}")
        return done.stdout.strip()

    def act(self, node: str, script: str) -> str:
        """Carry out a fault's script, or what the lab does; what it says. Raises NotDoneError."""
        if script in {CUT, BOOT}:
            return self._power(node, script)
        return self._play(node, script) if script in {DRAIN, UNDRAIN} else self.run(node, script)

    def look(self) -> Look:
        """Look at all nodes at once."""
        with ThreadPoolExecutor(len(ALL)) as threads:
            found = dict(zip(ALL, threads.map(self._health, ALL)))
        head = {key: found[HEAD][key] for key in ("offering", "queue", "tasks") if key in found[HEAD]}
        broken = {node: each["broken"] for node, each in found.items()}
        return Look(time.time(), broken, {node: found[node].get("vms", {}) for node in NODES}, **head)

    def left(self, node: str) -> dict[str, list[str]]:
        """What is left of VMs on a node, by kind. Raises NotDoneError."""
        found: dict[str, list[str]] = json.loads(self._inside(node, "left"))
        return found

    def ads(self, tool: str) -> list[dict[str, Any]]:
        """The VM jobs that ``condor_q -allusers`` or ``condor_history`` shows. Raises NotDoneError."""
        text = self.run(HEAD, f"{tool} -constraint {VMS} -json -attributes {KEYS}")
        ads: list[dict[str, Any]] = json.loads(text or "[]")
        return ads

    def _health(self, node: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._inside(node, "health"))
        except (NotDoneError, ValueError) as error:
            found = {"broken": ["it is off" if node in self.off else f"it does not answer: {error}"]}
        return found

    def _inside(self, node: str, verb: str) -> str:
        return self.run(node, f"python3 - {verb}", INSIDE.read_text("utf-8"), LOOK_SECONDS)

    def _power(self, node: str, verb: str) -> str:
        """Cut a node's power, or turn it on: the lab's own command, which handles signals in a process of its own."""
        if verb == CUT:
            self.off.add(node)
        done = subprocess.run([*LAB, verb, node], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NotDoneError(f"{node}: {verb}: {' '.join(done.stderr.split())[-300:]}")
        if verb == BOOT:
            self.off.discard(node)
        return ""

    def _play(self, node: str, what: str) -> str:
        """The collection's playbook ``drain`` on one node."""
        variables = {"vacuum_drain": what, "vacuum_drain_wait": 5}
        play = plays.run(plays.DRAIN, self._inventories, variables, "--limit", node)
        if play.status != 0:
            raise NotDoneError(f"{node}: {what}: {'; '.join(play.failures())[-300:]}")
        return ""
