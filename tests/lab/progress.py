# SPDX-License-Identifier: GPL-3.0-or-later
"""One line that shows how long something takes and the last line of its output."""

from __future__ import annotations

import re
import shutil
import sys
import time
from pathlib import Path
from types import TracebackType

_CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|[\x00-\x08\x0b-\x1f\x7f]")
_QUIET_INTERVAL = 15.0


def tail(path: Path, count: int = 1, prefix: str = "") -> list[str]:
    """Return the last `count` lines of a log that are not empty and begin with `prefix`.

    Terminal control sequences are removed; only the end of a long file is read.
    """
    try:
        with open(path, "rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - 65536))
            text = _CONTROL.sub(b"", stream.read()).decode("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and line.startswith(prefix)][-count:]


class Progress:
    """A line on stderr: rewritten in place on a terminal, else repeated now and then."""

    def __init__(self, what: str) -> None:
        """Begin; `what` is what the reader waits for."""
        self.what = what
        self.start = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._last = 0.0
        self._open = False

    def __enter__(self) -> Progress:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the cursor at the start of a line."""
        if self._open:
            sys.stderr.write("\n")
            self._open = False

    def show(self, detail: list[str] | str) -> None:
        """Show the seconds so far and a detail."""
        now = time.monotonic()
        if not self._terminal and now - self._last < _QUIET_INTERVAL:
            return
        self._last = now
        last = detail[-1] if isinstance(detail, list) and detail else detail or ""
        line = f"{now - self.start:4.0f} s  {self.what}: {last}"
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write("\r\x1b[K" + line[:width])
            self._open = True
        else:
            sys.stderr.write(line[:160] + "\n")
        sys.stderr.flush()

    def done(self, text: str) -> None:
        """Replace the line by what came of it."""
        self.__exit__(None, None, None)
        sys.stderr.write(f"{time.monotonic() - self.start:4.0f} s  {text}\n")
        sys.stderr.flush()
