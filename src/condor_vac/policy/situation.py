# SPDX-License-Identifier: GPL-3.0-or-later
"""What a law decides by: the VMs now, what was learned, and what the administrator allows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from condor_vac.policy.judgement import Judgement
from condor_vac.policy.observation import HELD, IDLE, RUNNING, Limits, Machine, Observation
from condor_vac.policy.submissions import Submissions

# Seconds after its start from which a VM that shows no figure at all counts as one that cannot be measured.
# Ablation (opening_unmeasured off): loses up to 0.0079 net (invisible), gains up to 0.0020 net (invisible_bursts),
# saves 5.3 slot hours without work.
MEASURED_AFTER_SECONDS = 60.0


@dataclass(frozen=True)
class Counts:
    """The machinetype's VMs by what is known of them."""

    total: int
    idle: tuple[Machine, ...]
    starting: int  # running, no work shown yet
    working: int
    held: int
    unmeasured: bool  # VMs run, and none of them can show work

    @property
    def unproven(self) -> int:
        """VMs that have yet to answer whether there is work."""
        return len(self.idle) + self.starting


def count_machines(seen: Observation, found: Collection[str]) -> Counts:
    """The VMs of the observation; ``found`` are ids of those that are known to have found work."""
    running = [vm for vm in seen.machines if vm.state == RUNNING]
    working = sum(vm.works or vm.id in found for vm in running)
    old = [vm for vm in running if vm.started is not None and seen.now - vm.started > MEASURED_AFTER_SECONDS]
    return Counts(
        total=len(seen.machines),
        idle=tuple(vm for vm in seen.machines if vm.state == IDLE),
        starting=len(running) - working,
        working=working,
        held=sum(vm.state == HELD for vm in seen.machines),
        unmeasured=bool(old) and not any(vm.measured for vm in old),
    )


@dataclass(frozen=True)
class Situation:
    """One moment of one machinetype; ``now`` in seconds."""

    now: float
    limits: Limits
    counts: Counts
    judgement: Judgement
    submissions: Submissions
