# SPDX-License-Identifier: GPL-3.0-or-later
"""What a law decides by: the VMs now, what was learned, and what the administrator allows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from condor_vac.policy.judgement import Judgement
from condor_vac.policy.observation import HELD, IDLE, RUNNING, Limits, Machine, Observation
from condor_vac.policy.submissions import Submissions


@dataclass(frozen=True)
class Counts:
    """The machinetype's VMs by what is known of them."""

    total: int
    idle: tuple[Machine, ...]
    starting: int  # running, no answer yet
    late: int  # running, and should have shown work by now
    working: int
    held: int
    oldest: float  # seconds that the oldest of those that run has run

    @property
    def unproven(self) -> int:
        """VMs that have yet to answer whether there is work."""
        return len(self.idle) + self.starting


def count_machines(seen: Observation, found: Collection[str], late: Collection[str]) -> Counts:
    """The VMs of the observation; ``found`` and ``late`` are ids of those that found work, and that found none."""
    idle: list[Machine] = []
    past = working = starting = held = 0
    first = seen.now
    for vm in seen.machines:
        if vm.state == RUNNING:
            if vm.started is not None and vm.started < first:
                first = vm.started
            if vm.works or vm.id in found:
                working += 1
            elif vm.id in late:
                past += 1
            else:
                starting += 1
        elif vm.state == IDLE:
            idle.append(vm)
        elif vm.state == HELD:
            held += 1
    return Counts(len(seen.machines), tuple(idle), starting, past, working, held, seen.now - first)


@dataclass(frozen=True)
class Situation:
    """One moment of one machinetype; ``now`` in seconds."""

    now: float
    limits: Limits
    counts: Counts
    judgement: Judgement
    submissions: Submissions
