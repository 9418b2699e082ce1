# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM's serial console: written by libvirt's virtlogd in a directory of root's, given to the job at the end.

virtlogd opens the file as root, so its name must never be in a directory that a user can change: a link there
would let the guest write into any file of the node. virtlogd also bounds the size (virtlogd.conf: max_size).
"""

from __future__ import annotations

import contextlib
import os

from condor_vac.base import atomic
from condor_vac.base.errors import VacError
from condor_vac.worker import privileges, sandbox
from condor_vac.worker.lease.store import CONSOLE_DIRECTORY, CONSOLE_NAME, Lease, check_uuid

# What comes back with the job: the end of the console shows why a VM failed.
KEPT_BYTES = 1 << 20
_TIMEOUT_SECONDS = 10.0
_PREFIX = "vac-"
_SUFFIX = ".console"


def path(uuid: str, directory: str = CONSOLE_DIRECTORY) -> str:
    """Where the console of the lease with this UUID is written."""
    return f"{directory}/{_PREFIX}{check_uuid(uuid)}{_SUFFIX}"


def hand_over(lease: Lease, execute: str) -> None:
    """Put the console's end into the sandbox as ``console.log``, as the job's user. Raises VacError."""
    data = _tail(lease.console)

    def write() -> None:
        with sandbox.opened(lease.sandbox, execute, lease.uid) as fd:
            atomic.write_at(fd, CONSOLE_NAME, data, mode=0o644)

    privileges.run_as(lease.uid, lease.gid, write, timeout=_TIMEOUT_SECONDS)


def remove(lease: Lease) -> None:
    """Remove the console and what virtlogd rotated away from it."""
    directory, name = os.path.split(lease.console)
    for found in _names(directory):
        if found == name or found.startswith(name + "."):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{directory}/{found}")


def orphans(known: set[str], directory: str = CONSOLE_DIRECTORY) -> list[str]:
    """Paths of vacuum VMs' console files that belong to none of the leases with the UUIDs ``known``."""
    ours = [name for name in _names(directory) if name.startswith(_PREFIX) and _SUFFIX in name]
    return [f"{directory}/{name}" for name in ours if name[len(_PREFIX) :].partition(_SUFFIX)[0] not in known]


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []


def _tail(console: str) -> bytes:
    """The last KEPT_BYTES of the console, across one rotation."""
    data = b""
    for name in (console, f"{console}.0"):
        if len(data) < KEPT_BYTES:
            data = _read_end(name, KEPT_BYTES - len(data)) + data
    return data


def _read_end(name: str, limit: int) -> bytes:
    try:
        with os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            stream.seek(max(os.fstat(stream.fileno()).st_size - limit, 0))
            return stream.read(limit)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise VacError(f"{name}: cannot read the console: {error.strerror}") from error
