# SPDX-License-Identifier: GPL-3.0-or-later
"""Which fault comes when, and to which node: drawn at random from a seed before anything is done."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

EVERY_SECONDS = 60
# After a fault is undone its node has this time to recover before the next one.
PAUSE_SECONDS = 10


@dataclass(frozen=True)
class Fault:
    """One fault. ``place`` is where it can happen: the nodes' names.

    ``make`` and ``undo`` are shell scripts for that node, or words of `tests.soak.faults.ACTIONS`. ``make`` fails where
    there is nothing to hit. It is undone after ``seconds`` (0: it has no undo). ``recovers`` says in words what must
    be well again. One that ``takes_lease`` of a VM leaves nothing that could record how that VM ended.
    """

    name: str
    place: tuple[str, ...]
    make: str
    recovers: str
    undo: str = ""
    seconds: int = 0
    takes_lease: bool = False


@dataclass(frozen=True)
class Planned:
    """A fault, the node that it comes to, and when: seconds after the faults begin."""

    at: int
    fault: Fault
    node: str

    @property
    def until(self) -> int:
        """When it is undone."""
        return self.at + self.fault.seconds


def draw(faults: Sequence[Fault], count: int, seed: int, every: int = EVERY_SECONDS) -> list[Planned]:
    """So many faults, one every ``every`` seconds; the same seed draws the same plan.

    Each comes once before any comes again, as far as there is a node for it: none comes to a node that still has
    another. Where every node has one, none comes. The last ones are undone when the time is over.
    """
    chance = random.Random(seed)
    deck: list[Fault] = []
    found: list[Planned] = []
    free: dict[str, int] = {}
    for number in range(count):
        at = number * every
        if not any(_places(fault, free, at) for fault in deck):
            deck += chance.sample(list(faults), len(faults))
        fault = next((each for each in deck if _places(each, free, at)), None)
        if fault is None:
            continue
        deck.remove(fault)
        planned = Planned(at, fault, chance.choice(_places(fault, free, at)))
        found.append(planned)
        free[planned.node] = planned.until + PAUSE_SECONDS
    return found


def _places(fault: Fault, free: dict[str, int], at: int) -> list[str]:
    """The nodes on which the fault can happen then."""
    return [name for name in fault.place if free.get(name, 0) <= at]


def chosen(faults: Sequence[Fault], words: Sequence[str]) -> list[Fault]:
    """The faults whose names have one of the words in them; all without words. Raises ValueError if there is none."""
    matches: Callable[[Fault], bool] = lambda fault: not words or any(word in fault.name for word in words)  # noqa: E731
    found = [fault for fault in faults if matches(fault)]
    if not found:
        raise ValueError(f"no fault is named like {' or '.join(words)}")
    return found
