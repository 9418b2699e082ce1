# SPDX-License-Identifier: GPL-3.0-or-later
"""What the factory learns of durations: how long VMs without work live, and how soon a VM shows work."""

from __future__ import annotations

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
# quarter more than seen so far allows for a slower host. Ablation (proof_by_lives off): no scenario changes.
PROOF_FACTOR = 1.25
# Multiple of the longest time that evidence has taken: after it a VM counts as without work. Ablation (late off):
# no scenario changes.
LATE_FACTOR = 2
# The same in ages of proof, while too little evidence has been measured. Generous, because a wrong verdict stops
# growth.
LATE_UNKNOWN_FACTOR = 3
# Seconds: one cycle, by which everything is seen late.
MARGIN_SECONDS = 60.0
# Share of the shortest known duration: a VM that ends sooner died before its agent could ask. Ablation
# (death_by_life off): loses up to 0.0227 net (black_holes).
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
    """Two measured durations, in seconds, and the ages that follow from them.

    ``no_work``: lives of VMs that found no work, from match to end. ``evidence``: from match to evidence of work.
    """

    def __init__(self, fizzle_seconds: float) -> None:
        self.fizzle_seconds = fizzle_seconds
        self.no_work = Learned()
        self.evidence = Learned()

    @property
    def proof_seconds(self) -> float:
        """From this age a VM whose work cannot be measured counts as working: it outlived those without."""
        if len(self.no_work) < ENOUGH:
            return self.fizzle_seconds
        return PROOF_FACTOR * self.no_work.high + MARGIN_SECONDS

    @property
    def late_seconds(self) -> float:
        """From this age a VM that could have shown work, and has not, counts as one that found none."""
        if len(self.evidence) < ENOUGH:
            return LATE_UNKNOWN_FACTOR * max(self.fizzle_seconds, self.proof_seconds)
        return LATE_FACTOR * self.evidence.high + MARGIN_SECONDS

    @property
    def price_seconds(self) -> float:
        """Slot time that a VM costs which finds no work."""
        return max(SHORTEST_PRICE_SECONDS, self.no_work.middle(self.fizzle_seconds / 2))

    def asked(self, started: float, age: float) -> float:
        """When a VM that found work asked for it: half-way from its start to its evidence or its ``age``."""
        return started + min(age, self.evidence.middle(age)) / 2

    def too_short(self, life: float) -> bool:
        """Whether a VM ended before an agent could have asked for work; never while too little is known."""
        known = [each.low for each in (self.no_work, self.evidence) if len(each) >= ENOUGH]
        return bool(known) and life < TOO_SHORT_SHARE * min(known)

    def state(self) -> dict[str, list[float]]:
        """Both lists of measurements, for `restore`."""
        return {"no_work": list(self.no_work.values), "evidence": list(self.evidence.values)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        self.no_work, self.evidence = Learned(state["no_work"]), Learned(state["evidence"])
