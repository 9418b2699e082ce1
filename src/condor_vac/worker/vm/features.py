# SPDX-License-Identifier: GPL-3.0-or-later
"""Machine and job features: what a VM may know of its machine and its limits (HSF-TN-2016-02).

A VM is both the machine and the one job on it. Beside the note's keys there are those that older VMs read
(before 2016) and those of HTCondorVMs; a machinetype adds keys of its own, which win. One key is one file, without a
line end. An unknown value gives no key: never an empty file, never the word None.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from condor_vac.base import atomic
from condor_vac.base.errors import VacError

MEGABYTE = 1_000_000
GIGABYTE = 1_000_000_000

_KEY = r"[A-Za-z0-9_]{1,64}"


class Vm(NamedTuple):
    """What the features of one VM are made of: sizes in bytes, durations in s, moments in Unix s.

    ``hs06`` is that of the whole VM, and ``scratch_bytes`` is 0 if it has no disk that is known to be for work alone.
    ``wall_limit_secs`` counts from ``started``. ``shutdowntime`` is that of a planned drain, None without;
    ``grace_secs`` is the least notice of one.
    """

    uuid: str
    machinetype: str
    processors: int
    memory_bytes: int
    scratch_bytes: int
    started: int
    wall_limit_secs: int
    grace_secs: int
    space: str | None = None
    hs06: float | None = None
    shutdowntime: int | None = None


def machine_features(vm: Vm, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Key to contents of the directory machinefeatures; ``extra`` are the site's own keys.

    shutdowntime is always there, as with Vac and Vcycle: PanDA's pilot reads this key and never shutdowntime_job.
    """
    processors = str(vm.processors)
    values: dict[str, str | None] = {
        "total_cpu": processors,
        "hs06": _decimal(vm.hs06),
        "shutdowntime": _integer(end(vm.started, vm.wall_limit_secs, vm.shutdowntime)),
        "grace_secs": _integer(vm.grace_secs),
        # Before 2016. A VM has one job slot: itself.
        "phys_cores": processors,
        "log_cores": processors,
        "jobslots": "1",
        # HTCondorVMs'.
        "vac_space": vm.space,
        "vac_uuid": vm.uuid,
        "vac_vmtype": vm.machinetype,
    }
    return _known(values, extra)


def job_features(vm: Vm, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Key to contents of the directory jobfeatures; ``extra`` are the site's own keys.

    shutdowntime_job is the same as shutdowntime, because a VM and its job end together. cpu_limit_secs is what all
    processors can use until then. max_swap_bytes is 0: a VM has the swap space that it makes on its own disks, and none
    from the site.
    """
    wall = vm.wall_limit_secs
    scratch = vm.scratch_bytes or None
    values: dict[str, str | None] = {
        "allocated_cpu": str(vm.processors),
        "hs06_job": _decimal(vm.hs06),
        "shutdowntime_job": _integer(end(vm.started, wall, vm.shutdowntime)),
        "grace_secs_job": _integer(vm.grace_secs),
        "jobstart_secs": _integer(vm.started),
        "job_id": vm.uuid,
        "wall_limit_secs": _integer(wall),
        "cpu_limit_secs": _integer(wall * vm.processors),
        "max_rss_bytes": _integer(vm.memory_bytes),
        "max_swap_bytes": "0",
        "scratch_limit_bytes": _integer(scratch),
        # Before 2016: not scaled by a CPU factor, and decimal units.
        "cpufactor_lrms": "1.0",
        "cpu_limit_secs_lrms": _integer(wall * vm.processors),
        "wall_limit_secs_lrms": _integer(wall),
        "mem_limit_MB": _integer(vm.memory_bytes // MEGABYTE),
        "disk_limit_GB": _integer(None if scratch is None else scratch // GIGABYTE),
        "allocated_CPU": str(vm.processors),
    }
    return _known(values, extra)


def end(started: int, wall_limit_secs: int, planned: int | None) -> int:
    """The Unix time at which a VM is ended: at its wall-clock limit, or at a planned shutdown if that is earlier."""
    limit = started + wall_limit_secs
    return limit if planned is None else min(limit, planned)


def write(directory: str | int, mapping: Mapping[str, str]) -> None:
    """Write each key as a file of the directory (a path, no link; or an open one), each atomically.

    Files of other keys stay. Raises VacError naming the key.
    """
    with _opened(directory) as dir_fd:
        for key, value in mapping.items():
            _write_key(dir_fd, key, value)


def set_key(directory: str | int, key: str, value: str) -> None:
    """Write one dynamic key (shutdowntime). Raises VacError naming it."""
    write(directory, {key: value})


def remove_key(directory: str | int, key: str) -> None:
    """Take one dynamic key away, for example when a drain is cancelled; a missing key is not an error."""
    _check_key(key)
    with _opened(directory) as dir_fd:
        try:
            os.unlink(key, dir_fd=dir_fd)
        except FileNotFoundError:
            return
        except OSError as error:
            raise VacError(f"{key}: cannot remove: {error.strerror}; check its directory") from error


@contextmanager
def _opened(directory: str | int) -> Iterator[int]:
    if isinstance(directory, int):
        yield directory
        return
    try:
        dir_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise VacError(f"{directory}: cannot open: {error.strerror}; it must be a directory, no link") from error
    try:
        yield dir_fd
    finally:
        os.close(dir_fd)


def _write_key(dir_fd: int, key: str, value: str) -> None:
    _check_key(key)
    if not value or not value.isprintable():
        raise VacError(f"{key}: {value[:80]!a} is not one line of printable text; correct the value")
    # A power cut ends the VM too, so its features need not survive one.
    atomic.write_at(dir_fd, key, value.encode(), sync=False)


def _check_key(key: str) -> None:
    if not re.fullmatch(_KEY, key):
        raise VacError(f"{key[:80]!a}: not a feature's name; use letters, digits and _")


def _known(values: Mapping[str, str | None], extra: Mapping[str, str] | None) -> dict[str, str]:
    known = {key: value for key, value in values.items() if value is not None}
    return {**known, **(extra or {})}


def _integer(value: int | None) -> str | None:
    return None if value is None else str(value)


def _decimal(value: float | None) -> str | None:
    """Decimal digits without an exponent, which shell scripts cannot read."""
    if value is None:
        return None
    from decimal import Decimal  # noqa: PLC0415 - 0.2 ms of 27, for nodes with a benchmark's figure

    return format(Decimal(repr(value)), "f")
