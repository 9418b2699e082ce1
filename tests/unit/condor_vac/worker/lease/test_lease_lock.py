# SPDX-License-Identifier: GPL-3.0-or-later
"""The node's one lock: nobody waits or holds it for ever, and what a caller may slow is done without it."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base import atomic
from condor_vac.base.errors import VacError
from condor_vac.worker import privileges
from condor_vac.worker.detached import detached
from condor_vac.worker.lease import store as lease_store
from condor_vac.worker.lease.requests import Caller, ReleaseRequest
from condor_vac.worker.lease.store import Store
from condor_vac.worker.programs.lease_helper import release_if_ended
from tests.unit.condor_vac.worker.conftest import GID, UID, Node

# Many cases, or cases that wait: too much for `make check`.
pytestmark = pytest.mark.slow

# Seconds after which a test that waits for something would wait for ever.
HANGS = 300


@pytest.fixture
def holder(node: Node) -> Iterator[int]:
    """A process that holds the lock until it is killed."""
    ready, tell = os.pipe()
    with node.store.lock():
        pass
    child = os.fork()
    if child == 0:
        fd = os.open(f"{node.store.run_directory}/lock", os.O_RDWR)
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.write(tell, b"x")
        signal.pause()
        os._exit(0)
    os.read(ready, 1)
    yield child
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ready)
    os.close(tell)


def test_who_waits_gives_up_and_all_waits_together_have_one_time(node: Node, holder: int) -> None:
    waiting = Store(node.store.run_directory, patience=0.3)
    for _ in range(3):
        with pytest.raises(atomic.LockedError, match="another process holds it"), waiting.lock():
            pytest.fail("two have the lock")
    os.kill(holder, signal.SIGKILL)
    with Store(node.store.run_directory, patience=HANGS).lock():
        pass


def test_who_holds_it_too_long_is_ended(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_store, "HELD_SECONDS", 0.2)
    child = os.fork()
    if child == 0:
        with node.store.lock():
            time.sleep(HANGS)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGALRM
    with Store(node.store.run_directory, patience=0.0).lock():
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def _is_free(node: Node) -> bool:
    fd = os.open(f"{node.store.run_directory}/lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def test_nothing_is_done_as_the_user_or_said_while_it_is_held(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user can stop a process of the user's, and whoever is told something may not listen."""
    free: list[bool] = []
    real = privileges.run_as

    def run_as(*arguments: Any, **options: Any) -> Any:
        free.append(_is_free(node))
        return real(*arguments, **options)

    Path(node.store.run_directory).mkdir()
    monkeypatch.setattr(privileges, "run_as", run_as)
    lease = node.acquire()
    Path(lease.sandbox, "console.log").mkdir()
    notes: list[str] = []

    def log(line: str) -> None:
        free.append(_is_free(node))
        notes.append(line)

    assert release_if_ended(ReleaseRequest(uuid=lease.uuid), Caller(UID, GID), node.settings, node.store, log) == lease
    assert len(free) == 3
    assert all(free)
    assert "console not handed over" in notes[0]


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_callers_umask_decides_nothing(node: Node, umask: int) -> None:
    """The hooks, which are not root, read leases: 0755 for directories, 0644 for files."""
    before = os.umask(umask)
    try:
        lease = node.acquire()
        (node.base / "run" / "leases" / "bad.json").write_text("{")
        node.store.put_aside(node.store.read()[1][0])
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (node.base / "run").iterdir()}
    assert modes == {"leases": 0o755, "lock": 0o600, "damaged": 0o755}
    assert stat.S_IMODE((node.base / "run").stat().st_mode) == 0o755
    assert stat.S_IMODE((node.base / "run" / "leases" / f"{lease.uuid}.json").stat().st_mode) == 0o644


def test_work_is_done_apart_from_the_caller() -> None:
    def work() -> bytes:
        own_session = os.getsid(0) == os.getpid()
        return f"{own_session} {os.umask(0):o} {os.getcwd()} {os.readlink('/proc/self/fd/2')}".encode()

    assert detached(work, HANGS) == b"True 22 / /dev/null"


def test_an_answer_that_does_not_come() -> None:
    assert detached(lambda: time.sleep(3), 0.1) is None
    assert detached(lambda: b"here", HANGS) == b"here"


def test_a_lock_that_cannot_be_made(node: Node) -> None:
    (node.base / "run").write_text("")
    with pytest.raises(VacError, match="only root changes leases"), node.store.lock():
        pytest.fail("there is no lock")
