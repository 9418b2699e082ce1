# SPDX-License-Identifier: GPL-3.0-or-later
"""The VMs' directories on the access point: ``vms/BATCH/PROC`` of a factory's own, one directory for each submission.

A VM's job has its log in it (``vm.log``), and what came back from the VM; how long it stays is the factory's business.
"""

from __future__ import annotations

import contextlib
import glob
import math
import os
from collections.abc import Collection

from condor_vac.base.errors import VacError
from condor_vac.model.machinetype import PROXY_NAME

_NAME = "vms"


def of_batch(directory: str, batch: str) -> str:
    """The directory of one submission; ``directory`` is the factory's."""
    return os.path.join(directory, _NAME, batch)


def of(directory: str, batch: str, job: str) -> str:
    """The directory of the VM whose job is CLUSTER.PROC."""
    return os.path.join(of_batch(directory, batch), job.partition(".")[2])


def make(directory: str, count: int) -> None:
    """The directories of so many VMs in that of their submission. Raises VacError."""
    try:
        for number in range(count):
            os.makedirs(os.path.join(directory, str(number)), mode=0o755)
    except OSError as error:
        raise VacError(f"{directory}: cannot make the VMs' directories: {error.strerror}; check space") from error


def outdated_proxies(directory: str, before: float) -> list[str]:
    """The VMs' directories with a proxy that was made before that time, which ended with it."""
    pattern = os.path.join(glob.escape(directory), _NAME, "*", "*", PROXY_NAME)
    return [os.path.dirname(path) for path in glob.glob(pattern) if _changed(path) < before]


def old_directories(directory: str, in_queue: Collection[str], before: float) -> list[str]:
    """The VMs' directories (one per batch) that belong to no job in the queue, and to none since ``before``."""
    pattern = os.path.join(glob.escape(directory), _NAME, "*")
    gone = [path for path in glob.glob(pattern) if os.path.basename(path) not in in_queue]
    return [path for path in gone if _changed(path) < before]


def still_in_use(directory: str, in_queue: Collection[str], now: float) -> None:
    """Give the directories of jobs in the queue the present time: they stay for a while once these have left."""
    for batch in in_queue:
        with contextlib.suppress(OSError):
            os.utime(of_batch(directory, batch), (now, now), follow_symlinks=False)


def _changed(path: str) -> float:
    """When it was last changed; of what is gone meanwhile, or cannot be read, never."""
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return math.inf
