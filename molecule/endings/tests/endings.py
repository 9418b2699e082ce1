# SPDX-License-Identifier: GPL-3.0-or-later
"""The endings: the settings of the guest and its machinetype, and what can be seen afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from condor_vac.policy.judgement import DRY, ERROR, UNKNOWN

# The guest waits for a task that never comes.
WAITS = {"idle_seconds": "86400"}
# It leaves a message itself when its power button is pressed.
ANSWERS = {**WAITS, "power_off": "yes"}
NO_HEARTBEAT: Mapping[str, Any] = {"heartbeat_file": None, "heartbeat_seconds": 0}
OVER_SOON = {**NO_HEARTBEAT, "fizzle_seconds": 20, "max_wallclock_seconds": 60}
AS_PLANNED = "Shutdown of the machine as planned"
BY_GUEST = "Shutdown requested by the host"


@dataclass(frozen=True)
class Ending:
    """One VM: the agent's options and the machinetype's changes, and how its job's ad and the factory see its end.

    ``ready`` is a line (grep -E) of the agent's log after which the VM is as the ending wants it; empty: it ends alone.
    ``verdict`` None: it depends on whether HTCondor has measured the VM's CPU use meanwhile.
    """

    options: Mapping[str, str]
    cause: str
    code: int | None
    message: str
    kind: str
    abort: bool
    verdict: str | None
    ready: str = ""
    machinetype: Mapping[str, Any] = field(default_factory=dict)


STOPPED_FOR_A_LIMIT = {
    "heartbeat never written": Ending(
        {"mode": "no_heartbeat", **WAITS},
        "heartbeat", 700, "Heartbeat file not created", "agent", True, ERROR,
        ready="mode no_heartbeat", machinetype={"fizzle_seconds": 20},
    ),
    "heartbeat no longer written": Ending(
        {"heartbeat_interval": "86400", **WAITS},
        "heartbeat", 700, "Heartbeat file not updated", "agent", True, ERROR,
        ready="mode ok", machinetype={"fizzle_seconds": 20, "heartbeat_seconds": 15},
    ),
    "wall clock, answering the power button": Ending(
        ANSWERS, "wallclock", 100, BY_GUEST, "host_request", False, UNKNOWN, ready="mode ok", machinetype=OVER_SOON
    ),
    "wall clock, deaf to the power button": Ending(
        {"mode": "hang"},
        "wallclock", 700, "Exceeded max_wallclock_seconds", "agent", True, ERROR,
        ready="Z mode hang$", machinetype=OVER_SOON,
    ),
}  # fmt: skip
STOPPED_AS_PLANNED = {
    "planned shutdown": Ending(
        WAITS, "shutdowntime", 100, AS_PLANNED, "host_request", False, UNKNOWN, ready="mode ok"
    ),
    "planned shutdown, answering": Ending(
        ANSWERS, "shutdowntime", 100, BY_GUEST, "host_request", False, UNKNOWN, ready="mode ok"
    ),
}  # fmt: skip
TAKEN_AWAY = Ending(WAITS, "removed", None, "", "none", False, None, ready="mode ok")
DESTROYED = {"destroyed by an administrator": TAKEN_AWAY}
BY_THEMSELVES = {
    "no message": Ending({"mode": "silent", "idle_seconds": "1"}, "fizzle", None, "", "fizzle", True, DRY),
    # Too old for a fizzle.
    "kernel panic": Ending(
        {"mode": "crash"}, "crashed", None, "", "none", False, None, machinetype={**NO_HEARTBEAT, "fizzle_seconds": 1}
    ),
    "agent's error": Ending(
        {"mode": "error600"}, "message", 600, "The agent fails, as it was told to", "experiment", True, ERROR
    ),
    "no work": Ending({"idle_seconds": "1"}, "message", 300, "No more work in the queue", "no_work", True, DRY),
}
ENDINGS = {**STOPPED_FOR_A_LIMIT, **STOPPED_AS_PLANNED, **DESTROYED, **BY_THEMSELVES}
