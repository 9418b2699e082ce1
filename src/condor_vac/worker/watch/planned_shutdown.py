# SPDX-License-Identifier: GPL-3.0-or-later
"""What VMs learn of the end that is planned for them: shutdowntime and shutdowntime_job (HSF-TN-2016-02).

That is the earliest of their own limit, the planned shutdown of their node, and the time by which another job needs
their slot.

vac_watch writes them into every VM's features and, when the time has come, presses the power buttons of those that
are still there. The wall clock counts here, since the time was planned by it.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable

from condor_vac.base.errors import VacError
from condor_vac.worker import privileges, sandbox
from condor_vac.worker.lease.store import Lease
from condor_vac.worker.vm import features

MESSAGE = "100 Shutdown of the machine as planned"
CAUSE = "shutdowntime"
_KEYS = ("jobfeatures", "shutdowntime_job"), ("machinefeatures", "shutdowntime")
_WORK_SECONDS = 20.0
_LIMIT = 64
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def announce(lease: Lease, when: int | None, execute: str, seconds: float = _WORK_SECONDS) -> None:
    """Write into the VM's features, as the job's user, when it is ended: at ``when``, or at its own limit.

    Writes nothing where nothing changed. ``seconds`` is what this may take. Raises VacError.
    """
    privileges.run_as(lease.uid, lease.gid, lambda: _tell(lease, when, execute), timeout=seconds)


def is_announced(lease: Lease, when: int | None, execute: str) -> bool:
    """Whether ``announce`` would write nothing. Raises VacError."""
    return not _changes(lease, when, execute, _differs)


def _tell(lease: Lease, when: int | None, execute: str) -> None:
    _changes(lease, when, execute, _set)


def _changes(lease: Lease, when: int | None, execute: str, each: Callable[[int, str, int | None], bool]) -> bool:
    """Whether ``each`` (directory, key, value) is true of a feature of the two."""
    found = []
    with sandbox.opened(lease.sandbox, execute, lease.uid) as fd:
        wanted = None
        # The job's directory first: it has the moment from which the limit counts.
        for directory, key in _KEYS:
            try:
                inner = os.open(directory, _OPEN_DIRECTORY, dir_fd=fd)
            except OSError as error:
                raise VacError(f"{directory}: cannot be opened: {error.strerror}") from error
            try:
                if directory == "jobfeatures":
                    wanted = end_of(lease, when, _started(inner, lease))
                found.append(each(inner, key, wanted))
            finally:
                os.close(inner)
    return any(found)


def end_of(lease: Lease, when: int | None, started: int) -> int | None:
    """The earliest of the VM's wall-clock limit, the planned shutdown and the time to leave; None if it has none."""
    limit = lease.max_wallclock_seconds
    planned = min((end for end in (when, lease.leaves) if end is not None), default=None)
    return features.end(started, limit, planned) if limit > 0 else planned


def _started(jobfeatures: int, lease: Lease) -> int:
    """The moment from which the VM's limit counts."""
    text = _current(jobfeatures, "jobstart_secs")
    return lease.created if text is None else int(text)


def _differs(directory: int, key: str, wanted: int | None) -> bool:
    return _current(directory, key) != (None if wanted is None else str(wanted))


def _set(directory: int, key: str, wanted: int | None) -> bool:
    if wanted is None:
        features.remove_key(directory, key)
    elif _differs(directory, key, wanted):
        features.set_key(directory, key, str(wanted))
    return True


def _current(directory: int, key: str) -> str | None:
    """A feature of digits as the VM sees it now, None if it has none."""
    with contextlib.suppress(OSError):
        fd = os.open(key, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        try:
            text = os.read(fd, _LIMIT).decode("ascii", "replace")
        finally:
            os.close(fd)
        return text if re.fullmatch(r"[0-9]{1,12}", text) else None
    return None
