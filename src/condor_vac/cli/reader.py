# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens when nobody reads a command's output any more, as after ``condor_vac machines --json | head -1``."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def may_leave() -> Iterator[None]:
    """Within it, and for all that was printed: end by SIGPIPE, without a message, once the reader has left.

    Python ignores that signal, so that a connection to a daemon that breaks is an error and not the end. This is left
    so: only a broken pipe of the output is the reader's.
    """
    try:
        try:
            yield
        finally:
            # What is still in the buffer would fail at the interpreter's end, with a message of its own. None: closed.
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        if not any(_has_left(stream.fileno()) for stream in (sys.stdout, sys.stderr) if stream is not None):
            raise
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)


def _has_left(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _fd, events in poll.poll(0))
