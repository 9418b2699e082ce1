# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of a run: found by the mark in their environment or by their session, and ended.

The mark survives ``setsid`` and a parent's death, so that a daemon that a test forgot is found as well. A process is
known by its id and start time together, because the kernel gives an id again.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Set for each stage: "CHECKOUT:SET:PID" of the run, and the stage's name.
RUN = "VAC_TEST_RUN"
STAGE = "VAC_TEST_STAGE"
KILL_SECONDS = 10
_POLL_SECONDS = 0.05
_PROC = Path("/proc")


@dataclass(frozen=True)
class Found:
    """A process, as the kernel showed it: ids, start time in clock ticks since boot, name, and its marks or ""."""

    pid: int
    session: int
    started: int
    name: str
    run: str
    stage: str


def find(wanted: Callable[[Found], bool]) -> list[Found]:
    """The living processes, apart from this one, that are *wanted*. Those of other users have no mark."""
    found = []
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            process = _look(entry)
            if process is not None and wanted(process):
                found.append(process)
    return found


def _look(entry: Path) -> Found | None:
    """A process; None if it has ended or is a zombie."""
    try:
        before, _, after = (entry / "stat").read_text("utf-8", "replace").rpartition(")")
        environment = (entry / "environ").read_bytes()
    except PermissionError:
        environment = b""
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = after.split()
    if fields[0] == "Z":
        return None
    variables = dict(part.partition("=")[::2] for part in environment.decode("utf-8", "replace").split("\0"))
    marks = variables.get(RUN, ""), variables.get(STAGE, "")
    return Found(int(entry.name), int(fields[3]), int(fields[19]), before.partition("(")[2], *marks)


def kill(wanted: Callable[[Found], bool]) -> list[Found]:
    """SIGKILL until none that is *wanted* is left, for KILL_SECONDS at most; returns those that got it."""
    killed: dict[tuple[int, int], Found] = {}
    end = time.monotonic() + KILL_SECONDS
    while (left := find(wanted)) and time.monotonic() < end:
        for process in left:
            killed[process.pid, process.started] = process
            send(process, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
    return list(killed.values())


def send(process: Found, number: signal.Signals) -> None:
    """Send a signal to the very process that was found; one that has ended, or is another user's, gets none."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        now = _look(_PROC / str(process.pid))
        if now is not None and now.started == process.started:
            signal.pidfd_send_signal(handle, number)
    except (ProcessLookupError, PermissionError):
        return
    finally:
        os.close(handle)


def end_run(run: str, grace: float) -> list[Found]:
    """End what is left of the runs whose mark begins so: SIGINT to all, after *grace* seconds SIGKILL.

    Returns the processes that there were.
    """

    def ours(process: Found) -> bool:
        return process.run.startswith(run)

    left = find(ours)
    for process in left:
        send(process, signal.SIGINT)
    end = time.monotonic() + grace
    while time.monotonic() < end and find(ours):
        time.sleep(_POLL_SECONDS)
    kill(ours)
    return left
