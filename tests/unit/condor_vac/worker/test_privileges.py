# SPDX-License-Identifier: GPL-3.0-or-later
"""What root does in a user's files is done with that user's rights, and in a real sandbox only."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from condor_vac.base.errors import UsageError, VacError
from condor_vac.worker import privileges, sandbox
from tests.unit.condor_vac.worker.conftest import GID, ROOT, UID, Node

as_root = pytest.mark.skipif(not ROOT, reason="needs root: acts as another user")


@as_root
def test_rights_are_the_users_for_good() -> None:
    def who() -> list[object]:
        try:
            os.setuid(0)
        except PermissionError:
            return [os.getresuid(), os.getresgid(), os.getgroups()]
        return ["root again"]

    assert privileges.run_as(UID, GID, who, timeout=20) == [[UID] * 3, [GID] * 3, [GID]]


@as_root
def test_what_only_root_may_read_stays_unread() -> None:
    def read() -> str:
        try:
            return Path("/etc/shadow").read_text()
        except OSError as error:
            return type(error).__name__

    assert privileges.run_as(UID, GID, read, timeout=20) == "PermissionError"


def test_errors_come_back_as_what_they_were() -> None:
    for kind in (VacError, UsageError):

        def fail(kind: type[VacError] = kind) -> None:
            raise kind("the reason")

        with pytest.raises(kind, match="the reason") as caught:
            privileges.run_as(UID, GID, fail, timeout=20)
        assert type(caught.value) is kind


@pytest.mark.slow
@as_root
def test_work_that_takes_too_long_is_ended() -> None:
    reader, writer = os.pipe()

    def work() -> None:
        os.write(writer, str(os.getpid()).encode())
        time.sleep(600)

    with pytest.raises(VacError, match="not finished within 2 s"):
        privileges.run_as(UID, GID, work, timeout=2)
    child = int(os.read(reader, 20))
    for end in (reader, writer):
        os.close(end)
    try:
        os.waitpid(child, os.WNOHANG)
    except ChildProcessError:
        return  # ended and waited for
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the work goes on")


@as_root
def test_a_programming_error_is_not_an_answer(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(VacError, match="failed"):
        privileges.run_as(UID, GID, lambda: int("x"), timeout=20)
    assert "ValueError" in capfd.readouterr().err


@as_root
@pytest.mark.parametrize(("uid", "gid"), [(0, 5), (5, 0), (-1, 5)])
def test_never_as_root(uid: int, gid: int) -> None:
    if uid == os.geteuid():
        uid = -1
    with pytest.raises(VacError, match="no work is done as root"):
        privileges.run_as(uid, gid, lambda: 1, timeout=20)


def test_opened_is_the_directory_itself_whatever_happens_to_its_name(node: Node) -> None:
    path = node.sandbox(1)
    with sandbox.opened(path, str(node.execute), UID) as fd:
        Path(path).rename(f"{path}.moved")
        os.symlink("/etc", path)
        assert sandbox.make_directory(fd, "new") is True
    assert Path(f"{path}.moved", "new").is_dir()
    with pytest.raises(UsageError, match="no link"), sandbox.opened(path, str(node.execute), UID):
        pass


def test_no_descriptor_stays_open(node: Node) -> None:
    path = node.sandbox(1, below="scratch")
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with sandbox.opened(path, str(node.execute), UID):
            pass
        with pytest.raises(UsageError), sandbox.opened(f"{path}x", str(node.execute), UID):
            pass
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.parametrize("below", ["", "scratch"])
def test_job_directory_is_what_htcondor_removes(node: Node, below: str) -> None:
    path = node.sandbox(7, below=below)
    assert sandbox.job_directory(path, str(node.execute)) == f"{node.execute}/dir_7"


def test_same_directory_sees_a_swap(node: Node) -> None:
    path = node.sandbox(1)
    with sandbox.opened(path, str(node.execute), UID) as fd:
        sandbox.make_directory(fd, "joboutputs")
        assert sandbox.same_directory(fd, "joboutputs", f"{path}/joboutputs")
        other = node.sandbox(2)
        assert not sandbox.same_directory(fd, "joboutputs", other)
        Path(path, "joboutputs").rename(f"{path}/old")
        os.symlink(other, f"{path}/joboutputs")
        assert not sandbox.same_directory(fd, "joboutputs", f"{path}/joboutputs")
