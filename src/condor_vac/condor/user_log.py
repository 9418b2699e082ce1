# SPDX-License-Identifier: GPL-3.0-or-later
"""The log that HTCondor keeps of a job for its user, event by event.

An event begins with a line ``NNN (CLUSTER.PROC.SUBPROC) DATE TIME TEXT``, goes on in indented lines, and ends with
``...`` (condor_utils/condor_event.cpp, ULogEvent::formatHeader). The date is ISO's or, where a site set
DEFAULT_USERLOG_FORMAT_OPTIONS so, MONTH/DAY of a year that is not named. Times are local.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import NamedTuple

# ULogEventNumber of condor_event.h: those that a VM's job can have, without reports of sizes.
STEPS: Mapping[int, str] = {
    0: "submitted",
    1: "executing",
    2: "error",
    4: "evicted",
    5: "terminated",
    7: "shadow error",
    9: "removed",
    10: "suspended",
    11: "resumed",
    12: "held",
    13: "released",
    21: "error",
    22: "disconnected",
    23: "reconnected",
    24: "not reconnected",
    40: "transfer",
}
_MOST_EVENTS = 500
_HEADER = re.compile(
    r"(?P<number>[0-9]{3}) \(0*(?P<cluster>[0-9]+)\.0*(?P<proc>[0-9]+)\.[0-9]+\) "
    r"(?P<date>[0-9/-]{5,10})[ T](?P<time>[0-9:]{8})[.0-9]{0,7}Z? ?(?P<text>.*)"
)


class Event(NamedTuple):
    """One event: Unix s, its number (see STEPS), and its first two lines."""

    time: float
    number: int
    text: str


def events(text: str, job: str, now: float) -> list[Event]:
    """The events of this job (CLUSTER.PROC) that STEPS names, in the log's order; other lines are left out.

    ``now`` (Unix s) gives dates without a year theirs: the last time that they were.
    """
    found: list[Event] = []
    lines = text.split("\n")
    for number, line in enumerate(lines):
        header = _HEADER.match(line)
        if header is None or f"{header['cluster']}.{header['proc']}" != job or int(header["number"]) not in STEPS:
            continue
        when = _moment(header["date"], header["time"], now)
        if when is not None and len(found) < _MOST_EVENTS:
            more = lines[number + 1].strip() if number + 1 < len(lines) and lines[number + 1][:1] in {"\t", " "} else ""
            found.append(Event(when, int(header["number"]), f"{header['text']} {more}".strip()))
    return found


def _moment(date: str, clock: str, now: float) -> float | None:
    if "/" not in date:
        return local_time(f"{date} {clock}")
    year = time.localtime(now).tm_year
    same = local_time(f"{year}-{date.replace('/', '-')} {clock}")
    return same if same is None or same <= now + 86400 else local_time(f"{year - 1}-{date.replace('/', '-')} {clock}")


def local_time(text: str) -> float | None:
    """Unix s of a local time; None for what is not one."""
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M:%S"))
    except (ValueError, OverflowError):
        return None
