# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that somebody else may have put there: only a plain one is read, and nothing is waited for."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

# O_NONBLOCK: opening a FIFO must not wait for a writer. Not O_NOATIME: only the owner may ask for it.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@contextlib.contextmanager
def opened(name: str, dir_fd: int | None = None) -> Iterator[tuple[int, int] | None]:
    """The descriptor and the size of a regular file with one link, which may be below an open directory.

    None for anything else; no link is followed. Raises OSError for what cannot be opened.
    """
    fd = os.open(name, _FLAGS, dir_fd=dir_fd)
    try:
        status = os.fstat(fd)
        yield (fd, status.st_size) if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 else None
    finally:
        os.close(fd)


def tail(name: str, limit: int, dir_fd: int | None = None) -> bytes | None:
    """The last ``limit`` bytes of such a file; None for anything else, and for what cannot be opened.

    Raises OSError where the disk does not give them.
    """
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(opened(name, dir_fd))
        except OSError:
            return None
        if found is None:
            return None
        fd, size = found
        with os.fdopen(fd, "rb", closefd=False) as stream:
            stream.seek(max(size - limit, 0))
            return stream.read(limit)
