# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that outlives the demo for as long as it takes to clean up after it, when the demo was killed.

``python -m tests.demo.guard``: reads lines from standard input, ``begin PID`` and ``end PID`` of commands that lead
sessions of their own, ``leave`` if there is nothing to clean up. When the input ends without that, it kills those
commands and stops the demo's machines.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.lab.paths import LabError
from tests.lab.state import Process

LAB = (sys.executable, "-m", "tests.lab")


class Guard:
    """The guard's other end, in the demo."""

    def __init__(self, log: Path) -> None:
        with log.open("a") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.demo.guard"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def begin(self, pid: int) -> None:
        """A command runs from now on."""
        self._tell(f"begin {pid}")

    def end(self, pid: int) -> None:
        """It has ended."""
        self._tell(f"end {pid}")

    def leave(self) -> None:
        """Nothing is to be cleaned up any more; the guard ends."""
        self._tell("leave")
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()


def listen(lines: Iterable[str]) -> list[Process] | None:
    """The commands that still run when the lines end; None if the last word was that nothing is to be done."""
    running: dict[int, Process] = {}
    for line in lines:
        word, _, number = line.strip().partition(" ")
        if word == "leave":
            return None
        if word == "end":
            running.pop(int(number), None)
        elif word == "begin":
            # One that has ended already needs no killing.
            with contextlib.suppress(LabError):
                running[int(number)] = Process.of(int(number))
    return list(running.values())


def main() -> int:
    """Wait for the demo's end, and clean up if it could not."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    running = listen(sys.stdin)
    if running is None:
        return 0
    for each in running:
        if each.alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each.pid, signal.SIGKILL)
    return subprocess.run([*LAB, "down"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
