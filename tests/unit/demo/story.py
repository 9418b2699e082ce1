# SPDX-License-Identifier: GPL-3.0-or-later
"""A demo as it should go, made up: samples and HTCondor's records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.demo.sample import Experiment, Sample

BEGAN = 1_795_000_000.0
NONE = Experiment(left=0, at_work=0, done=0)
# (seconds, experiment, what is different from then on)
NEWS: tuple[tuple[float, str, dict[str, Any]], ...] = (
    (60, "alpha", {"left": 4, "reasons": ("No VM has reported yet: starting up to 2.",)}),
    (60, "beta", {"left": 2}),
    (62, "alpha", {"idle": 2, "decided": 1.0, "submitted": 2}),
    (64, "beta", {"idle": 1, "decided": 1.5, "submitted": 1, "reasons": ("No VM has reported yet.",)}),
    (68, "alpha", {"idle": 0, "running": 2, "decided": 2.0, "submitted": 0}),
    (70, "beta", {"idle": 0, "running": 1, "decided": 2.5, "submitted": 0}),
    (84, "alpha", {"left": 2, "at_work": 2}),
    (88, "beta", {"left": 1, "at_work": 1}),
    (118, "alpha", {"works": 2, "idle": 3, "decided": 3.0, "submitted": 3, "done": 12, "reasons": (
        "2 VMs found work (2 working now): growing up to the caps.", "Submitting 3.")}),
    (120, "beta", {"works": 1, "idle": 2, "decided": 3.5, "submitted": 2, "done": 5}),
    (126, "alpha", {"idle": 0, "running": 5, "decided": 4.0, "submitted": 0}),
    (132, "beta", {"idle": 0, "running": 3, "decided": 4.5, "submitted": 0}),
    (160, "alpha", {"left": 0, "at_work": 4, "done": 26}),
    (162, "beta", {"left": 0, "at_work": 2, "done": 13}),
    (166, "alpha", {"running": 4, "ended": (("300", 1),), "reasons": (
        "The last VM found no work (2 still working): starting 1 scout every 15 min.", "Submitting none.")}),
    (168, "beta", {"running": 2, "ended": (("300", 1),)}),
    (176, "alpha", {"at_work": 0, "works": 0, "done": 33}),
    (176, "beta", {"at_work": 0, "works": 0, "done": 16}),
    (196, "alpha", {"running": 2, "ended": (("200", 2), ("300", 1)), "decided": 5.0, "reasons": (
        "No VM finds work: probing every 15 min (at most 2 VMs in 30 min).", "Submitting none.")}),
    (206, "beta", {"running": 0, "ended": (("200", 2), ("300", 1)), "decided": 5.5}),
    (214, "alpha", {"running": 0, "ended": (("200", 4), ("300", 1)), "decided": 6.0}),
    *((220 + 5 * turn, name, {"decided": 10.0 + turn}) for turn in range(3) for name in ("alpha", "beta")),
)  # fmt: skip
WORK_FOR = {"alpha": 4, "beta": 2}


def samples(step: float = 2.0, end: float = 234.0) -> list[Sample]:
    """What the demo would have seen, every ``step`` seconds until ``end``."""
    now = {"alpha": NONE, "beta": NONE}
    news, found, seconds = list(NEWS), [], 60.0
    while seconds <= end:
        while news and news[0][0] <= seconds:
            _, name, changes = news.pop(0)
            now = {**now, name: replace(now[name], **changes)}
        found.append(Sample(seconds, now))
        seconds += step
    return found


def record(number: int, name: str, code: int, times: tuple[float, float, float, float, float]) -> dict[str, Any]:
    """The ad of a VM; times are submission, start, power on and off, end, in seconds since the demo began."""
    submitted, started, on, off, over = (int(BEGAN + time) for time in times)
    kind, message = {200: ("success", "Success"), 300: ("no_work", "No more work in the queue")}[code]
    return {
        "ClusterId": number, "ProcId": 0, "JobStatus": 4, "VacMachinetype": name, "QDate": submitted,
        "JobStartDate": started, "VacStarted": on, "VacEnded": off, "CompletionDate": over, "ShutdownCode": code,
        "ShutdownMessage": message, "VacKind": kind, "VacRuntime": off - on,
        "LastRemoteHost": f"slot1_{number}@node{number % 2 + 1}.lab",
    }  # fmt: skip


RECORDS = (
    record(3, "alpha", 200, (62, 66, 68, 178, 196)),
    record(4, "beta", 200, (64, 70, 72, 179, 200)),
    record(5, "alpha", 200, (62, 68, 70, 178, 196)),
    record(6, "alpha", 200, (118, 122, 124, 181, 206)),
    record(7, "alpha", 200, (118, 124, 126, 182, 214)),
    record(8, "alpha", 300, (118, 126, 128, 154, 166)),
    record(9, "beta", 200, (120, 128, 130, 180, 206)),
    record(10, "beta", 300, (120, 132, 134, 158, 168)),
)
