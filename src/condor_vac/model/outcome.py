# SPDX-License-Identifier: GPL-3.0-or-later
"""How a VM ended: its shutdown message, its runtime, and what they mean (HSF-TN-2016-04, section 4.1).

The guest owns the file, so nothing about it is believed (``read_message``):

======================================================  =====================================================
what is at joboutputs/shutdown_message                  read as
======================================================  =====================================================
nothing, or nothing readable to the reader              no message
symbolic link (wherever it points), directory, FIFO,    no message: never followed, never waited for
socket, device
a file with a second (hard) link                        no message: it may be a file of somebody else
an outputs directory that is itself a link              no message
regular file of any size, 1 GiB or 0 bytes              its first 4096 bytes; of these the first line
NUL and other bytes that are not printable text         each shown as U+FFFD; the code still counts
======================================================  =====================================================
"""

from __future__ import annotations

import errno
import os
import re
from typing import NamedTuple

from condor_vac.base import plain_file
from condor_vac.base.errors import VacError
from condor_vac.base.shared import one_line

MESSAGE_NAME = "shutdown_message"
READ_LIMIT = 4096
TEXT_LIMIT = 256
DEFAULT_FIZZLE_SECONDS = 600
FIRST_ABORT_CODE = 300

# Three digits that no further digit or letter follows: Vac takes "300: no work" and "300" for 300 as well.
_CODE = rb"[ \t]*([1-9][0-9]{2})(?![0-9A-Za-z_])"

# By the hundred: intermediate codes follow theirs. The platform defines none from 800 on: as 700, they
# are aborts that name neither the site nor the experiment.
_KINDS = {1: "host_request", 2: "success", 3: "no_work", 4: "banned", 5: "site", 6: "experiment"}

# What a hostile or absent file gives at open(2); anything else (EIO, ESTALE) is a fault of the node.
_NO_MESSAGE_ERRNOS = frozenset({errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EACCES, errno.EPERM})


class Outcome(NamedTuple):
    """How one VM ended.

    ``code``: 100 to 999, None when the VM left no message with a code. ``text``: the rest of the message, one
    printable line of at most 256 characters. ``abort``: the factory backs off (Vac: codes from 300, and
    fizzles). ``kind``: success, host_request, no_work, banned, site, experiment, agent, fizzle or none.
    """

    code: int | None
    text: str
    abort: bool
    kind: str


def parse(message: bytes | None, runtime: float, fizzle_seconds: float) -> Outcome:
    """The outcome of a VM that lived ``runtime`` seconds and left ``message`` (None: no readable one).

    Only a code counts, so a message without one is as none: a life shorter than ``fizzle_seconds`` is then a
    fizzle. A runtime that is not a number (a clock that stepped) counts as short.
    """
    first = re.split(rb"[\r\n]", (message or b"")[:READ_LIMIT], maxsplit=1)[0]
    found = re.match(_CODE, first)
    if found is None:
        fizzled = not runtime >= fizzle_seconds
        return Outcome(None, _line(first), fizzled, "fizzle" if fizzled else "none")
    code = int(found[1])
    text = _line(first[found.end() :])
    return Outcome(code, text, code >= FIRST_ABORT_CODE, _KINDS.get(code // 100, "agent"))


def _line(raw: bytes) -> str:
    return one_line(raw.decode("utf-8", "replace"), TEXT_LIMIT)


def read_message(directory: str | int, name: str = MESSAGE_NAME) -> bytes | None:
    """At most 4096 bytes of the message that a guest left in ``directory`` (a path or an open directory).

    None when there is no message or it is not a plain file with one link; see the table above. Raises
    VacError when the node itself cannot read (an I/O error), so that a fault is not taken for silence.
    """
    try:
        if isinstance(directory, int):
            return _read_plain_file(directory, name)
        dir_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return _read_plain_file(dir_fd, name)
        finally:
            os.close(dir_fd)
    except OSError as error:
        if error.errno in _NO_MESSAGE_ERRNOS:
            return None
        where = name if isinstance(directory, int) else os.path.join(directory, name)
        raise VacError(f"{where}: cannot read: {error.strerror}; check the node's disk") from error


def _read_plain_file(dir_fd: int, name: str) -> bytes | None:
    with plain_file.opened(name, dir_fd) as found:
        return None if found is None else os.read(found[0], READ_LIMIT)
