# SPDX-License-Identifier: GPL-3.0-or-later
"""NFS exports of one directory to one VM, by exportfs.

Every export squashes all ids to the job's user: whatever happens to the path, a VM never does more on the
host than that user could (man exports). ``subtree_check`` stays on, so that a VM which makes up file handles
does not leave its directory. Each export has an fsid of its own: without one the kernel cannot export a
file system that has no UUID, and two directories of one file system would depend on blkid's answer.
"""

from __future__ import annotations

import ipaddress
import re
import uuid
from dataclasses import dataclass

from condor_vac import tools
from condor_vac.errors import UsageError

TIMEOUT_SECONDS = 20.0
# Only what exportfs, its table and the kernel's export cache read alike, without any quoting.
_PATH = re.compile(r"(/[A-Za-z0-9_][A-Za-z0-9._+-]*)+")
_FSID_SPACE = uuid.UUID("6d0d6f7e-7e0e-5d5c-9d3f-7a1f5f0f3c11")


@dataclass(frozen=True)
class Export:
    """One directory exported to one client address."""

    directory: str
    address: str


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
        f"fsid={uuid.uuid5(_FSID_SPACE, export.directory)}",
    ]
    _exportfs(["-o", ",".join(options), _target(export)])


def remove(export: Export) -> None:
    """End the export; one that does not exist is fine. Raises VacError."""
    _check(export)
    if export in current():
        _exportfs(["-u", _target(export)])


def current() -> frozenset[Export]:
    """Every export to a single address that exportfs knows now, whoever made it."""
    found = set()
    for line in _exportfs(["-s"]).splitlines():
        directory, _gap, rest = line.rpartition("  ")
        client = rest.partition("(")[0]
        if directory.startswith("/") and _is_address(client):
            found.add(Export(directory, client))
    return frozenset(found)


def _exportfs(arguments: list[str]) -> str:
    return tools.run(["exportfs", *arguments], timeout=TIMEOUT_SECONDS)


def _target(export: Export) -> str:
    return f"{export.address}:{export.directory}"


def _check(export: Export) -> None:
    if not _PATH.fullmatch(export.directory) or len(export.directory) > 1024:
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
