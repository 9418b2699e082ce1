# SPDX-License-Identifier: GPL-3.0-or-later
"""The course of the demo: VMs grow until all the work is taken, the work ends, VMs decline. News decides, no clock."""

from __future__ import annotations

from collections.abc import Mapping

from .sample import NO_WORK, Sample

GROWTH, DECLINE, OVER = "growth", "decline", "over"
# Decisions of each factory to make no VM, once all is over.
QUIET_DECISIONS = 1


class Course:
    """Where the demo is; ``work_for`` is the number of VMs that each experiment has work for."""

    def __init__(self, work_for: Mapping[str, int]) -> None:
        self.work_for = work_for
        self.phase = GROWTH
        self._quiet: dict[str, set[float | None]] = {name: set() for name in work_for}

    def take(self, sample: Sample) -> None:
        """Go on to the next phase if this sample shows that the present one is over."""
        if self.phase == GROWTH and self._all_at_work(sample):
            self.phase = DECLINE
        elif self.phase == DECLINE and self._all_over(sample):
            self.phase = OVER

    def describe(self, sample: Sample) -> str:
        """The phase in words."""
        if self.phase == GROWTH:
            wanted, at_work = sum(self.work_for.values()), sample.total("at_work")
            if at_work < wanted:
                return f"Growth: there is work for {wanted} VMs, {at_work} of them are at it."
            return f"Growth: all {wanted} VMs for which there is work are at it; one more of each finds none."
        if self.phase == DECLINE:
            return "Decline: no task is followed by another one any more. VMs end, and the factories make no new ones."
        return "Over: all tasks are done, and no VM is left."

    def _all_at_work(self, sample: Sample) -> bool:
        """Whether each experiment has all its VMs at work, and one more has found that there is no more."""
        return all(
            sample.experiments[name].at_work >= number and NO_WORK in dict(sample.experiments[name].ended)
            for name, number in self.work_for.items()
        )

    def _all_over(self, sample: Sample) -> bool:
        """Whether nothing is left to do, VMs have reported it, and each factory has decided so a few times."""
        for name in self.work_for:
            each = sample.experiments[name]
            finished = not (each.left or each.at_work or each.alive) and NO_WORK in dict(each.ended)
            self._quiet[name] = self._quiet[name] | {each.decided} if finished else set()
        return all(len(times) > QUIET_DECISIONS for times in self._quiet.values())
