# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that the caller of this program can neither stop nor block, by a child in a session of its own.

A caller's terminal can stop every process of its session (^Z, which sudo's use_pty passes on), its pipes block who
writes into them, and it decides umask and priority. The child has none of these.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable

from condor_vac.base.apart import read_to_end, silence

# A log that takes nothing would hold it.
AFTER_SECONDS = 10


def detached(work: Callable[[], bytes | None], seconds: float, after: Callable[[], None] | None = None) -> bytes | None:
    """The answer of ``work``, done by the child; None if it failed, or goes on after so many seconds.

    What makes it fail is in the system's log. ``after`` is what the child does once it has answered, in AFTER_SECONDS.
    """
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        _child(writer, work, after)
    os.close(writer)
    try:
        answer = read_to_end(reader, time.monotonic() + seconds)
    finally:
        os.close(reader)
    return answer[:-1] if answer is not None and answer.endswith(b"\n") else None


def _child(writer: int, work: Callable[[], bytes | None], after: Callable[[], None] | None) -> None:
    done = False
    try:
        _leave_caller()
        answer = work() or b""
        done = True
        with contextlib.suppress(BrokenPipeError), os.fdopen(writer, "wb") as stream:
            stream.write(answer + b"\n")
        if after is not None:
            signal.alarm(AFTER_SECONDS)
            after()
    finally:
        # A programming error: nothing else would record it. Then end in every case.
        if not done:
            _record()
        os._exit(0)


def _leave_caller() -> None:
    os.setsid()
    os.umask(0o022)
    os.chdir("/")
    silence(0, 1, 2)
    # A lower priority of the caller's would be that of all who wait for this program. Root alone may raise it.
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _record() -> None:
    import syslog  # noqa: PLC0415 - these two cost 1.5 ms of 21, for this alone
    import traceback  # noqa: PLC0415

    syslog.openlog("condor_vac", syslog.LOG_PID, syslog.LOG_DAEMON)
    for line in traceback.format_exc().splitlines():
        syslog.syslog(syslog.LOG_ERR, line)
