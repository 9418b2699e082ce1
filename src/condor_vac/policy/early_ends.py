# SPDX-License-Identifier: GPL-3.0-or-later
"""What the factory learns of early ends: whether a VM that succeeded early left an empty queue behind.

Some agents work until there is nothing left, others do one task and end well. So each early success is a
forecast ("the queue is empty") that the next VM to ask confirms or contradicts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NEVER = -math.inf
# Share of max_wallclock_seconds: a VM that succeeded sooner was not ended by its wall clock, so it ran out of tasks.
# Ablation: early_ends.
EARLY_SHARE = 0.8
# Seconds after an early end in which a VM that finds work contradicts it. Later, new work may have arrived.
CONTRADICTION_SECONDS = 900.0


class EarlyEnds:
    """How often early successes were followed by VMs without work, and how often by VMs with work."""

    def __init__(self, max_wallclock_seconds: float) -> None:
        self.early_seconds = EARLY_SHARE * max_wallclock_seconds
        self.last = NEVER  # when the latest VM succeeded early
        self.confirmed = 1
        self.contradicted = 1
        self.open: float | None = None  # when the one ended that no later question has answered yet

    def ended(self, at: float) -> None:
        """A VM succeeded early, ``at`` that time."""
        self.last = max(self.last, at)
        self.open = at if self.open is None else min(self.open, at)

    def found(self, asked: float) -> None:
        """A VM that asked then found work; long after the early end that says nothing of it."""
        if self.open is not None and asked > self.open:
            self.contradicted += asked < self.open + CONTRADICTION_SECONDS
            self.open = None

    def dry(self, asked: float) -> None:
        """A VM that asked then found no work."""
        if self.open is not None and asked > self.open:
            self.confirmed += 1
            self.open = None

    @property
    def mean_no_work(self) -> bool:
        """Whether early successes have mostly been followed by VMs that found no work.

        Not before that was seen: agents that do one task and end well are common, and leave a full queue behind.
        """
        return self.confirmed > self.contradicted

    @property
    def latest_no(self) -> float:
        """When an early end last showed an empty queue; `NEVER` where early ends do not show that."""
        return self.last if self.mean_no_work else NEVER

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as JSON; a time that never was is null."""
        return {
            "last": None if self.last == NEVER else self.last,
            "confirmed": self.confirmed,
            "contradicted": self.contradicted,
            "open": self.open,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        self.last = NEVER if state["last"] is None else state["last"]
        self.confirmed, self.contradicted, self.open = state["confirmed"], state["contradicted"], state["open"]
