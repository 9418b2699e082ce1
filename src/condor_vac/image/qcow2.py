# SPDX-License-Identifier: GPL-3.0-or-later
"""Which other files a disk image has QEMU read, by its header (QEMU's docs/interop/qcow2.txt).

A qcow2 image may name a backing file, and a file that holds its data; QEMU opens either on the host, whatever it is.
The header is read here and not by qemu-img, which opens what the image names before it says so, as root and also over
the network. Of the formats that a VM's disk may have, raw and qcow2, only qcow2 names files. The
domain always names the format, so that QEMU never guesses it.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from condor_vac.base.errors import UsageError, VacError

# The header, what extends it and the backing file's name: what is further on than this is not looked for by any tool.
HEAD_BYTES = 1 << 16
_MAGIC = b"QFI\xfb"
# Where the extensions begin in version 2; version 3 says it itself.
_HEADER_2 = 72
_HEADER_3 = 104
_NAME_LIMIT = 1023
_DATA_FILE_BIT = 1 << 2
_END = 0
_BACKING_FORMAT = 0xE2792ACA
_DATA_FILE_NAME = 0x44415441
_DAMAGED = "its qcow2 header is damaged, or as no tool makes it; use another image"
_CONVERT = "which QEMU would read on the node; make one image of both (qemu-img convert)"


class Header(NamedTuple):
    """What an image names: its backing file and that one's format, and whether its data are in another file."""

    backing: str | None
    backing_format: str | None
    data_file: bool


def read(path: str) -> Header:
    """The header of the qcow2 image ``path``.

    Raises UsageError for a file that is none or has a damaged header, VacError for one that cannot be read.
    """
    found = parse(_head(path), path)
    if found is None:
        raise UsageError(f"{path}: not a qcow2 image; correct its format")
    return found


def check_file(path: str) -> None:
    """Whether the image ``path``, of whichever format, has QEMU read no other file. Raises UsageError, VacError."""
    check_alone(parse(_head(path), path), path)


def _head(path: str) -> bytes:
    try:
        # Where another user can put a FIFO in the place of the file that was looked at, opening must not wait.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise UsageError(f"{path}: not a regular file; give an image")
            return os.pread(fd, HEAD_BYTES, 0)
        finally:
            os.close(fd)
    except OSError as error:
        raise VacError(f"{path}: cannot be read: {error.strerror}") from error


def parse(head: bytes, source: str) -> Header | None:
    """The header in the first HEAD_BYTES of an image; None for one of another format.

    Raises UsageError naming ``source`` for a header that is damaged, or so long that it cannot be all here.
    """
    if head[:4] != _MAGIC:
        return None
    version = _number(head, 4, 4)
    offset, size = _number(head, 8, 8), _number(head, 16, 4)
    start = _HEADER_2 if version == 2 else _number(head, 100, 4)
    if version not in {2, 3} or len(head) < start or (version == 3 and start < _HEADER_3):
        raise UsageError(f"{source}: {_DAMAGED}")
    if offset and (size > _NAME_LIMIT or offset + size > len(head) or b"\0" in head[offset : offset + size]):
        raise UsageError(f"{source}: {_DAMAGED}")
    backing = head[offset : offset + size] if offset else None
    extensions = _extensions(head, start, offset or len(head), source)
    backing_format = extensions.get(_BACKING_FORMAT)
    data_file = _DATA_FILE_NAME in extensions or (version == 3 and bool(_number(head, 72, 8) & _DATA_FILE_BIT))
    return Header(
        None if backing is None else backing.decode("utf-8", "replace"),
        None if backing_format is None else backing_format.decode("utf-8", "replace"),
        data_file,
    )


def check_alone(header: Header | None, source: str) -> None:
    """Whether an image has QEMU read no other file; None stands for another format. Raises UsageError."""
    if header is None:
        return
    check_data(header, source)
    if header.backing is not None:
        raise UsageError(f"{source}: has a backing file, {header.backing[:120]!a}, {_CONVERT}")


def check_data(header: Header, source: str) -> None:
    """Whether an image holds its data itself. Raises UsageError."""
    if header.data_file:
        raise UsageError(f"{source}: has its data in another file, {_CONVERT}")


def _extensions(head: bytes, start: int, end: int, source: str) -> dict[int, bytes]:
    """The header's extensions by their type, each padded to eight bytes, up to the one that marks their end."""
    found: dict[int, bytes] = {}
    while start + 8 <= min(end, len(head)):
        kind, size = _number(head, start, 4), _number(head, start + 4, 4)
        if kind == _END:
            return found
        if start + 8 + size > len(head):
            raise UsageError(f"{source}: {_DAMAGED}")
        found[kind] = head[start + 8 : start + 8 + size]
        start += 8 + (size + 7) // 8 * 8
    return found


def _number(data: bytes, offset: int, size: int) -> int:
    return int.from_bytes(data[offset : offset + size], "big")
