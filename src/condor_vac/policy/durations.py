# SPDX-License-Identifier: GPL-3.0-or-later
"""What the factory learns of durations: how long VMs without work live, and how soon a VM shows work.

Ages at which something follows for a VM that has shown nothing are here as well.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

# Measurements that are kept of each duration. Enough for a stable median, few enough to follow an experiment that
# changes within a day.
SAMPLES = 50
# Measurements from which on a duration counts as known; one or two may be outliers.
ENOUGH = 3
# Multiple of the longest life without work: a VM that outlives it, and whose work cannot be measured, works. A
# quarter more than seen so far allows for a slower host. Ablation: proof_by_lives.
PROOF_FACTOR = 1.25
# Multiple of the longest time that evidence has taken: after it a VM counts as without work.
LATE_FACTOR = 2
# Multiple of the ages of proof and lateness: where evidence of work is known, a VM that shows none must live so long
# to be taken to work all the same. Work that hardly uses processors follows work that does.
SILENT_FACTOR = 2
# Seconds: one cycle, by which everything is seen late.
MARGIN_SECONDS = 60.0
# Share of the shortest known duration: a VM that ends sooner died before its agent could ask. Ablation:
# death_by_life.
TOO_SHORT_SHARE = 0.5
# Seconds: a VM costs a slot for a cycle at least, however soon it ends.
SHORTEST_PRICE_SECONDS = 60.0


class Learned:
    """The last `SAMPLES` measurements of one duration, in seconds, sorted view included."""

    def __init__(self, values: Iterable[float] = ()) -> None:
        self.values: deque[float] = deque(values, maxlen=SAMPLES)
        self._sorted = sorted(self.values)

    def add(self, value: float) -> None:
        """Remember one more, forgetting the oldest beyond `SAMPLES`."""
        if len(self.values) == SAMPLES:
            self._sorted.remove(self.values[0])
        self.values.append(value)
        insort(self._sorted, value)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def low(self) -> float:
        """The shortest; only when there is one."""
        return self._sorted[0]

    @property
    def high(self) -> float:
        """The longest; only when there is one."""
        return self._sorted[-1]

    def middle(self, default: float) -> float:
        """The median, or ``default`` while nothing is known."""
        return self._sorted[len(self) // 2] if self._sorted else default


class Durations:
    """Measured durations, in seconds, and the ages that follow from them.

    ``no_work``: lives of VMs that found no work, from match to end. ``doubtful``: lives of VMs that ended well or
    without a word, long after their start, without a sign of work: they count while ``no_work`` is not known.
    ``failed``: lives of those that failed, without a sign of work. ``evidence``: from match to evidence of work.
    """

    def __init__(self, fizzle_seconds: float) -> None:
        self.fizzle_seconds = fizzle_seconds
        self.no_work = Learned()
        self.doubtful = Learned()
        self.failed = Learned()
        self.evidence = Learned()

    @property
    def lives_known(self) -> bool:
        """Whether it is known how long VMs without work live."""
        return len(self.no_work) >= ENOUGH

    @property
    def evidence_known(self) -> bool:
        """Whether it is known how soon a VM shows work; false where none ever does."""
        return len(self.evidence) >= ENOUGH

    @property
    def proof_seconds(self) -> float:
        """From this age a VM counts as working though it has not shown it: it outlived those without work."""
        lives = (self.no_work, self.failed) if self.lives_known else (self.no_work, self.failed, self.doubtful)
        known = [_outlives(each) for each in lives if len(each)]
        return max([self.fizzle_seconds, *known])

    @property
    def late_seconds(self) -> float:
        """From this age a VM that could have shown work, and has not, counts as one that found none.

        Infinite while no VM has shown work: then the ones that show none are no different.
        """
        return LATE_FACTOR * self.evidence.high + MARGIN_SECONDS if self.evidence_known else math.inf

    def assumed_seconds(self, measured: bool, others_show: bool) -> float:
        """From this age a VM that has not shown work is taken to work.

        ``measured`` is whether something looks at its use of processors, ``others_show`` whether a VM that asked
        later has shown work: then some do and some do not. Nor does it count that a VM has shown nothing before half
        of those that work do.
        """
        still_to_come = self.proof_seconds < self.evidence.middle(math.inf)
        if not measured or others_show or still_to_come:
            return self.proof_seconds
        return SILENT_FACTOR * max(self.proof_seconds, self.late_seconds)

    @property
    def price_seconds(self) -> float:
        """Slot time that a VM costs which finds no work."""
        return max(SHORTEST_PRICE_SECONDS, self.usual_life(self.fizzle_seconds / 2))

    def usual_life(self, default: float) -> float:
        """How long a VM without work usually lives, or ``default`` while that is not known."""
        return self.no_work.middle(self.doubtful.middle(default))

    def asked(self, started: float, age: float) -> float:
        """When a VM that found work asked for it: half-way from its start to its evidence or its ``age``."""
        return started + min(age, self.evidence.middle(age)) / 2

    def too_short(self, life: float) -> bool:
        """Whether a VM ended before an agent could have asked for work; never while too little is known."""
        known = [each.low for each in (self.no_work, self.evidence) if len(each) >= ENOUGH]
        return bool(known) and life < TOO_SHORT_SHARE * min(known)

    def state(self) -> dict[str, list[float]]:
        """The lists of measurements, for `restore`."""
        return {name: list(getattr(self, name).values) for name in _LISTS}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        for name in _LISTS:
            setattr(self, name, Learned(state[name]))


_LISTS = ("no_work", "doubtful", "failed", "evidence")


def _outlives(lives: Learned) -> float:
    """The age at which a VM has outlived all of these, and is seen to have."""
    return PROOF_FACTOR * lives.high + MARGIN_SECONDS
