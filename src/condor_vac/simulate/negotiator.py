# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual pool's hosts and its negotiator: which idle VM gets which slot, and when.

As HTCondor does it: idle jobs are matched only in negotiation cycles; between accounting groups the one that
uses least for its share comes first, and what one group leaves another may use (surplus); a VM that needs
several processors needs them on one host. Which of the hosts with room it gets is drawn at random.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Wanting(Protocol):
    """What the negotiator must know of a machinetype; ``used`` counts processors in use now."""

    share: float
    processors: int
    used: int
    avoid: frozenset[int]


@dataclass
class Hosts:
    """Free slots of every host; ``lost`` ones have none to give."""

    slots: int
    free: list[int]
    lost: set[int] = field(default_factory=set)

    def take(self, host: int, processors: int) -> None:
        """Use ``processors`` slots of ``host``."""
        self.free[host] -= processors

    def give(self, host: int, processors: int) -> None:
        """Free ``processors`` slots of ``host``."""
        self.free[host] += processors

    def with_room(self, processors: int, avoid: frozenset[int] = frozenset()) -> list[int]:
        """The hosts that can take a VM of so many processors."""
        return [
            host
            for host, free in enumerate(self.free)
            if free >= processors and host not in self.lost and host not in avoid
        ]


def matches(
    groups: Sequence[tuple[Wanting, int]],
    hosts: Hosts,
    draws: Callable[[int], random.Random],
    take: Callable[[int, int], None],
) -> None:
    """Run one negotiation cycle: calls ``take(group index, host)`` for each match, which must update usage.

    ``groups`` holds each machinetype with its number of idle VMs; ``draws(group index)`` gives the random
    numbers of the VM that is next. They are the VM's own, so that the n-th VM of a machinetype prefers the
    same hosts whichever policy made it.
    """
    wanted = [idle for _group, idle in groups]
    room = [set(hosts.with_room(group.processors, group.avoid)) if idle else set() for group, idle in groups]
    while True:
        able = [index for index, left in enumerate(wanted) if left and room[index]]
        if not able:
            return
        index = min(able, key=lambda each: (groups[each][0].used / groups[each][0].share, each))
        host = _choose(room[index], len(hosts.free), draws(index))
        wanted[index] -= 1
        take(index, host)
        for place, (group, _idle) in zip(room, groups):
            if hosts.free[host] < group.processors:
                place.discard(host)


def _choose(places: set[int], hosts: int, rng: random.Random) -> int:
    for _attempt in range(hosts):
        host = rng.randrange(hosts)
        if host in places:
            return host
    return sorted(places)[rng.randrange(len(places))]
