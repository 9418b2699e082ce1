# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in a child of its own, under limits of time and memory: whatever happens to it, its parent goes on.

A fork is about 1 ms. The child has neither standard output nor standard error, because the parent's caller may wait
until nobody has these open. It ends without running anything of the parent's.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable

from condor_vac.base.errors import VacError
from condor_vac.base.shared import one_line

_ANSWER_LIMIT = 1 << 20
_END = b"\0"
_GOOD, _BAD = b"+", b"-"
# How long a child that has answered, or was killed, may take to be gone.
_END_SECONDS = 1.0
# A look that waits, rather than works, for so long is ended as well.
_WAIT_SECONDS = 60
# So many looks may end their child; those after them are not done.
_MOST_LOST = 16


def text_of(work: Callable[[], str], *, seconds: float, memory_bytes: int) -> str:
    """What ``work`` returns, a text without NUL. Raises VacError for whatever ends it otherwise.

    The child is not waited for once it has answered: this is for a program that ends then.

    That is a VacError of the work with its message, any other exception, and a child that dies by a signal or at a
    limit: ``seconds`` of time (of the clock, and of a processor), ``memory_bytes`` of address space.
    """
    reader, writer, child = _fork()
    if child == 0:
        _work(writer, work, seconds, memory_bytes)
    os.close(writer)
    answer = read_to_end(reader, time.monotonic() + seconds, _ANSWER_LIMIT)
    os.close(reader)
    if answer is None:
        os.kill(child, signal.SIGKILL)
        raise VacError(f"not ready within {seconds:g} s; is the node overloaded, or a file system slow?")
    if not answer.endswith(_END):
        raise VacError(f"its process {_end_of(child)} and gave no answer; see the node's log for what killed it")
    text = answer[1:-1].decode("utf-8", "replace")
    if answer[:1] != _GOOD:
        raise VacError(text)
    return text


def each(look: Callable[[int], int], count: int, *, seconds: float, memory_bytes: int) -> list[int | None]:
    """What ``look(number)``, 0 to 255, is of each of so many numbers; None where it has none.

    That is where the look raises, where it takes more than ``seconds`` of a processor or ``memory_bytes`` besides what
    this process has, or where it ends its process. The others have theirs, unless `_MOST_LOST` looks ended that way
    before. Raises VacError where no process can be started.
    """
    found: list[int | None] = []
    for _lost in range(_MOST_LOST):
        found += _looks(look, range(len(found), count), seconds, memory_bytes)
        if len(found) == count:
            return found
        found.append(None)
    return found + [None] * (count - len(found))


def _looks(look: Callable[[int], int], numbers: range, seconds: float, memory_bytes: int) -> list[int | None]:
    """The looks of one child, until it ends: all of them, or those before the one that ended it."""
    reader, writer, child = _fork()
    if child == 0:
        try:
            _look_at_each(writer, look, numbers, seconds, memory_bytes)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answers = stream.read()
    os.waitpid(child, 0)
    return [answers[at + 1] if answers[at : at + 1] == _GOOD else None for at in range(0, len(answers) - 1, 2)]


def _look_at_each(writer: int, look: Callable[[int], int], numbers: range, seconds: float, memory_bytes: int) -> None:
    silence(1, 2)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    # proc_pid_statm(5): the first figure is the address space in pages.
    with open("/proc/self/statm", "rb") as stream:
        pages = int(stream.read().split()[0])
    _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + memory_bytes)
    for number in numbers:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.alarm(_WAIT_SECONDS)
        try:
            answer = _GOOD + bytes([look(number)])
        except Exception:  # noqa: BLE001  whatever it is, this number has no answer
            answer = _BAD + b" "
        os.write(writer, answer)


def leave(work: Callable[[], None], *, seconds: int) -> None:
    """Have the work done in a child that nobody waits for, and that is gone after ``seconds`` at the latest."""
    with contextlib.suppress(OSError):
        if os.fork() == 0:
            try:
                silence(0, 1, 2)
                signal.alarm(seconds)
                work()
            finally:
                os._exit(0)


def _fork() -> tuple[int, int, int]:
    """The ends of a pipe for reading and writing, and the child's number, which is 0 in the child."""
    try:
        reader, writer = os.pipe()
        return reader, writer, os.fork()
    except OSError as error:
        raise VacError(f"this node starts no process ({error.strerror}); condor_vac doctor checks it") from error


def _work(writer: int, work: Callable[[], str], seconds: float, memory_bytes: int) -> None:
    """Do the work, answer, and leave."""
    try:
        silence(1, 2)
        # The parent ends it before, if the parent is still there.
        signal.alarm(int(seconds) + 1)
        _limit(resource.RLIMIT_AS, memory_bytes)
        _limit(resource.RLIMIT_CPU, int(seconds) + 1)
        try:
            answer = _GOOD + work().encode()
        except VacError as error:
            answer = _BAD + str(error).encode("utf-8", "replace")
        except Exception as error:  # noqa: BLE001  it is reported
            what = one_line(f"{type(error).__name__}: {error}", 300)
            answer = _BAD + f"{what}; this is an error in condor_vac: please report it".encode("utf-8", "replace")
        with os.fdopen(writer, "wb") as stream:
            stream.write(answer + _END)
    finally:
        os._exit(0)


def _limit(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _end_of(child: int) -> str:
    deadline = time.monotonic() + _END_SECONDS
    while time.monotonic() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return f"was ended by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "ended"
        time.sleep(0.01)
    return "does not end"


def silence(*streams: int) -> None:
    """Have these descriptors, which another process may read from or write to, lead nowhere."""
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for stream in streams:
        os.dup2(nothing, stream)


def read_to_end(reader: int, deadline: float, most: int = sys.maxsize) -> bytes | None:
    """All that a child writes; None if it goes on after the deadline (time.monotonic).

    Of one that writes more than ``most`` bytes it is the beginning, somewhat longer than that.
    """
    answer = b""
    while len(answer) <= most:
        if not select.select([reader], [], [], max(deadline - time.monotonic(), 0.0))[0]:
            return None
        chunk = os.read(reader, 1 << 16)
        if not chunk:
            break
        answer += chunk
    return answer
