# SPDX-License-Identifier: GPL-3.0-or-later
"""One VM job's ad → Job: each attribute only as far as it can be right.

The worker node that runs a job may write any attribute of its ad (the starter's updates, condor_chirp), and so may the
job's user. So no attribute of one job stops anything: what HTCondor and our programs would not write there counts as
not known, and `Job.faults` names it.

Attributes of a run are believed only if they are younger than that run's start: HTCondor keeps them when a
job is requeued, so a VM would otherwise inherit the outcome or the CPU use of the one before it.

Worker nodes have clocks of their own. A time of theirs counts as no later than the schedd's EnteredCurrentStatus of
that end, or than now, and as no earlier than the run's start.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from condor_vac.base.errors import VacError
from condor_vac.base.shared import JobStatus, one_line
from condor_vac.model import outcome, outcome_record
from condor_vac.model.machinetype import Machinetype
from condor_vac.policy import observation as o

# The worker's clock and the schedd's may differ by this much before a fresh attribute looks like an old one.
CLOCK_TOLERANCE = 120.0
# JobStatus of a job whose ad has none that HTCondor documents for VM jobs: it is there, and nothing is done with it.
UNKNOWN = 0
# A node's own name, as it goes into lists that HTCondor splits at commas and blanks, and into submit descriptions.
HOST_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}"

STATES = {
    JobStatus.IDLE: o.IDLE,
    JobStatus.RUNNING: o.RUNNING,
    JobStatus.REMOVED: o.REMOVED,
    JobStatus.HELD: o.HELD,
    JobStatus.TRANSFERRING: o.RUNNING,
    JobStatus.SUSPENDED: o.RUNNING,
}
# Those in which a job has a host.
ON_HOST = frozenset(state for state, seen in STATES.items() if seen == o.RUNNING)

# A submission's name, which is a directory's as well.
BATCH = r"[A-Za-z0-9][A-Za-z0-9-]{0,63}"
_BATCH = re.compile(BATCH)
_DIGEST = re.compile(r"[A-Za-z0-9]{1,64}")
_CAUSE = re.compile(r"[a-z_]{1,32}")
_WHERE = re.compile(rf"([!-~]*@)?{HOST_NAME}")
# How a VM can have ended by its own node's report; the other kinds are ends without one.
_REPORTED = re.compile("|".join(kind for kind in o.KINDS if kind not in {o.LOST, o.REFUSED, o.WITHDRAWN}))
_FIRST_CODE, _LAST_CODE = 100, 999
# The use of each of a VM's processors, about 1 at most.
_MOST_FRACTION = 100.0
_MOST_STARTS = 1 << 31
_SHOWN = 60
_DATES = ("Date", "Started", "Ended")
_MOST_SECONDS = 1e12


@dataclass(frozen=True)
class Job:
    """One VM job as the queue shows it, checked. Times are Unix seconds; None: not published, not known, or of an
    older run.

    ``state`` is HTCondor's JobStatus, or UNKNOWN. ``fraction`` is CPU use per processor over the last interval (about
    0 to 1). ``heartbeat`` is when the node last saw the heartbeat file updated, None where that was too long ago or is
    no evidence. ``executed`` is whether the present (or last) run came as far as its VM's start. ``vacate_code`` is why
    HTCondor took that run from its host (VacateReasonCode), of an idle job. ``faults`` maps attributes that cannot be
    right to what is wrong with them.
    """

    id: str
    state: int
    submitted: float
    entered: float
    started: float | None
    host: str | None
    starts: int
    executed: bool
    fraction: float | None
    heartbeat: float | None
    vm_started: float | None
    ended: Ending | None
    batch: str | None
    digest: str | None
    hold_code: int | None
    hold_subcode: int | None
    vacate_code: int | None
    disconnected: float | None
    faults: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ending:
    """The outcome that a run left in its job's ad; ``code`` None: the VM left no message. ``cause``: ending.py's.

    ``message``: the message's text without its code, one printable line, or None.
    """

    code: int | None
    kind: str
    abort: bool
    time: float
    runtime: float | None
    cause: str | None = None
    message: str | None = None


def read(given: Mapping[str, Any], name: str, m: Machinetype, now: float) -> Job:
    """The job of this ad; ``name`` is CLUSTER.PROC, ``now`` the schedd's time at its answer (Unix s)."""
    faults: dict[str, str] = {}
    of = _Reader(_with_end(given, m, faults), faults)
    state = _state(of)
    entered = of.required_time("EnteredCurrentStatus", now, now)
    started = of.time("JobCurrentStartDate", now)
    if state in ON_HOST and started is None:
        # The schedd sets this a moment before its time (seen on 23.9.6).
        started = entered
    starts = of.whole("NumShadowStarts") or 0
    held = state == JobStatus.HELD
    return Job(
        id=name,
        state=state,
        submitted=of.required_time("QDate", now, entered if started is None else started),
        entered=entered,
        started=started,
        host=_host(of),
        starts=starts,
        executed=(of.number("JobCurrentStartExecutingDate") or 0.0) >= (started or 0.0) > 0.0,
        fraction=_fraction(of, started, starts, now),
        heartbeat=_heartbeat(of, started, m, now) if m.heartbeat_is_evidence else None,
        vm_started=of.published("VacStarted", started, now),
        ended=_ending(of, started, entered, m) if held or state == JobStatus.COMPLETED else None,
        batch=of.text("VacBatch", _BATCH),
        digest=of.text("VacDigest", _DIGEST),
        hold_code=of.whole("HoldReasonCode") if held else None,
        hold_subcode=of.whole("HoldReasonSubCode") if held else None,
        vacate_code=_vacate_code(of, started) if state == JobStatus.IDLE else None,
        disconnected=of.time("JobDisconnectedDate", now) if state == JobStatus.RUNNING else None,
        faults=faults,
    )


def with_message(ad: Mapping[str, Any], fizzle_seconds: float) -> Mapping[str, Any]:
    """The ad of a completed job, with the end that its VM's message reports where the ad has none of this run.

    On a node that is very slow the starter may end before it has read the hook's request; the outputs, with the message
    among them, go to the job's directory all the same. Raises VacError where they cannot be read.
    """
    started, entered = number(ad.get("JobCurrentStartDate")), number(ad.get("EnteredCurrentStatus"))
    directory = ad.get("Iwd")
    has_end = _fresh(number(ad.get("VacEnded")), started) or ("ShutdownCode" in ad and "VacEnded" not in ad)
    if ad.get("JobStatus") != JobStatus.COMPLETED or has_end or started is None or entered is None:
        return ad
    # HTCondor's Iwd is absolute.
    if not isinstance(directory, str) or not directory.startswith("/") or "\0" in directory:
        return ad
    message = outcome.read_message(os.path.join(directory, "joboutputs"))
    result = outcome.parse(message, entered - started, fizzle_seconds)
    if result.code is None:
        return ad
    reported = {"ShutdownCode": result.code, "ShutdownMessage": result.text, "VacKind": result.kind}
    ends = {"VacAbort": result.abort, "VacCause": "message", "VacEnded": entered, "VacRuntime": int(entered - started)}
    return {**ad, **reported, **ends}


def moment(value: object, latest: float) -> float | None:
    """A published time for people: Unix s, no later than ``latest``; None for what is not a time."""
    found = number(value)
    return min(found, latest) if found else None


def number(value: object, most: float = _MOST_SECONDS) -> float | None:
    """A number from 0 to ``most``; None for whatever else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        return None
    return float(value)


class _Reader:
    """The attributes of one ad. What is wrong with one goes into ``faults``, and None is returned for it."""

    def __init__(self, ad: Mapping[str, Any], faults: dict[str, str]) -> None:
        self._ad = ad
        self.faults = faults

    def raw(self, key: str) -> object:
        return self._ad.get(key)

    def number(self, key: str, most: float = _MOST_SECONDS) -> float | None:
        """A number; HTCondor writes 0 for dates that have not happened, so 0 of a date is absence."""
        value = self._ad.get(key)
        if value is None:
            return None
        found = number(value, most)
        if found is None:
            self._wrong(key, "not a number from 0 up" if most == _MOST_SECONDS else f"not a number from 0 to {most:g}")
        return None if found == 0 and key.endswith(_DATES) else found

    def whole(self, key: str, least: int = 0, most: int = _MOST_STARTS) -> int | None:
        value = self._ad.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        if value is not None:
            self._wrong(key, f"not a whole number from {least} to {most}")
        return None

    def text(self, key: str, form: re.Pattern[str]) -> str | None:
        value = self._ad.get(key)
        if isinstance(value, str) and form.fullmatch(value):
            return value
        if value is not None and value != "":
            self._wrong(key, "not of the form that it has")
        return None

    def flag(self, key: str) -> bool | None:
        value = self._ad.get(key)
        if value is not None and not isinstance(value, bool):
            self._wrong(key, "not true or false")
        return value if isinstance(value, bool) else None

    def time(self, key: str, latest: float) -> float | None:
        """A time; ``latest`` where it is later than that by more than clocks differ."""
        value = self.number(key)
        if value is None or value <= latest + CLOCK_TOLERANCE:
            return value
        self._wrong(key, f"{value - latest:.0f} s ahead")
        return latest

    def required_time(self, key: str, latest: float, instead: float) -> float:
        """A time that every ad has; ``instead`` where this one has none that can be right."""
        value = self.time(key, latest)
        if value is None:
            self.fault(key, f"{key} is missing")
        return instead if value is None else value

    def published(self, key: str, started: float | None, latest: float) -> float | None:
        """A time that the worker published in the run that began at ``started``, neither before that nor ahead."""
        value = self.time(key, latest)
        return max(value, started) if value is not None and started is not None and _fresh(value, started) else None

    def fault(self, key: str, what: str) -> None:
        """Remember what is wrong with an attribute, unless something is known already."""
        self.faults.setdefault(key, what)

    def _wrong(self, key: str, what: str) -> None:
        self.fault(key, f"{key} is {one_line(repr(self.raw(key)), _SHOWN)}, {what}")


def _with_end(given: Mapping[str, Any], m: Machinetype, faults: dict[str, str]) -> Mapping[str, Any]:
    """The ad with its outcome's record, and with its VM's message where it has no end."""
    ad = given
    try:
        ad = outcome_record.completed(ad)
    except VacError as error:
        faults[outcome_record.NAME] = str(error)
    try:
        return with_message(ad, m.fizzle_seconds)
    except VacError as error:
        faults[outcome.MESSAGE_NAME] = str(error)
    return ad


def _state(of: _Reader) -> int:
    state = of.whole("JobStatus")
    if state in STATES or state == JobStatus.COMPLETED:
        return state
    of.fault("JobStatus", f"JobStatus is {state}, not one that HTCondor documents for a VM job")
    return UNKNOWN


def _vacate_code(of: _Reader, started: float | None) -> int | None:
    """Why the last run was taken from its host; None if the ad has no reason, or an earlier run's.

    Both times are by the access point's clock.
    """
    vacated = of.number("LastVacateTime")
    return of.whole("VacateReasonCode") if vacated is not None and started is not None and vacated >= started else None


def _fraction(of: _Reader, started: float | None, starts: int, now: float) -> float | None:
    """CPU use as vac_watch publishes it, with a time; else as HTCondor does, without: first run only."""
    if of.published("VacEvidenceTime", started, now) is not None:
        return of.number("VacCpuFraction", _MOST_FRACTION)
    # -1 until vm-gahp has measured it (seen on 23.9.6).
    if starts > 1 or of.raw("JobVMCpuUtilization") == -1:
        return None
    return of.number("JobVMCpuUtilization", _MOST_FRACTION)


def _heartbeat(of: _Reader, started: float | None, m: Machinetype, now: float) -> float | None:
    """When the node last saw the heartbeat file updated in this run, if that was recent when it published this.

    Both times are by the node's clock. One that is to come shows nothing.
    """
    seen, found = of.published("VacEvidenceTime", started, now), of.published("VacHeartbeat", started, now)
    if seen is None or found is None or of.faults.keys() & {"VacEvidenceTime", "VacHeartbeat"}:
        return None
    return found if seen - found <= m.heartbeat_seconds else None


def _ending(of: _Reader, started: float | None, entered: float, m: Machinetype) -> Ending | None:
    """The outcome in the ad, if it is this run's; HTCondorVMs' hooks set only ShutdownCode, no time."""
    only_code = of.raw("VacEnded") is None and of.raw("ShutdownCode") is not None
    time = entered if only_code else of.time("VacEnded", entered)
    if time is None or not (started is None or _fresh(time, started)):
        return None
    begun = time if started is None else min(started, max(time, entered))
    time = max(time, begun)
    code = of.whole("ShutdownCode", _FIRST_CODE, _LAST_CODE)
    runtime = of.number("VacRuntime")
    if runtime is not None and started is not None:
        runtime = min(runtime, max(time, entered) - begun)
    derived = outcome.parse(
        None if code is None else str(code).encode(), time - begun if runtime is None else runtime, m.fizzle_seconds
    )
    kind, abort, message = of.text("VacKind", _REPORTED), of.flag("VacAbort"), of.raw("ShutdownMessage")
    return Ending(
        code,
        derived.kind if kind is None else kind,
        derived.abort if abort is None else abort,
        time,
        runtime,
        of.text("VacCause", _CAUSE),
        one_line(message, outcome.TEXT_LIMIT) if isinstance(message, str) else None,
    )


def _host(of: _Reader) -> str | None:
    """The machine of RemoteHost (``slot1_2@host``), else of the last one."""
    where = of.text("RemoteHost", _WHERE) or of.text("LastRemoteHost", _WHERE)
    return None if where is None else where.rsplit("@", 1)[-1]


def _fresh(time: float | None, started: float | None) -> bool:
    """Whether a published time belongs to the run that started then (None: there has been none)."""
    return time is not None and started is not None and time >= started - CLOCK_TOLERANCE
