# SPDX-License-Identifier: GPL-3.0-or-later
"""What the factory learns of the queue's depth: runs of VMs that found work.

An *episode* is a run of VMs that found work, without one that asked later and found none. How many they were is
the *depth* to which the queue is believed to be filled when the next episode begins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NEVER = -math.inf
# Episodes of each sort whose depths are kept; the least counts, so that one lucky wave is not repeated in full.
# Ablation: depth_of_two.
EPISODES = 2
# VMs. With no more at work an episode began with (nearly) nothing, and is compared with others that did. Ablation:
# depth_by_sort.
FEW_WORKING = 2


class Episodes:
    """The answers to the latest questions, the present run of finds, and the depths of those before.

    Times are when VMs asked, in seconds; counts are of VMs.
    """

    def __init__(self) -> None:
        self.last_found = NEVER
        self.last_shown = NEVER  # the same of the VMs that showed it, and did not only outlive others
        self.last_dry = NEVER
        self.count = 0  # VMs that found work in this episode
        self.fresh = True  # whether (nearly) nothing worked when the episode began
        self.depths: dict[bool, list[int]] = {True: [], False: []}  # by fresh, of the last episodes
        self.bottomless = True  # no VM has found the queue empty yet

    def found(self, asked: float, latest_no: float, working: int, shown: bool) -> None:
        """A VM that asked then found work; ``latest_no`` is when the latest one asked that found none."""
        if asked > latest_no:
            if not self.count:
                self.fresh = working <= FEW_WORKING
            self.count += 1
        elif self.depths[self.fresh]:
            self.depths[self.fresh][-1] += 1
        self.last_found = max(self.last_found, asked)
        if shown:
            self.last_shown = max(self.last_shown, asked)

    def take_back(self, number: int) -> None:
        """So many VMs had found no work after all: only what was shown counts."""
        self.last_found = self.last_shown
        self.count = max(0, self.count - number)

    def dry(self, asked: float) -> None:
        """A VM that asked then found no work."""
        self.last_dry = max(self.last_dry, asked)
        self.bottomless = False
        if asked > self.last_found:
            self.close()

    def end(self) -> None:
        """More VMs have failed since than found work: agents may fail for want of work."""
        self.bottomless = False
        self.close()

    def close(self) -> None:
        """The queue is empty: what was found is its depth."""
        if self.count:
            self.depths[self.fresh] = [*self.depths[self.fresh], self.count][-EPISODES:]
            self.count = 0

    @property
    def depth(self) -> int | None:
        """VMs that the queue had work for in the last episodes of this sort (the least); None: unknown."""
        return min(self.depths[self.fresh], default=None)

    @property
    def deepest(self) -> int | None:
        """The most VMs that the queue had work for in one of the last episodes; None: unknown."""
        return max([*self.depths[True], *self.depths[False]], default=None)

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as JSON; a time that never was is null."""
        return {
            "last_found": None if self.last_found == NEVER else self.last_found,
            "last_shown": None if self.last_shown == NEVER else self.last_shown,
            "last_dry": None if self.last_dry == NEVER else self.last_dry,
            "count": self.count,
            "fresh": self.fresh,
            "fresh_depths": list(self.depths[True]),
            "other_depths": list(self.depths[False]),
            "bottomless": self.bottomless,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        self.last_found = NEVER if state["last_found"] is None else state["last_found"]
        self.last_shown = NEVER if state["last_shown"] is None else state["last_shown"]
        self.last_dry = NEVER if state["last_dry"] is None else state["last_dry"]
        self.count, self.fresh, self.bottomless = state["count"], state["fresh"], state["bottomless"]
        self.depths = {True: list(state["fresh_depths"]), False: list(state["other_depths"])}
