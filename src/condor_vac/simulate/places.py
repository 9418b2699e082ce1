# SPDX-License-Identifier: GPL-3.0-or-later
"""How many VMs could work that do not: the slots on which none works, host by host."""

from __future__ import annotations

from collections.abc import Iterable


class Places:
    """For each size of a VM, how many of that size fit into the slots on which no VM works."""

    def __init__(self, slots: Iterable[int], sizes: Iterable[int]) -> None:
        self._room = list(slots)
        self._lost: dict[int, int] = {}
        self._places = {size: sum(room // size for room in self._room) for size in sizes}

    def of(self, size: int) -> int:
        """How many VMs of so many processors fit."""
        return self._places[size]

    def change(self, host: int, slots: int) -> None:
        """So many slots more (or, below 0, fewer) of the host do no work now."""
        before = self._room[host]
        self._room[host] = after = before + slots
        for size in self._places:
            self._places[size] += after // size - before // size

    def lose(self, host: int) -> None:
        """The host is gone; nothing works there."""
        self._lost[host] = self._room[host]
        self.change(host, -self._room[host])

    def find(self, host: int) -> None:
        """The host is there again."""
        self.change(host, self._lost.pop(host, 0))
