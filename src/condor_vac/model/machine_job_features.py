# SPDX-License-Identifier: GPL-3.0-or-later
"""What conformance to the machine/job features note means: keys, types, units, and how bad it is without one.

Keys and types are those of HSF-TN-2016-02; the severity of an absent key is that of WLCG's probe. A key that is
there but wrong is always an ERROR, since consumers take it for true.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

ERROR = "ERROR"
WARNING = "WARNING"
INFO = "INFO"

MACHINE = "machinefeatures"
JOB = "jobfeatures"

_INTEGER = re.compile(r"[0-9]{1,18}")
# As float() of the probe and strtod() of shells' tools read it: .87 and 3.3000000000000003 as well. No exponent, which
# test and expr cannot read.
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{0,32})?|\.[0-9]{1,32}")
_ID = re.compile(r"[\x21-\x7e]{1,255}")
# 2000 to 2100. A time in milliseconds, or a duration, is outside.
_MOMENTS = (946684800, 4102444800)
_LEAST_BYTES = 1 << 20


@dataclass(frozen=True)
class Key:
    """One key: ``type`` is count, seconds, moment (Unix s), bytes, rating or id; ``absent`` a severity."""

    name: str
    where: str
    type: str
    absent: str


KEYS = (
    Key("total_cpu", MACHINE, "count", ERROR),
    Key("hs06", MACHINE, "rating", WARNING),
    Key("shutdowntime", MACHINE, "moment", INFO),
    Key("grace_secs", MACHINE, "seconds", INFO),
    Key("allocated_cpu", JOB, "count", ERROR),
    Key("hs06_job", JOB, "rating", WARNING),
    Key("shutdowntime_job", JOB, "moment", INFO),
    Key("grace_secs_job", JOB, "seconds", INFO),
    Key("jobstart_secs", JOB, "moment", ERROR),
    Key("job_id", JOB, "id", ERROR),
    Key("wall_limit_secs", JOB, "limit", ERROR),
    Key("cpu_limit_secs", JOB, "limit", ERROR),
    Key("max_rss_bytes", JOB, "bytes", WARNING),
    Key("max_swap_bytes", JOB, "swap", WARNING),
    Key("scratch_limit_bytes", JOB, "bytes", WARNING),
)

# What each type asks for, in the words of an error.
_ASKED = {
    "count": "a whole number from 1",
    "seconds": "whole seconds",
    "limit": "whole seconds from 1",
    "moment": "Unix seconds between the years 2000 and 2100",
    "bytes": "0 or at least 1 MiB, in bytes",
    "swap": "whole bytes",
    "rating": "a decimal number above 0",
    "id": "printable ASCII without blanks",
}


@dataclass(frozen=True)
class Finding:
    """One finding about a key; ``value`` is what it holds, None where it is absent."""

    severity: str
    where: str
    key: str
    message: str
    value: str | None = None


def check(features: Mapping[str, Mapping[str, str]]) -> list[Finding]:
    """Findings about the key → contents of machinefeatures, jobfeatures or both, in the order of the note.

    A directory that is not in ``features`` is not checked.
    """
    findings: list[Finding] = []
    good: dict[str, float] = {}
    for key in KEYS:
        if key.where not in features:
            continue
        value = features[key.where].get(key.name)
        if value is None:
            findings.append(Finding(key.absent, key.where, key.name, "absent"))
        elif not _fits(key.type, value):
            message = f"{value[:80]!a} is not {_ASKED[key.type]}"
            findings.append(Finding(ERROR, key.where, key.name, message, value))
        elif key.type != "id":
            good[key.name] = float(value)
    return findings + _together(good, features)


def _fits(kind: str, value: str) -> bool:
    if kind == "id":
        return bool(_ID.fullmatch(value))
    if kind == "rating":
        return bool(_NUMBER.fullmatch(value)) and float(value) > 0
    if not _INTEGER.fullmatch(value):
        return False
    number = int(value)
    if kind == "moment":
        return _MOMENTS[0] <= number <= _MOMENTS[1]
    if kind == "bytes":
        return number == 0 or number >= _LEAST_BYTES
    return number >= (1 if kind in {"count", "limit"} else 0)


def _together(good: Mapping[str, float], features: Mapping[str, Mapping[str, str]]) -> list[Finding]:
    """What two right values can still get wrong between them."""
    rules = (
        ("allocated_cpu", "total_cpu", "more processors than the machine has"),
        ("hs06_job", "hs06", "more than the machine's rating"),
        ("jobstart_secs", "shutdowntime_job", "starts after its own shutdown time"),
    )
    findings = [
        Finding(ERROR, JOB, low, f"{message} ({high} is {good[high]:.15g})", f"{good[low]:.15g}")
        for low, high, message in rules
        if low in good and high in good and good[low] > good[high]
    ]
    if {"cpu_limit_secs", "wall_limit_secs", "allocated_cpu"} <= set(good):
        most = good["wall_limit_secs"] * good["allocated_cpu"]
        if good["cpu_limit_secs"] > most:
            message = f"more than {most:.15g}, which all its processors can use within wall_limit_secs"
            findings.append(Finding(WARNING, JOB, "cpu_limit_secs", message, f"{good['cpu_limit_secs']:.15g}"))
    for where, time_key, grace_key in (
        (MACHINE, "shutdowntime", "grace_secs"),
        (JOB, "shutdowntime_job", "grace_secs_job"),
    ):
        if time_key in features.get(where, {}) and grace_key not in features[where]:
            findings.append(Finding(WARNING, where, grace_key, f"absent, though {time_key} may change"))
    return findings
