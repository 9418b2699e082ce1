# SPDX-License-Identifier: GPL-3.0-or-later
"""The line on stderr that shows how far something is that takes long."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

PATIENCE_SECONDS = 3.0
_CLEAR = "\r\033[K"


class ProgressLine:
    """On a terminal one line that changes, else a line now and then; nothing of what ends within PATIENCE_SECONDS."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._terminal = sys.stderr.isatty()
        self._period = 1.0 if self._terminal else 10.0
        self._next = clock() + PATIENCE_SECONDS
        self._shown = False

    def show(self, text: str) -> None:
        """Show the text, unless the last one was shown just now."""
        if self._clock() < self._next:
            return
        self._next, self._shown = self._clock() + self._period, True
        before, after = (_CLEAR, "") if self._terminal else ("", "\n")
        print(f"{before}{text}", end=after, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Clear the terminal's line."""
        if self._shown and self._terminal:
            print(_CLEAR, end="", file=sys.stderr, flush=True)
