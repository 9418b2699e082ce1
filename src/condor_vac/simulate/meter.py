# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured while a scenario plays, and the figures made of it (README of the scenarios, "Result")."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

COLUMNS = ("seconds", "idle", "starting", "running", "working", "queued")


@dataclass
class Meter:
    """Counts of one machinetype or of the whole pool; slot-seconds are processors times seconds.

    ``waited`` is in seconds of tasks, ``tasks`` counts those that arrived.
    """

    work: float = 0.0
    wasted: float = 0.0
    vm_starts: int = 0
    wasted_starts: int = 0
    cap_violations: int = 0
    killed_working: int = 0
    tasks: int = 0
    waited: float = 0.0
    peak_machines: int = 0
    peak_idle: int = 0
    timeline: list[list[float]] = field(default_factory=list)
    first_reached: list[float] = field(default_factory=list)

    def peaks(self, machines: int, idle: int) -> None:
        """Note how many VMs there are, and how many of them are idle."""
        self.peak_machines = max(self.peak_machines, machines)
        self.peak_idle = max(self.peak_idle, idle)

    def working(self, slots: int, now: float) -> None:
        """Note that so many slots work now: ``first_reached[n]`` is when n+1 first did."""
        self.first_reached.extend([now] * (slots - len(self.first_reached)))

    def sample(self, now: float, row: Sequence[int]) -> None:
        """Add one row to the timeline: idle, starting, running, working VMs and queued tasks."""
        self.timeline.append([now, *row])

    def result(self, oracle: Meter, *, timeline: bool) -> dict[str, Any]:
        """The figures, against those of the oracle in the same scenario."""
        found: dict[str, Any] = {
            "work_slot_seconds": round(self.work, 1),
            "oracle_work_slot_seconds": round(oracle.work, 1),
            "efficiency": round(self.work / oracle.work, 6) if oracle.work else None,
            "wasted_slot_seconds": round(self.wasted, 1),
            "vm_starts": self.vm_starts,
            "wasted_starts": self.wasted_starts,
            "net": round((self.work - self.wasted) / oracle.work, 6) if oracle.work else None,
            "mean_wait_seconds": round(self.waited / self.tasks, 1) if self.tasks else None,
            "seconds_to_90_percent": self._seconds_to(0.9 * len(oracle.first_reached)),
            "peak_machines": self.peak_machines,
            "peak_idle": self.peak_idle,
            "cap_violations": self.cap_violations,
            "killed_working": self.killed_working,
        }
        if timeline:
            found["timeline"] = [dict(zip(COLUMNS, row)) for row in self.timeline]
        return found

    def _seconds_to(self, slots: float) -> float | None:
        needed = math.ceil(slots - 1e-9)
        if not needed or needed > len(self.first_reached):
            return None
        return round(self.first_reached[needed - 1], 1)
