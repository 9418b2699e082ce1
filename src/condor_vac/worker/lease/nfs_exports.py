# SPDX-License-Identifier: GPL-3.0-or-later
"""NFS exports of one directory to one VM, by exportfs.

Every export squashes all ids to the job's user: whatever happens to the path, a VM never does more on the
host than that user could (man exports). ``subtree_check`` stays on, so that a VM which makes up file handles
does not leave its directory. Each export has an fsid of its own: without one the kernel cannot export a
file system that has no UUID, and two directories of one file system would depend on blkid's answer. It is the
directory's device and inode, which no other directory has and which last as long as it does.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence

from condor_vac.base import tools
from condor_vac.base.errors import UsageError, VacError
from condor_vac.worker.lease.store import Export

TIMEOUT_SECONDS = 20.0
# Only what exportfs, its table and the kernel's export cache read alike, without any quoting.
_PATH = r"(/[A-Za-z0-9_][A-Za-z0-9._+-]*)+"


def add(export: Export, uid: int, gid: int, *, writable: bool) -> None:
    """Export the directory to the address, all ids as ``uid``/``gid``. Again is fine. Raises VacError."""
    _check(export)
    if uid < 1 or gid < 1:
        raise UsageError(f"{export.directory}: never exported as uid {uid}, gid {gid}; use a user's")
    options = [
        "rw" if writable else "ro",
        "sync",
        "all_squash",
        f"anonuid={uid}",
        f"anongid={gid}",
        "subtree_check",
        "sec=sys",
        f"fsid={_fsid(export.directory)}",
    ]
    _exportfs(["-o", ",".join(options), _target(export)])


def remove(*exports: Export) -> None:
    """End the exports, by one call of exportfs; one that does not exist is fine. Raises VacError."""
    for export in exports:
        _check(export)
    try:
        _end(exports)
    except VacError:
        # It ends all that there are, and fails if one was not there.
        known = current()
        _end([export for export in exports if export in known])


def current() -> frozenset[Export]:
    """Every export to a single address that exportfs lists now, also those that other programs made."""
    found = set()
    for line in _exportfs(["-s"]).splitlines():
        directory, _gap, rest = line.rpartition("  ")
        client = rest.partition("(")[0]
        if directory.startswith("/") and _is_address(client):
            found.add(Export(directory, client))
    return frozenset(found)


def _end(exports: Sequence[Export]) -> None:
    if exports:
        _exportfs(["-u", *map(_target, exports)])


def _fsid(directory: str) -> str:
    """In a UUID's form, the one of 128 bits that exportfs knows."""
    try:
        status = os.lstat(directory)
    except OSError as error:
        raise VacError(f"{directory}: cannot be exported: {error.strerror}") from error
    device, inode = f"{status.st_dev:016x}", f"{status.st_ino:016x}"
    return f"{device[:8]}-{device[8:12]}-{device[12:]}-{inode[:4]}-{inode[4:]}"


def _exportfs(arguments: list[str]) -> str:
    return tools.run(["exportfs", *arguments], timeout=TIMEOUT_SECONDS)


def _target(export: Export) -> str:
    return f"{export.address}:{export.directory}"


def _check(export: Export) -> None:
    if not re.fullmatch(_PATH, export.directory) or len(export.directory) > 1024:
        raise UsageError(
            f"{export.directory!r}: not a path that can be exported; use letters, digits and . _ + - in names"
        )
    if not _is_address(export.address):
        raise UsageError(f"{export.address!r}: not an IPv4 address; export to one VM only")


def _is_address(text: str) -> bool:
    try:
        return str(ipaddress.IPv4Address(text)) == text
    except ValueError:
        return False
