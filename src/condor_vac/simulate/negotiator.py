# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual pool's hosts and its negotiator: which idle VM gets which slot, as HTCondor does it.

- A host takes ``starts_per_cycle`` VMs of all groups in a cycle at most: ``NUM_CLAIMS`` of a node with a consumption
  policy, whose slot is offered again with what is left of it (matchmaker.cpp, ``cp_deduct_assets``).
- The accounting group that uses least of its quota comes first and gets up to its quota; then what is left goes to
  the groups that have VMs waiting (surplus), again to the one that uses least of its share.
- Of the hosts with room the one with the fewest free processors is filled first: ``NEGOTIATOR_PRE_JOB_RANK`` is
  ``... - (100000 * Cpus) - Memory`` by default (param_info.in of 23.9.6 and 25.14). Equal hosts have an order that does
  not change, as by ``KFlops`` in ``NEGOTIATOR_POST_JOB_RANK``.
- A VM that needs several processors needs them on one host.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from typing import Protocol


class Wanting(Protocol):
    """What the negotiator must know of a machinetype; ``used`` counts processors in use now."""

    share: float
    processors: int
    used: int
    avoid: frozenset[int]


class Hosts:
    """Slots of every host; ``lost`` ones have none to give. ``starts_per_cycle`` 0: as many as fit."""

    def __init__(self, slots: Sequence[int], starts_per_cycle: int = 0, seed: int = 0) -> None:
        self.slots = tuple(slots)
        self.free = list(slots)
        self.starts_per_cycle = starts_per_cycle
        self.lost: set[int] = set()
        self.order = list(range(len(self.slots)))
        random.Random(f"{seed}/hosts").shuffle(self.order)  # noqa: S311 - a simulation must be repeatable

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

    def total(self) -> int:
        """The slots of all hosts that are there."""
        return sum(self.slots) - sum(self.slots[host] for host in self.lost)


def matches(groups: Sequence[tuple[Wanting, int]], hosts: Hosts, take: Callable[[int, int], None]) -> None:
    """Run one negotiation cycle: calls ``take(group index, host)`` for each match, which must update usage.

    ``groups`` holds each machinetype with its number of idle VMs.
    """
    if any(idle for _group, idle in groups):
        cycle = _Cycle(groups, hosts, take)
        cycle.quotas()
        cycle.surplus()


class _Cycle:
    def __init__(self, groups: Sequence[tuple[Wanting, int]], hosts: Hosts, take: Callable[[int, int], None]) -> None:
        self.groups = [group for group, _idle in groups]
        self.wanted = [idle for _group, idle in groups]
        self.hosts, self.take = hosts, take
        self.started = [0] * len(hosts.slots)
        # Of each group, its hosts by rank; an entry whose host has another number of free slots by now is void.
        self.ranked = [self._rank(group) if idle else [] for group, idle in groups]

    def quotas(self) -> None:
        """Every group up to its quota, the one that uses least of it first."""
        per_share = self.hosts.total() / sum(group.share for group in self.groups)
        for index in sorted(range(len(self.groups)), key=self._usage):
            group = self.groups[index]
            while group.used + group.processors <= group.share * per_share and self._match(index):
                pass

    def surplus(self) -> None:
        """What is left, one by one to the group that uses least."""
        able = {index for index, wanted in enumerate(self.wanted) if wanted}
        while able:
            index = min(able, key=self._usage)
            if not self._match(index):
                able.discard(index)

    def _usage(self, index: int) -> tuple[float, int]:
        return self.groups[index].used / self.groups[index].share, index

    def _match(self, index: int) -> bool:
        host = self._best(index) if self.wanted[index] else None
        if host is None:
            return False
        self.wanted[index] -= 1
        self.started[host] += 1
        self.take(index, host)
        if not self._is_full(host):
            for ranked, group in zip(self.ranked, self.groups):
                if self.hosts.free[host] >= group.processors and host not in group.avoid:
                    heapq.heappush(ranked, self._entry(host))
        return True

    def _rank(self, group: Wanting) -> list[tuple[int, int, int]]:
        ranked = [self._entry(host) for host in self.hosts.with_room(group.processors, group.avoid)]
        heapq.heapify(ranked)
        return ranked

    def _entry(self, host: int) -> tuple[int, int, int]:
        return self.hosts.free[host], self.hosts.order[host], host

    def _best(self, index: int) -> int | None:
        ranked = self.ranked[index]
        while ranked:
            free, _order, host = ranked[0]
            if free == self.hosts.free[host] and not self._is_full(host):
                return host
            heapq.heappop(ranked)
        return None

    def _is_full(self, host: int) -> bool:
        return 0 < self.hosts.starts_per_cycle <= self.started[host]
