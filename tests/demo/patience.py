# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the demo waits without any news: in processor time, because a slow host is not a fault."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

# So much processor time without any news is a fault; what the demo waits for takes a tenth of it.
LIMIT_SECONDS = 600.0


def share() -> float:
    """The part of a processor (0 to 1) that one more process has got of this machine in the last minute."""
    return min(1.0, len(os.sched_getaffinity(0)) / max(os.getloadavg()[0], 0.01))


class Patience:
    """Counts the seconds of a processor that could be had since the last news."""

    def __init__(
        self,
        limit: float = LIMIT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        processor: Callable[[], float] = share,
    ) -> None:
        self._limit = limit
        self._clock = clock
        self._processor = processor
        self._last = clock()
        self._seen: object = None
        self.spent = 0.0

    def take(self, seen: object) -> bool:
        """Whether to go on waiting; ``seen`` is news if it differs from what was seen before."""
        now = self._clock()
        if seen == self._seen:
            # A machine that slept in between did nothing in that time.
            self.spent += min(now - self._last, 60.0) * self._processor()
        else:
            self.spent = 0.0
        self._last, self._seen = now, seen
        return self.spent <= self._limit
