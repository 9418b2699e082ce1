# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's sandbox as root must see it: reached without following a link, and the caller's own.

HTCondor 23.9 gives a job ``EXECUTE/dir_N``, 25.x ``EXECUTE/dir_N/scratch`` (starter's _CONDOR_SCRATCH_DIR).
Everything is done through descriptors of directories that were checked, so that a name which is swapped
meanwhile leads nowhere.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator

from condor_vac.base.errors import UsageError, VacError

DIRECTORIES = ("machinefeatures", "jobfeatures", "joboutputs")
# What a VM reads at 169.254.169.254, where it is shared by HTTP.
METADATA = "metadata"
_LAYOUT = r"dir_[0-9]{1,20}(/scratch)?"
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_NOT_A_DIRECTORY = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def check_layout(path: str, execute: str) -> str:
    """The part of ``path`` below ``execute``, if it is one that HTCondor makes. Raises UsageError."""
    below = path[len(execute) + 1 :]
    if not path.startswith(execute + "/") or not re.fullmatch(_LAYOUT, below):
        raise UsageError(f"{path[:200]!r}: not a job's sandbox; it must be {execute}/dir_N or its scratch")
    return below


def job_directory(path: str, execute: str) -> str:
    """``EXECUTE/dir_N``, which HTCondor removes when the job leaves, whichever layout ``path`` has."""
    return f"{execute}/{check_layout(path, execute).partition('/')[0]}"


def is_gone(path: str) -> bool:
    """Whether HTCondor has removed the sandbox, and the job with it: that there is no such name, and nothing else.

    Raises VacError where the file system does not say (EIO, no permission): then nobody knows.
    """
    try:
        os.lstat(path)
    except FileNotFoundError:
        return True
    except OSError as error:
        raise VacError(f"{path}: cannot be looked at: {error.strerror}; check the disk of EXECUTE") from error
    return False


@contextlib.contextmanager
def opened(path: str, execute: str, uid: int) -> Iterator[int]:
    """A descriptor of the sandbox, checked to be a real directory that ``uid`` owns.

    Raises UsageError, and VacError where the file system does not say.
    """
    below = check_layout(path, execute)
    with contextlib.ExitStack() as stack:
        try:
            fd = _keep(stack, os.open(execute, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            trusted = {uid, 0, os.fstat(fd).st_uid}
            for name in below.split("/"):
                fd = _keep(stack, os.open(name, _OPEN_DIRECTORY, dir_fd=fd))
                if os.fstat(fd).st_uid not in trusted:
                    raise UsageError(f"{path}: {name} belongs to another user; use your own sandbox")
        except OSError as error:
            if error.errno not in _NOT_A_DIRECTORY:
                raise VacError(f"{path}: cannot be opened: {error.strerror}; check the disk of EXECUTE") from error
            raise UsageError(f"{path}: {error.strerror}; a sandbox is a real directory, no link") from error
        if os.fstat(fd).st_uid != uid:
            raise UsageError(f"{path}: does not belong to uid {uid}; use your own sandbox")
        yield fd


def make_directory(fd: int, name: str) -> bool:
    """Make ``name`` in the open sandbox as the process's own user: True, or False if it was there.

    What is there must be a real directory of the same owner. Root does this as the user (privileges.run_as).
    Raises VacError.
    """
    try:
        os.mkdir(name, 0o755, dir_fd=fd)
        made = True
    except FileExistsError:
        made = False
    except OSError as error:
        raise VacError(f"{name}: cannot make the directory: {error.strerror}; check space and quota") from error
    try:
        inner = os.open(name, _OPEN_DIRECTORY, dir_fd=fd)
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}; remove what is there from the job's files") from error
    try:
        if os.fstat(inner).st_uid != os.geteuid():
            raise UsageError(f"{name}: belongs to another user; remove it from the job's files")
        # Readable by NFS's squashed user, whatever the umask.
        os.fchmod(inner, 0o755)
    finally:
        os.close(inner)
    return made


def remove_directory(fd: int, name: str) -> None:
    """Undo ``make_directory``; a directory that is not empty any more stays."""
    with contextlib.suppress(OSError):
        os.rmdir(name, dir_fd=fd)


def same_directory(fd: int, name: str, path: str) -> bool:
    """Whether ``path`` still leads to the directory ``name`` of the open sandbox."""
    try:
        inside = os.stat(name, dir_fd=fd, follow_symlinks=False)
        by_path = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISDIR(inside.st_mode) and (inside.st_dev, inside.st_ino) == (by_path.st_dev, by_path.st_ino)


def _keep(stack: contextlib.ExitStack, fd: int) -> int:
    stack.callback(os.close, fd)
    return fd
