# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual clock and what is to happen when."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any


class Events:
    """What happens in the order of its time (virtual seconds from 0); ``now`` is the time of what happens now."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, when: float, action: Callable[..., None], *args: Any) -> None:
        """Have ``action(*args)`` happen at ``when``; what is due together happens in the order it was set."""
        self._count += 1
        heapq.heappush(self._events, (when, self._count, action, args))

    def every(self, seconds: float, action: Callable[[], None]) -> None:
        """Have ``action()`` happen now and then each ``seconds``."""
        action()
        self.at(self.now + seconds, self.every, seconds, action)

    def pass_until(self, end: float) -> None:
        """Let everything happen until ``end``, and be there."""
        while self._events and self._events[0][0] <= end:
            self.now, _count, action, args = heapq.heappop(self._events)
            action(*args)
        self.now = end
