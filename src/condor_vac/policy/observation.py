# SPDX-License-Identifier: GPL-3.0-or-later
"""What a factory sees and what it decides: the plain data between the pool and the policy.

The factory fills an `Observation` from the queue and the history, the simulator from its virtual pool;
`condor_vac.policy.control_law.Policy.decide` turns it into a `Decision`. All times are seconds on one clock (Unix
time in production, virtual time in the simulator), so that nothing here needs to ask what time it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from condor_vac.base.errors import UsageError

IDLE, RUNNING, HELD, REMOVED = "idle", "running", "held", "removed"

# How a VM can end. The first nine are condor_vac.model.outcome's kinds; the last three are ends without any outcome.
SUCCESS, HOST_REQUEST, NO_WORK, BANNED, SITE = "success", "host_request", "no_work", "banned", "site"
EXPERIMENT, AGENT, FIZZLE, NONE = "experiment", "agent", "fizzle", "none"
LOST = "lost"  # the host or the job vanished, or the slot was taken back; nothing is known of the VM's end
REFUSED = "refused"  # the host took the job and released it before its VM could start
WITHDRAWN = "withdrawn"  # removed from the queue by the factory or a person
KINDS = (SUCCESS, HOST_REQUEST, NO_WORK, BANNED, SITE, EXPERIMENT, AGENT, FIZZLE, NONE, LOST, REFUSED, WITHDRAWN)

_EMPTY: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True)
class Limits:
    """What the administrator allows: those keys of a machinetype that the policy uses, with their defaults.

    Counts are of VMs, times are in seconds, None is no limit of its own. Raises `UsageError` naming the key that
    cannot be right.
    """

    # made by python -m tests.machinetype_keys: begin
    max_machines: int = 1000
    max_idle: int = 50
    max_starting: int | None = None
    max_starts_per_minute: int | None = None
    probe_machines: int = 2
    first_machines: int | None = None
    fizzle_seconds: float = 600.0
    backoff_seconds: float = 1800.0
    max_wallclock_seconds: float = 86400.0
    # end

    def __post_init__(self) -> None:
        for key, value in vars(self).items():
            seconds = key.endswith("_seconds")
            good = value is None or (value > 0 if seconds else value >= 0)
            if not good:
                raise UsageError(f"limits: {key} is {value}; give {'more than 0 seconds' if seconds else '0 or more'}")


@dataclass(frozen=True)
class Machine:
    """One VM that is in the queue now.

    ``started`` is when it was matched (JobCurrentStartDate), None while idle. ``works`` is whether evidence
    of work (CPU use or heartbeat, see the machinetype's evidence_seconds) has been seen, now or at any time.
    ``measured`` is whether such evidence can be seen at all: something has published a figure for this VM.
    """

    id: str
    state: str
    submitted: float
    started: float | None = None
    host: str | None = None
    works: bool = False
    measured: bool = False


@dataclass(frozen=True)
class Ended:
    """One VM that has ended, from the queue's completed jobs or the history.

    ``kind`` is one of `KINDS`, ``abort`` is Vac's notion (code 300 and above, or a fizzle). ``started`` is
    None if it was never matched. ``works`` says whether evidence of work had been seen before the end.
    """

    id: str
    submitted: float
    ended: float
    kind: str
    abort: bool
    host: str | None = None
    started: float | None = None
    works: bool = False
    measured: bool = False

    @property
    def life(self) -> float:
        """Seconds from match to end; 0 for a VM that was never matched."""
        return 0.0 if self.started is None else max(0.0, self.ended - self.started)


@dataclass(frozen=True)
class Observation:
    """Everything the policy may know at one moment.

    ``machines`` are all VMs of the machinetype that are in the queue and have not completed. ``ended`` holds
    at least the outcomes since the observation before; an outcome may be repeated any number of times (it
    counts once, by id), so a factory that restarts hands over what the queue and the history still hold:
    the last ``condor_vac.policy.control_law.MEMORY_SECONDS`` are enough.
    """

    now: float
    machines: tuple[Machine, ...] = ()
    ended: tuple[Ended, ...] = ()


@dataclass(frozen=True)
class Decision:
    """What to do now: submit so many VMs, remove those idle ones, and avoid some hosts.

    ``remove`` holds ids of idle VMs only; the caller must make the removal conditional on the job still
    being idle. ``avoid_hosts`` is the complete list for now, not a change to it: it replaces the one before,
    for new VMs and for those still idle. ``reasons`` are sentences for the log and for
    ``condor_vac explain``; ``numbers`` the figures they rest on.
    """

    submit: int = 0
    remove: tuple[str, ...] = ()
    avoid_hosts: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=lambda: _EMPTY)
