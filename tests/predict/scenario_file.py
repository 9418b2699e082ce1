# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenario file for the simulator, with the times that were measured in a pool."""

from __future__ import annotations

from typing import Any

from . import course
from .times import Times


def content(times: Times, emptied: float) -> dict[str, Any]:
    """What a scenario file has, for the simulator."""
    return {
        "name": "a real pool",
        "seed": 1,
        "duration": course.DURATION_SECONDS,
        "hosts": {
            "kinds": [{"count": 1, "slots": slots} for slots in course.SLOTS],
            "first_start_seconds": [times.first_start_seconds] * 2,
        },
        "negotiation_interval": times.negotiation_interval,
        "start_seconds": list(times.start_seconds),
        "machinetypes": [
            {
                "name": course.MACHINETYPE,
                "queue": [{"at": 0, "tasks": 1, "seconds": [each, each]} for each in course.TASKS],
                "idle_seconds": list(times.end_seconds),
                "no_work_message": "300 No more work in the queue",
                **({"evidence_seconds": list(times.evidence_seconds)} if times.evidence_seconds else {}),
            }
        ],
        "faults": [
            *(_hole(after, begin, end) for after, begin, end in times.hole_windows(course.DURATION_SECONDS)),
            {"kind": "queue_emptied", "at": emptied},
        ],
    }


def _hole(after: float, begin: float, end: float) -> dict[str, Any]:
    message = "700 The task queue does not answer"
    return {"kind": "black_hole", "host": course.HOLE, "from": begin, "until": end, "message": message, "after": after}
