# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a VM's outputs directory goes back with the job: plain files, bounded in number and size.

The guest owned the directory, and HTCondor transfers what is there as the job's user, following links. So
the directory is moved aside and a new one takes its place that holds only what is safe to send.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from condor_vac.base.errors import VacError

NAME = "joboutputs"
ASIDE = ".joboutputs.guest"
# The name that HTCondorVMs' submit files use, a link that condor_vac.worker.vm.preparation makes for their jobs.
HTCONDORVMS_NAME = "machineoutputs"
HTCONDORVMS_LOGS = ("vm-bootstrap.log", "vm-pilot.log")
MOST_FILES = 200
MOST_BYTES = 64 << 20
# More than any VM leaves; what a guest that floods the node is stopped at.
MOST_ENTRIES = 10_000
MOST_DEPTH = 32
# How many names are read: a guest may make a hundred thousand.
_MOST_LOOKED_AT = 5000
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def keep_safe_files(sandbox: int) -> list[str]:
    """Leave in the sandbox's joboutputs what may go back; returns the names. Done twice, the same.

    ``sandbox`` is its open directory. Raises VacError.
    """
    try:
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            if not _exists(sandbox, ASIDE):
                os.rename(NAME, ASIDE, src_dir_fd=sandbox, dst_dir_fd=sandbox)
        with contextlib.suppress(FileExistsError):
            os.mkdir(NAME, 0o755, dir_fd=sandbox)
        with _opened(sandbox, NAME) as target:
            saved = _saved(sandbox, target)
            if _exists(sandbox, HTCONDORVMS_NAME):
                _make_htcondorvms_logs(target)
        return saved
    except OSError as error:
        raise VacError(f"{NAME}: cannot save the VM's outputs: {error.strerror}") from error


def open_up(sandbox: int) -> None:
    """Give the job's user back what the guest took: the rights in its outputs directory."""
    for name in (NAME, ASIDE):
        _grant(sandbox, name, 0o755, os.O_DIRECTORY)


def _grant(directory: int, name: str, mode: int, flags: int = 0) -> None:
    """Set the mode of the very file of that name, never of what a link points to; none there is fine.

    What came by HTTP is nginx's, which has made it readable, and stays as it is.
    """
    try:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=directory)
    except OSError:
        return
    try:
        if os.fstat(fd).st_uid == os.geteuid():
            os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)


def _saved(sandbox: int, target: int) -> list[str]:
    """Move what is safe from the directory of the guest; none at all if the VM was never prepared."""
    if not _exists(sandbox, ASIDE):
        return []
    with _opened(sandbox, ASIDE) as source:
        return _move(source, target)


def _make_htcondorvms_logs(target: int) -> None:
    """HTCondor holds a job whose transfer_output_files are not all there, whatever the VM did."""
    for name in HTCONDORVMS_LOGS:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=target))


class Usage:
    """What a VM's outputs take: ``used`` bytes on disk in ``entries`` files and directories.

    ``too_deep``: directories nest deeper than MOST_DEPTH; what is below does not count.
    """

    def __init__(self) -> None:
        self.used = 0
        self.entries = 0
        self.too_deep = False


def usage(sandbox: int) -> Usage:
    """What the outputs in the open sandbox take, directories that a guest made included.

    Counting stops at MOST_ENTRIES and MOST_DEPTH, so that time, memory and open descriptors have bounds whatever a
    guest makes. No link is followed; what vanishes meanwhile, or cannot be looked at, does not count.
    """
    found = Usage()
    _count(sandbox, NAME, 0, found)
    return found


def _count(parent: int, name: str, depth: int, found: Usage) -> None:
    """Add what is in one directory, which is so many directories below the outputs."""
    with contextlib.suppress(OSError), _opened(parent, name) as fd, os.scandir(fd) as entries:
        for entry in entries:
            found.entries += 1
            if found.entries > MOST_ENTRIES:
                return
            with contextlib.suppress(OSError):
                status = os.stat(entry.name, dir_fd=fd, follow_symlinks=False)
                if not stat.S_ISDIR(status.st_mode):
                    found.used += status.st_blocks * 512
                elif depth == MOST_DEPTH:
                    found.too_deep = True
                else:
                    _count(fd, entry.name, depth + 1, found)


def _move(source: int, target: int) -> list[str]:
    saved: list[str] = []
    room = MOST_BYTES
    for name in _candidates(source):
        size = _plain_size(source, name)
        if size is None or size > room or len(saved) >= MOST_FILES:
            continue
        os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
        # HTCondor holds a job when it cannot read one of its files.
        _grant(target, name, 0o644)
        room -= size
        saved.append(name)
    return saved


def _candidates(source: int) -> list[str]:
    """Names worth sending, shutdown_message and logs first: a flood of other files must not push them out."""
    found = []
    with os.scandir(source) as entries:
        for _count, entry in zip(range(_MOST_LOOKED_AT), entries):
            found.append(entry.name)
    for wanted in ("shutdown_message", *HTCONDORVMS_LOGS):
        if wanted not in found:
            found.append(wanted)
    printable = [name for name in found if name.isascii() and name.isprintable() and len(name) <= 128]
    return sorted(printable, key=lambda name: (name != "shutdown_message", not name.endswith(".log"), name))


def _plain_size(directory: int, name: str) -> int | None:
    """The size of a regular file of one link, None for anything else."""
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 else None


def _exists(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


@contextlib.contextmanager
def _opened(directory: int, name: str) -> Iterator[int]:
    fd = os.open(name, _OPEN_DIRECTORY, dir_fd=directory)
    try:
        yield fd
    finally:
        os.close(fd)
