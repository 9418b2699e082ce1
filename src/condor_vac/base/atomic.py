# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way condor_vac writes a file that somebody else may read, whole or not at all, and the one way it locks."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator

from condor_vac.base.errors import VacError

# How long a limited wait for a lock sleeps before it tries again.
_POLL_SECONDS = 0.02


class LockedError(VacError):
    """Another process holds the lock."""


def make_directory(path: str, mode: int = 0o755) -> None:
    """Have the directory and those above it there, with this mode whatever the umask. Raises OSError."""
    if os.path.isdir(path):
        return
    if parent := os.path.dirname(path):
        make_directory(parent, mode)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
        os.chmod(path, mode)


@contextlib.contextmanager
def locked(path: str, remedy: str, *, dir_fd: int | None = None, patience: float | None = None) -> Iterator[int]:
    """Hold the lock of the file ``path`` (below ``dir_fd`` if that is given), which is made if need be.

    Yields the open file. The kernel drops the lock with its process. A symbolic link is not followed. Raises VacError
    with the ``remedy`` if the file cannot be opened, LockedError if another process still holds the lock after
    ``patience`` s; None waits for ever.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o600, dir_fd=dir_fd)
    except OSError as error:
        raise VacError(f"{path}: cannot be opened for its lock: {error.strerror}; {remedy}") from error
    try:
        _take(fd, path, patience)
        yield fd
    finally:
        os.close(fd)


def _take(fd: int, path: str, patience: float | None) -> None:
    if patience is None:
        fcntl.flock(fd, fcntl.LOCK_EX)
        return
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise LockedError(f"{path}: another process holds it") from error
            time.sleep(_POLL_SECONDS)
        else:
            return


def write(path: str, data: bytes, mode: int = 0o644, owner: tuple[int, int] | None = None) -> None:
    """Replace ``path`` by ``data``: a reader sees the old file or the new one, never a part.

    ``owner`` is (uid, gid). A symbolic link at ``path`` is replaced, not followed; a link in the directory
    part is the caller's choice (use ``write_at`` where someone else can write). Raises VacError.
    """
    directory, name = os.path.split(os.path.abspath(path))
    try:
        dir_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise VacError(f"{path}: cannot open its directory: {error.strerror}; create {directory} first") from error
    try:
        write_at(dir_fd, name, data, mode, owner)
    except VacError as error:
        raise VacError(f"{directory}: {error}") from error
    finally:
        os.close(dir_fd)


def write_at(
    dir_fd: int,
    name: str,
    data: bytes,
    mode: int = 0o644,
    owner: tuple[int, int] | None = None,
    *,
    sync: bool = True,
) -> None:
    """``write`` for the file ``name`` of an open directory, so that the directory cannot be swapped meanwhile.

    The temporary file is ``.NAME.<random>`` beside it; with ``sync`` it is on disk before it takes the
    name, so that a power cut leaves the old or the new contents. Raises VacError naming the file.
    """
    if not name or "/" in name or "\0" in name or name in {".", ".."}:
        raise VacError(f"{name!r}: not a file name; give one name without a slash")
    temporary = f".{name[:60]}.{os.urandom(6).hex()}"
    try:
        _create(dir_fd, temporary, data, mode, owner, sync)
        os.replace(temporary, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except OSError as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=dir_fd)
        raise VacError(f"{name}: cannot write: {error.strerror}; check space, quota and permissions") from error


def _create(dir_fd: int, name: str, data: bytes, mode: int, owner: tuple[int, int] | None, sync: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, 0o600, dir_fd=dir_fd)
    with os.fdopen(fd, "wb") as stream:
        stream.write(data)
        stream.flush()
        if owner is not None:
            os.fchown(fd, *owner)
        # After the owner, and by fchmod: neither fchown nor the process's umask may change it.
        os.fchmod(fd, mode)
        if sync:
            os.fsync(fd)


def read(path: str, limit: int) -> bytes:
    """The contents of a regular file of at most ``limit`` bytes; a FIFO or device is refused, not waited for.

    Links are followed: this is for files of the site. Raises VacError naming the file and what is wrong.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise VacError(f"{path}: not a regular file; give a file")
            data = stream.read(limit + 1)
    except OSError as error:
        raise VacError(f"{path}: cannot read: {error.strerror}; check the path and its permissions") from error
    if len(data) > limit:
        raise VacError(f"{path}: larger than {limit} bytes; is it the right file?")
    return data
