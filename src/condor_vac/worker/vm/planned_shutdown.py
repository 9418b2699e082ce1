# SPDX-License-Identifier: GPL-3.0-or-later
"""The planned shutdown of a worker node, which its VMs learn from their machine and job features.

``condor_vac shutdowntime set TIME`` writes one Unix time to /run/condor_vac, which a reboot empties: then the
shutdown is over. vac_watch tells every VM (shutdowntime and shutdowntime_job, HSF-TN-2016-02) and, when the
time has come, presses the power buttons of those that are still there. The wall clock counts here, since the
time was planned by it.
"""

from __future__ import annotations

import contextlib
import os
import re

from condor_vac import RUN_DIRECTORY
from condor_vac.base import atomic
from condor_vac.base.errors import VacError
from condor_vac.worker import privileges, sandbox
from condor_vac.worker.lease.store import Lease
from condor_vac.worker.vm import features

NAME = "shutdowntime"
MESSAGE = "100 Shutdown of the machine as planned"
CAUSE = "shutdowntime"
_KEYS = ("machinefeatures", "shutdowntime"), ("jobfeatures", "shutdowntime_job")
_WORK_SECONDS = 20.0
_LIMIT = 64
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def planned(run_directory: str | None = None) -> int | None:
    """The planned shutdown in Unix s, None while none is planned. Raises VacError for a file that holds none."""
    path = f"{run_directory or RUN_DIRECTORY}/{NAME}"
    if not os.path.exists(path):
        return None
    text = atomic.read(path, _LIMIT).decode("ascii", "replace").strip()
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise VacError(f"{path}: holds no Unix time; run condor_vac shutdowntime set or cancel")
    return int(text)


def plan(when: int) -> None:
    """Plan a shutdown at a time (Unix s). Raises VacError."""
    try:
        os.makedirs(RUN_DIRECTORY, mode=0o755, exist_ok=True)
    except OSError as error:
        raise VacError(f"{RUN_DIRECTORY}: {error.strerror}; plan a shutdown as root") from error
    atomic.write(f"{RUN_DIRECTORY}/{NAME}", f"{when}\n".encode())


def cancel() -> None:
    """Call the planned shutdown off, if there is one. Raises VacError."""
    path = f"{RUN_DIRECTORY}/{NAME}"
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise VacError(f"{path}: {error.strerror}; call a shutdown off as root") from error


def tell(lease: Lease, when: int | None, execute: str) -> None:
    """Have the VM's features say ``when``, as the job's user; without one, as if none had been planned.

    Writes nothing where nothing changed. Raises VacError.
    """
    privileges.run_as(lease.uid, lease.gid, lambda: _tell(lease, when, execute), timeout=_WORK_SECONDS)


def end_of_job(lease: Lease, when: int | None, started: int) -> int | None:
    """shutdowntime_job: the VM's wall-clock limit or the planned shutdown, whichever is earlier."""
    limit = lease.max_wallclock_seconds
    ends = [started + limit] if limit > 0 else []
    return min([*ends, *([] if when is None else [when])], default=None)


def _tell(lease: Lease, when: int | None, execute: str) -> None:
    with sandbox.opened(lease.sandbox, execute, lease.uid) as fd:
        for directory, key in _KEYS:
            inner = os.open(directory, _OPEN_DIRECTORY, dir_fd=fd)
            try:
                wanted = when if directory == "machinefeatures" else end_of_job(lease, when, _started(inner, lease))
                _set(inner, key, wanted)
            finally:
                os.close(inner)


def _started(jobfeatures: int, lease: Lease) -> int:
    """The moment that the VM was told its limit counts from."""
    text = _current(jobfeatures, "jobstart_secs")
    return lease.created if text is None else int(text)


def _set(directory: int, key: str, wanted: int | None) -> None:
    if wanted is None:
        features.remove_key(directory, key)
    elif _current(directory, key) != str(wanted):
        features.set_key(directory, key, str(wanted))


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
