# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in a child: its answer, and what ends it otherwise, without harm to who waits for it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import faulthandler
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from condor_vac.base import apart
from condor_vac.base.errors import VacError

# Many cases, or cases that wait: too much for `make check`.
pytestmark = pytest.mark.slow

# What a child may have besides what this process, which has run other tests before, has already.
MEMORY = 512 << 20


@pytest.fixture(autouse=True)
def reaped() -> Iterator[None]:
    """No child of this test or of one before is left; the programs end, and init takes theirs."""
    reap()
    yield
    reap()


def reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def text_of(work: Callable[[], str], seconds: float = 60.0) -> str:
    present = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return apart.text_of(work, seconds=seconds, memory_bytes=present + MEMORY)


def raises(error: BaseException) -> Callable[[], str]:
    def work() -> NoReturn:
        raise error

    return work


def killed(number: int) -> Callable[[], str]:
    def work() -> str:
        os.kill(os.getpid(), number)
        return "alive"

    return work


def eats_memory() -> str:
    return "x" * (1 << 31)


def eats_the_stack() -> str:
    return eats_the_stack()


def computes_for_ever() -> str:
    while True:
        pass


def sleeps() -> str:
    time.sleep(600)
    return "late"


def segmentation_fault() -> str:
    faulthandler.disable()
    return str(ctypes.string_at(0))


@pytest.mark.parametrize("text", ["", "<domain/>", "caf\u00e9 \n\n", "x" * 100_000])
def test_the_answer(text: str) -> None:
    assert text_of(lambda: text) == text


ENDS: dict[str, tuple[Callable[[], str], str]] = {
    "VacError": (raises(VacError("no lease")), "^no lease$"),
    "another error": (raises(ValueError("a\nb\x1b[31m")), r"^ValueError: a b.\[31m; this is an error in condor_vac"),
    "text that is none": (lambda: "\udc80", "^UnicodeEncodeError: "),
    "memory": (eats_memory, "^MemoryError:; this is an error"),
    "recursion": (eats_the_stack, "^RecursionError: "),
    "an exit": (raises(SystemExit(0)), "^its process ended and gave no answer"),
    "an interrupt": (raises(KeyboardInterrupt()), "^its process ended and gave no answer"),
    "SIGKILL": (killed(signal.SIGKILL), "^its process was ended by signal 9 and gave no answer"),
    "SIGSEGV": (segmentation_fault, "^its process was ended by signal 11 "),
}


@pytest.mark.parametrize("kind", ENDS)
def test_whatever_ends_the_child_is_said(kind: str) -> None:
    work, words = ENDS[kind]
    with pytest.raises(VacError, match=words) as caught:
        text_of(work)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("work", [sleeps, computes_for_ever])
def test_what_takes_too_long_is_ended(work: Callable[[], str]) -> None:
    with pytest.raises(VacError, match=r"^not ready within 0\.5 s"):
        text_of(work, 0.5)
    assert os.waitpid(-1, 0)[1] == signal.SIGKILL


def test_an_answer_of_many_megabytes_is_none() -> None:
    with pytest.raises(VacError, match="gave no answer"):
        text_of(lambda: "x" * (4 << 20))


def test_no_process_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(VacError, match="this node starts no process"):
        text_of(lambda: "x")
    apart.leave(lambda: None, seconds=1)


def test_the_child_holds_nobody_who_reads_its_parents_output(tmp_path: Path) -> None:
    """vm-gahp reads until the last process has closed what it reads."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            os.dup2(writer, 1)
            os.close(writer)
            apart.leave(lambda: time.sleep(60), seconds=60)
        finally:
            os._exit(0)
    os.close(writer)
    before = time.monotonic()
    assert os.read(reader, 10) == b""
    assert time.monotonic() - before < 30
    os.close(reader)
    os.wait()


def test_what_is_left_to_itself_is_done_and_ends(tmp_path: Path) -> None:
    def work() -> None:
        (tmp_path / "done").touch()
        time.sleep(600)

    apart.leave(work, seconds=1)
    _, status = os.wait()
    assert (status, (tmp_path / "done").exists()) == (signal.SIGALRM, True)


LOOKS: dict[str, Callable[[], object]] = {
    "raises": raises(ValueError("no")),
    "answers what is no byte": lambda: 256,
    "a memory hog": eats_memory,
    "too deep": eats_the_stack,
    "endless": computes_for_ever,
    "killed": killed(signal.SIGKILL),
    "crashed": lambda: ctypes.string_at(0),
    "exits": lambda: os._exit(3),
}


@pytest.mark.parametrize("kind", LOOKS)
def test_a_look_that_goes_wrong_costs_itself_alone(kind: str) -> None:
    bad = {0, 5, 9}

    def look(number: int) -> int:
        return int(LOOKS[kind]()) if number in bad else 10 * number  # type: ignore[call-overload]

    found = apart.each(look, 10, seconds=0.3, memory_bytes=MEMORY)
    assert found == [None if number in bad else 10 * number for number in range(10)]


def test_after_too_many_endless_looks_none_is_tried() -> None:
    def look(number: int) -> int:
        if number > 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return 7

    assert apart.each(look, 1000, seconds=1, memory_bytes=MEMORY) == [7, 7, *[None] * 998]
    assert apart.each(look, 0, seconds=1, memory_bytes=MEMORY) == []
