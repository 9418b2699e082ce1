# SPDX-License-Identifier: GPL-3.0-or-later
"""Cleans up where the runner itself was killed: ``python -m tests.run.guard RUN [--lab]``.

The runner holds the other end of the guard's standard input. If that closes without the word that all is over, the
guard ends every process of the run and stops the lab's machines. It inherits the runner's lock, so that the next
run waits for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from types import TracebackType

from tests.run import lab, processes
from tests.run.processes import Found
from tests.run.running import ROOT

OVER = b"over"
GRACE_SECONDS = 30


def clean(run: str, *, with_lab: bool) -> list[Found]:
    """End the processes of the broken-off runs whose mark begins with *run*, then have the lab tidy up.

    Returns the processes that there were. Raises lab.NotDownError.
    """
    left = processes.end_run(run, GRACE_SECONDS)
    try:
        if with_lab:
            lab.down()
    finally:
        left += processes.end_run(run, 0)
    return left


class Guard:
    """A guard process for as long as the context lasts; *lock* is the file descriptor of the runner's lock."""

    def __init__(self, run: str, lock: int, *, with_lab: bool) -> None:
        self.process = subprocess.Popen(
            (sys.executable, "-m", __name__, run, *(["--lab"] if with_lab else [])),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            pass_fds=(lock,),
            start_new_session=True,
        )

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell the guard that all is over; after an exception it cleans up, and this waits for it."""
        self.process.communicate(OVER if error is None else b"")


def main() -> int:
    """Wait for the runner's end, and clean up unless it did so itself."""
    run, with_lab = sys.argv[1], "--lab" in sys.argv[2:]
    os.environ.pop(processes.RUN, None)
    if sys.stdin.buffer.read() == OVER:
        return 0
    clean(run, with_lab=with_lab)
    return 0


if __name__ == "__main__":
    sys.exit(main())
