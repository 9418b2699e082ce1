# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that the demo runs, several at once where they do not need each other, with a line of progress."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .guard import Guard
from .patience import Patience
from .sample import without_figures
from .screen import Screen

ROOT = Path(__file__).resolve().parent.parent.parent
TICK_SECONDS = 1.0
TAIL_LINES = 40
# From the wish to the order to end.
GRACE_SECONDS = 10.0
_TASK = re.compile(r"^TASK \[(.*?)\]")


class StepError(Exception):
    """A command failed, or nothing came of it; the message names it and shows the end of its output."""


@dataclass(frozen=True)
class Command:
    """A command; ``progress`` makes of a line of its output what is worth showing, or None."""

    words: Sequence[str]
    progress: Callable[[str], str | None] = str.strip

    def __str__(self) -> str:
        """As one would type it."""
        return shlex.join("python" if word == sys.executable else word for word in self.words)


def ansible_task(line: str) -> str | None:
    """The name of the task that a line of Ansible's output begins."""
    match = _TASK.match(line)
    return match.group(1) if match else None


@dataclass
class _Running:
    command: Command
    process: subprocess.Popen[str]
    last: str = ""
    shown: int = 0
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))
    over: bool = False


class Steps:
    """Runs commands of the checkout; their whole output goes to the file ``log``."""

    def __init__(self, screen: Screen, guard: Guard, log: Path) -> None:
        self._screen = screen
        self._guard = guard
        self._log = log

    def run(self, text: str, *commands: Command) -> None:
        """Run the commands at once and wait for all. Raises StepError when one fails, after it has ended the others."""
        self._screen.say("", self._screen.stamp(text), *(f"         $ {command}" for command in commands))
        running = [_Running(command, self._start(command)) for command in commands]
        try:
            self._wait(running)
        finally:
            self._screen.clear()
            for each in running:
                self._end(each.process)

    def _start(self, command: Command) -> subprocess.Popen[str]:
        """Start it in a session of its own, so that Ctrl-C is for the demo alone."""
        process = subprocess.Popen(
            list(command.words),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._guard.begin(process.pid)
        return process

    def _wait(self, running: list[_Running]) -> None:
        found: queue.Queue[tuple[_Running, str | None]] = queue.Queue()
        for each in running:
            threading.Thread(target=_read, args=(each, found), daemon=True).start()
        patience = Patience()
        with self._log.open("a") as log:
            while not all(each.over for each in running):
                try:
                    each, line = found.get(timeout=TICK_SECONDS)
                except queue.Empty:
                    # What a command leaves running may hold its output open.
                    for each in (each for each in running if each.process.poll() is not None):
                        self._take(each, None)
                else:
                    self._take(each, line)
                    log.write(line or "")
                self._show(running)
                if not patience.take([without_figures(each.tail[-1]) for each in running if each.tail]):
                    raise StepError(self._complaint(running[0], "no news for too long"))

    def _take(self, each: _Running, line: str | None) -> None:
        if line is None:
            if not each.over and each.process.wait() != 0:
                raise StepError(self._complaint(each, f"ended with {each.process.returncode}"))
            each.over = True
            return
        each.tail.append(line)
        progress = each.command.progress(line)
        if progress:
            each.last, each.shown = progress, each.shown + 1

    def _show(self, running: list[_Running]) -> None:
        now = [each for each in running if not each.over and each.last]
        lines = [self._screen.stamp(f"  {each.shown}: {each.last}") for each in now]
        self._screen.show(lines, (lines or [self._screen.stamp("  …")])[0][: self._screen.width])

    def _complaint(self, each: _Running, what: str) -> str:
        return f"{each.command}: {what}. The end of its output (all in {self._log}):\n{''.join(each.tail)}"

    def _end(self, process: subprocess.Popen[str]) -> None:
        """End what is left of a command: ask it to clean up, then make it go."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE_SECONDS)
        self._guard.end(process.pid)


def _read(each: _Running, found: queue.Queue[tuple[_Running, str | None]]) -> None:
    for line in each.process.stdout or ():
        found.put((each, line))
    found.put((each, None))
