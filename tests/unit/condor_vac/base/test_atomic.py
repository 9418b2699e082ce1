# SPDX-License-Identifier: GPL-3.0-or-later
"""Files are written whole or not at all, and read only when they are what they should be."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from condor_vac.base import atomic
from condor_vac.base.errors import VacError


@pytest.mark.parametrize(("mode", "mask"), [(0o644, 0o077), (0o600, 0o000), (0o640, 0o022)])
def test_written_with_the_mode_whatever_the_umask(mode: int, mask: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    old = os.umask(mask)
    try:
        atomic.write(str(path), b"data\x00", mode)
    finally:
        os.umask(old)
    assert path.read_bytes() == b"data\x00"
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_is_replaced_and_what_it_names_stays(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "file").symlink_to("victim")
    atomic.write(str(tmp_path / "file"), b"new")
    assert (tmp_path / "victim").read_text() == "precious"
    assert not (tmp_path / "file").is_symlink()


def test_a_reader_keeps_the_old_contents(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        atomic.write(str(path), b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"


def test_a_failure_names_the_file_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("old")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(VacError, match=f"{tmp_path}: file: cannot write: No space left on device"):
        atomic.write(str(tmp_path / "file"), b"new")
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]
    dir_fd = os.open(tmp_path, os.O_RDONLY)
    try:
        atomic.write_at(dir_fd, "unsynced", b"x", sync=False)
    finally:
        os.close(dir_fd)
    assert (tmp_path / "unsynced").read_text() == "x"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a\0b"])
def test_only_one_name_in_the_directory_is_written(name: str, tmp_path: Path) -> None:
    dir_fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(VacError, match="not a file name"):
            atomic.write_at(dir_fd, name, b"x")
    finally:
        os.close(dir_fd)
    assert os.listdir(tmp_path) == []


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(VacError, match="no/file: cannot open its directory: No such file"):
        atomic.write(str(tmp_path / "no" / "file"), b"x")


def test_reads_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert atomic.read(str(path), 5) == b"12345"
    with pytest.raises(VacError, match="file: larger than 4 bytes"):
        atomic.read(str(path), 4)


def test_reads_only_regular_files_and_never_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(VacError, match="fifo: not a regular file"):
        atomic.read(str(tmp_path / "fifo"), 10)
    with pytest.raises(VacError, match="/dev/zero: not a regular file"):
        atomic.read("/dev/zero", 10)
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(VacError, match=f"{path}: cannot read"):
            atomic.read(str(path), 10)


def hold(path: str, ready: Path) -> None:
    """Hold a lock until killed."""
    with atomic.locked(path, "no remedy"):
        ready.touch()
        signal.pause()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[BaseProcess]:
    """Another process that holds the lock ``lock``."""
    process = multiprocessing.get_context("fork").Process(
        target=hold, args=(str(tmp_path / "lock"), tmp_path / "ready")
    )
    process.start()
    while not (tmp_path / "ready").exists():
        assert process.is_alive()
        time.sleep(0.01)
    yield process
    process.kill()
    process.join()


def test_a_lock_is_one_processs_until_that_ends(tmp_path: Path, holder: BaseProcess) -> None:
    path = str(tmp_path / "lock")
    with (
        pytest.raises(atomic.LockedError, match="lock: another process holds it"),
        atomic.locked(path, "x", patience=0.0),
    ):
        pytest.fail("two processes have the lock")
    holder.kill()
    with atomic.locked(path, "x") as fd:
        assert os.fstat(fd).st_ino == os.stat(path).st_ino
    with atomic.locked(path, "x", patience=0.0):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_a_lock_is_let_go_when_its_work_fails_and_the_error_stays_what_it_was(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with pytest.raises(BlockingIOError), atomic.locked(path, "x"):
        raise BlockingIOError("of the work, not of the lock")
    with atomic.locked(path, "x", patience=0.0):
        pass


def test_a_lock_below_a_directory_follows_no_link_and_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("elsewhere")
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        refused = pytest.raises(VacError, match=r"^link: cannot be opened for its lock: .*; look at it$")
        with refused, atomic.locked("link", "look at it", dir_fd=fd):
            pytest.fail("the link was followed")
        with atomic.locked("own", "look at it", dir_fd=fd):
            pass
    finally:
        os.close(fd)
    assert sorted(os.listdir(tmp_path)) == ["link", "own"]
