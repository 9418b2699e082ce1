# SPDX-License-Identifier: GPL-3.0-or-later
"""What one VM's job ad shows to an accountant: for whom it ran, how long, on how much, and how fast that is.

One rule for ``condor_vac usage`` and for AUDITOR's collector (docs/accounting.md): a VM is the last start of its job,
from LastMatchTime to CompletionDate, or to the removal that ended it. HTCondor starts a job again whose VM was lost or
gave its slot to another job; what the starts before used is ``earlier_seconds``. CPU time is RemoteUserCpu: in the VM
universe that is the time of the whole QEMU process in the last start, as libvirt counts it (PublishUpdateAd in
vm_proc.cpp). CumulativeRemoteUserCpu has it again for each reconnection of a shadow (remoteresource.cpp).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from condor_vac.base.errors import VacError
from condor_vac.base.shared import MACHINETYPE_NAME, JobStatus, one_line

# VOMS' names: groups, the first of which is the VO, then role and capability.
FQAN = r"(?=.{1,200}$)(/[A-Za-z0-9][A-Za-z0-9._-]*)+(/Role=[A-Za-z0-9._-]+)?(/Capability=[A-Za-z0-9._-]+)?"
FQAN_REMEDY = "must be a VOMS name such as /atlas/Role=production: letters, digits and . _ -"
# A record's text goes through lists with commas and through regular expressions.
SITENAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
SITENAME_REMEDY = "must be the site's name in GOCDB: letters, digits and . _ -"
_VO = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"

# Attributes of the slots of a node whose processors were measured; a job's ad gets them as MachineAttr…0.
NODE_HEPSCORE23 = "VacHepscore"
NODE_HS06 = "VacHepspec"
# Name of a benchmark → where its figure of one processor is in a job's ad; the first that is there counts.
BENCHMARKS = {
    "HEPscore23": ("VacHepscore23", f"MachineAttr{NODE_HEPSCORE23}0"),
    "HS06": ("VacHs06", f"MachineAttr{NODE_HS06}0"),
}
PROJECTION = (
    "ClusterId", "ProcId", "QDate", "Owner", "JobStatus", "VacMachinetype", "VacVO", "RequestCpus", "LastMatchTime",
    "CompletionDate", "EnteredCurrentStatus", "LastJobStatus", "RemoteWallClockTime", "NumShadowStarts",
    "RemoteUserCpu", *(key for keys in BENCHMARKS.values() for key in keys),
)  # fmt: skip
_ON_HOST = {JobStatus.RUNNING, JobStatus.TRANSFERRING, JobStatus.SUSPENDED}
_YEARS = 10 * 366 * 86400
_TIME = 1 << 40
_ID = (1 << 31) - 1
_CLOCK_TOLERANCE = 120


class Use(NamedTuple):
    """What one VM used.

    ``job`` is its cluster, process and time of submission. ``ended`` is Unix s. ``vms`` is 0 where only
    ``earlier_seconds`` count: its job was removed when it did not run. Seconds are whole and of the wall clock,
    ``cpu_seconds`` those of all processors together. ``benchmark`` is the name and ``per_processor`` the figure of one
    processor; None and 0: not known.
    """

    job: tuple[int, int, int]
    machinetype: str
    vo: str | None
    benchmark: str | None
    per_processor: float
    ended: int
    vms: int
    processors: int
    wall_seconds: int
    cpu_seconds: int
    earlier_seconds: int


def vo(fqan: str) -> str:
    """The VO of an FQAN: atlas of /atlas/Role=production."""
    return fqan.split("/")[1]


def use(ad: Mapping[str, Any], now: float) -> Use | None:
    """What the VM of this ad from the history used; None if it never ran. ``now`` is Unix s.

    Raises VacError, with the attribute, for what HTCondor and our programs would not have written there.
    """
    status = _whole(ad, "JobStatus", 0, 100)
    entered = _whole(ad, "EnteredCurrentStatus", 1, _TIME)
    matched = _whole(ad, "LastMatchTime", 0, _TIME, 0)
    total = int(_number(ad, "RemoteWallClockTime", _YEARS, 0.0))
    if not matched or (status != JobStatus.COMPLETED and not total):
        return None
    # What a removed job was before: where it waited, its VM had ended.
    ran = status == JobStatus.COMPLETED or _whole(ad, "LastJobStatus", 0, 100, 0) in _ON_HOST
    ended = (_whole(ad, "CompletionDate", 0, _TIME, 0) or entered) if ran else entered
    if not matched <= ended <= now + _CLOCK_TOLERANCE or ended - matched > _YEARS:
        raise VacError(f"it ended at {ended}, which is before its match ({matched}) or to come")
    wall = ended - matched if ran else 0
    again = not ran or _whole(ad, "NumShadowStarts", 0, 1 << 31, 1) > 1
    benchmark, figure = _benchmark(ad)
    return Use(
        job=(_whole(ad, "ClusterId", 0, _ID), _whole(ad, "ProcId", 0, _ID), _whole(ad, "QDate", 0, _TIME)),
        machinetype=_text(ad, "VacMachinetype", MACHINETYPE_NAME) or "",
        vo=_text(ad, "VacVO", _VO),
        benchmark=benchmark,
        per_processor=figure,
        ended=ended,
        vms=int(ran),
        processors=_whole(ad, "RequestCpus", 1, 1024),
        wall_seconds=wall,
        cpu_seconds=int(_number(ad, "RemoteUserCpu", _YEARS * 1024.0, 0.0)) if ran else 0,
        earlier_seconds=max(0, total - wall) if again else 0,
    )


def _benchmark(ad: Mapping[str, Any]) -> tuple[str | None, float]:
    for name, keys in BENCHMARKS.items():
        for key in keys:
            figure = _number(ad, key, 1e6, 0.0)
            if figure:
                return name, figure
    return None, 0.0


def _text(ad: Mapping[str, Any], key: str, form: str) -> str | None:
    value = ad.get(key)
    if value is None or (isinstance(value, str) and re.fullmatch(form, value)):
        return value
    raise _wrong(key, value, "not of the form that it has")


def _whole(ad: Mapping[str, Any], key: str, least: int, most: int, missing: int | None = None) -> int:
    value = ad.get(key, missing)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _wrong(key, value, f"not a whole number from {least} to {most}")
    return value


def _number(ad: Mapping[str, Any], key: str, most: float, missing: float) -> float:
    value = ad.get(key, missing)
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not (math.isfinite(value) and 0 <= value <= most)
    ):
        raise _wrong(key, value, f"not a number from 0 to {most:g}")
    return float(value)


def _wrong(key: str, value: object, what: str) -> VacError:
    return VacError(f"{key} is missing" if value is None else f"{key} is {one_line(repr(value), 60)}, {what}")
