# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the demo writes: lines that stay, and below them, on a terminal, a block that is redrawn in place."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from typing import TextIO

# Without a terminal something is written at least this often.
QUIET_SECONDS = 9.0
PLAIN_WIDTH = 110
NARROWEST = 40


def is_terminal(stream: TextIO) -> bool:
    """Whether lines of it can be redrawn."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Screen:
    """A stream and the seconds since ``started`` (of ``clock``), with which lines begin."""

    def __init__(
        self, stream: TextIO, *, terminal: bool | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._block: list[str] = []
        self._drawn = 0
        self.terminal = is_terminal(stream) if terminal is None else terminal
        self.started = clock()
        self._written = self.started

    def seconds(self) -> float:
        """Seconds since the demo began."""
        return self._clock() - self.started

    @property
    def width(self) -> int:
        """Characters of a line, also where the terminal is so narrow that they do not fit."""
        return max(NARROWEST, shutil.get_terminal_size().columns - 1) if self.terminal else PLAIN_WIDTH

    def stamp(self, text: str) -> str:
        """The text with the time before it."""
        return f"[{self.seconds():4.0f} s] {text}"

    def say(self, *lines: str) -> None:
        """Write lines that stay."""
        self._erase()
        self._write("".join(f"{line}\n" for line in lines))
        self._draw()

    def show(self, block: Sequence[str], brief: str) -> None:
        """Redraw the block; without a terminal, write ``brief`` if nothing was written for a while."""
        if not self.terminal:
            if self._clock() - self._written >= QUIET_SECONDS:
                self.say(brief)
            return
        self._erase()
        # One that wraps or scrolls could not be erased.
        columns, rows = shutil.get_terminal_size()
        self._block = [line[: columns - 1] for line in block][: max(1, rows - 1)]
        self._draw()

    def clear(self) -> None:
        """Take the block away."""
        self._erase()
        self._block = []

    def leave(self) -> None:
        """Let the block stay as it is, above what comes."""
        self._drawn, self._block = 0, []

    def _erase(self) -> None:
        if self._drawn:
            self._write(f"\x1b[{self._drawn}F\x1b[J")
            self._drawn = 0

    def _draw(self) -> None:
        if self._block:
            self._write("".join(f"{line}\n" for line in self._block))
            self._drawn = len(self._block)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
        self._written = self._clock()
