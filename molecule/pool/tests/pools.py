# SPDX-License-Identifier: GPL-3.0-or-later
"""The pool of this scenario: its nodes, and what they, the factory and the task queue show at one moment."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab import nodes, plays, ssh, state

HERE = Path(__file__).resolve().parent
HEAD = "head"
WORKERS = ("node1", "node2", "node3", "node4", "node5")
QUEUE = "http://127.0.0.1:8080/lab"
FACTORY = "/var/lib/condor_vac/lab"
CYCLES = f"{FACTORY}/cycles.jsonl"
RECORDER = "/usr/local/lib/recorder.py"
VMS = "'JobUniverse == 13 && VacMachinetype =?= \"lab\"'"
KEYS = (
    "ClusterId,ProcId,JobStatus,NumJobStarts,NumShadowStarts,ShutdownCode,VacCause,VacKind,VacBatch,Iwd,RemoteHost,"
    "LastRemoteHost,HoldReason,RemoveReason"
)
EXECUTE = "/var/lib/condor/execute"
LOOK_SECONDS = 2.0
# Ten times what it takes on a busy host.
LIMIT_SECONDS = 1800.0


@dataclass(frozen=True)
class Look:
    """What was seen at ``time`` (Unix s).

    ``vms`` are the VMs that have leases, node to UUID to HTCondor's job; ``queue`` is the task queue's status,
    ``cycles`` are the factory's so far.
    """

    time: float
    vms: Mapping[str, Mapping[str, str]]
    queue: Mapping[str, Any]
    cycles: Sequence[Mapping[str, Any]]

    def at_work(self, node: str) -> list[str]:
        """The VMs of a node (UUIDs) that have taken a task."""
        return [uuid for uuid in self.vms.get(node, ()) if self.queue["vms"].get(uuid, {}).get("taken")]

    @property
    def working(self) -> int:
        """How many VMs there are in all that have taken a task."""
        return sum(len(self.at_work(node)) for node in self.vms)

    @property
    def avoided(self) -> set[str]:
        """The nodes that the factory has avoided, in any cycle so far."""
        return {host.partition(".")[0] for cycle in self.cycles for host in cycle["avoid"]}

    def __str__(self) -> str:
        counts = ", ".join(f"{node} {len(self.at_work(node))} of {len(self.vms[node])}" for node in self.vms)
        tasks = ", ".join(f"{name} {self.queue[name]}" for name in ("taken", "done", "requeued"))
        return f"{self.working} VMs at work ({counts}); tasks: {tasks}"


class Pool:
    """The nodes, by SSH. ``events`` are what the tests did and saw, with the time (Unix s); ``looks`` all looks.

    ``twice`` are jobs that had VMs on two nodes at once, in any look.
    """

    def __init__(self) -> None:
        self.off: set[str] = set()
        self.looks: list[Look] = []
        self.events: list[tuple[float, str]] = []
        self.twice: set[str] = set()

    def note(self, text: str) -> None:
        """Have a line in the table."""
        self.events.append((time.time(), text))

    def run(self, node: str, script: str, stdin: str = "") -> str:
        """Standard output of a shell script on a node, which must succeed. Raises LabError."""
        return ssh.run(state.require(node), script, stdin).strip()

    def release(self) -> None:
        """Let the factory go, and have its cycles written down."""
        self.run(HEAD, f"cat > {RECORDER}", (HERE / "recorder.py").read_text("utf-8"))
        self.run(HEAD, f"systemd-run --quiet --unit=recorder python3 {RECORDER} {FACTORY} {CYCLES}")
        self.note("the factory begins")
        self.run(HEAD, "condor_release -constraint 'JobUniverse == 7'")

    def look(self) -> Look:
        """Look at all nodes that are on, and at the task queue."""
        script = "cd /run/condor_vac/leases 2> /dev/null && grep -sH '\"domain\"' *.json || true"
        vms = {node: _leases(self.run(node, script)) for node in WORKERS if node not in self.off}
        queue, *cycles = self.run(HEAD, f"curl -sf {QUEUE}/status; cat {CYCLES} || true").splitlines()
        found = Look(time.time(), vms, json.loads(queue), [json.loads(line) for line in cycles])
        jobs = [job for leases in vms.values() for job in leases.values()]
        self.twice.update(job for job in jobs if jobs.count(job) > 1)
        self.looks.append(found)
        return found

    def until(self, what: str, wanted: Callable[[Look], object]) -> Look:
        """Look until ``wanted`` is true of a look; that is an event of its own."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while True:
            found = self.look()
            if wanted(found):
                self.note(f"{what}: {found}")
                return found
            if time.monotonic() > deadline:
                jobs = self.run(HEAD, "condor_q -allusers -nobatch; condor_vac status; condor_status -vm")
                pytest.fail(f"not within {LIMIT_SECONDS:.0f} s: {what}: {found}\n{jobs}")
            time.sleep(LOOK_SECONDS)

    def cut(self, node: str) -> None:
        """Cut a node's power."""
        self.off.add(node)
        nodes.cut([node])
        self.note(f"{node}: its power is cut")

    def boot(self, node: str) -> None:
        """Have a node on again, with the files that it has."""
        nodes.boot([node])
        self.off.discard(node)
        self.note(f"{node}: it is on again")

    def drain(self, node: str, what: str, **variables: Any) -> plays.Play:
        """Run the collection's playbook ``drain`` on one node; ``what`` is drain or undrain."""
        inventory = os.environ["MOLECULE_INVENTORY_FILE"]
        play = plays.run(plays.DRAIN, [inventory], {"vacuum_drain": what, **variables}, "--limit", node)
        assert play.status == 0, play.output
        return play

    def jobs(self) -> dict[str, dict[str, Any]]:
        """The factory's VM jobs, from queue and history: id to ad (KEYS)."""
        ads = []
        for tool in ("condor_history", "condor_q -allusers"):
            text = self.run(HEAD, f"{tool} -constraint {VMS} -json -attributes {KEYS}")
            ads += json.loads(text or "[]")
        return {f"{ad['ClusterId']}.{ad['ProcId']}": ad for ad in ads}

    def logs(self) -> str:
        """HTCondor's event logs of all VM jobs."""
        return self.run(HEAD, f"cat {FACTORY}/vms/*/*/vm.log")

    def matching(self, node: str, pattern: str) -> list[str]:
        """The lines of a node's starters' logs that match."""
        script = f"grep -h {shlex.quote(pattern)} /var/log/condor/StarterLog.slot* || true"
        return self.run(node, script).splitlines()


def _leases(text: str) -> dict[str, str]:
    """UUID to job of lines like ``UUID.json: "domain": "vac_head.lab_2.0",`` (HTCondor's name of a VM)."""
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        found[name.removesuffix(".json")] = value.rpartition("_")[2].strip('",')
    return found
