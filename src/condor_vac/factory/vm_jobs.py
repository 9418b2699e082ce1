# SPDX-License-Identifier: GPL-3.0-or-later
"""Job ads → Observation: what the queue shows of a machinetype's VMs, checked before a policy sees it.

An ad that is not what it should be (a state that HTCondor does not have, a running job without a start,
text where a number belongs) raises ObservationError, and the factory then submits nothing. An attribute
that is merely absent is taken as not published.

Attributes of a run are believed only if they are younger than that run's start: HTCondor keeps them when a
job is requeued, so a VM would otherwise inherit the outcome or the CPU use of the one before it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from condor_vac.base.errors import VacError
from condor_vac.base.shared import JobStatus, Universe
from condor_vac.model import outcome, outcome_record
from condor_vac.model.machinetype import Machinetype
from condor_vac.policy import observation as o

# The worker's clock and the schedd's may differ by this much before a fresh attribute looks like an old one.
CLOCK_TOLERANCE = 120.0

# HoldReasonCode of input files that could not be transferred, and ENOSPC.
NO_SPACE = (13, 28)

_STATES = {
    JobStatus.IDLE: o.IDLE,
    JobStatus.RUNNING: o.RUNNING,
    JobStatus.REMOVED: o.REMOVED,
    JobStatus.HELD: o.HELD,
    JobStatus.TRANSFERRING: o.RUNNING,
    JobStatus.SUSPENDED: o.RUNNING,
}
# Those in which a job has a host.
ON_HOST = frozenset(state for state, seen in _STATES.items() if seen == o.RUNNING)

PROJECTION = (
    "ClusterId",
    "ProcId",
    "JobUniverse",
    "JobStatus",
    "QDate",
    "EnteredCurrentStatus",
    "JobCurrentStartDate",
    "JobCurrentStartExecutingDate",
    "NumShadowStarts",
    "RemoteHost",
    "LastRemoteHost",
    "HoldReasonCode",
    "HoldReasonSubCode",
    "Iwd",
    "JobDisconnectedDate",
    "JobVMCpuUtilization",
    "ShutdownCode",
    "VacAbort",
    "VacBatch",
    "VacCause",
    "VacCpuFraction",
    "VacCpuSeconds",
    "VacDigest",
    "VacEnded",
    "VacEvidenceTime",
    "VacFactory",
    "VacKind",
    "VacOutcome",
    "VacRuntime",
    "VacStarted",
)


class ObservationError(VacError):
    """A job ad is not what it should be."""


@dataclass(frozen=True)
class Job:
    """One VM job as the queue shows it, checked. Times are Unix seconds; None: not published, or of an
    older run.

    ``state`` is HTCondor's JobStatus. ``fraction`` is CPU use per processor over the last interval (about 0
    to 1). ``executed`` is whether the present (or last) run came as far as its VM's start.
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
    cpu_seconds: float | None
    vm_started: float | None
    ended: Ending | None
    batch: str | None
    digest: str | None
    hold_code: int | None
    hold_subcode: int | None
    disconnected: float | None


@dataclass(frozen=True)
class Ending:
    """The outcome that a run left in its job's ad; ``code`` None: the VM left no message. ``cause``: ending.py's."""

    code: int | None
    kind: str
    abort: bool
    time: float
    runtime: float | None
    cause: str | None = None


@dataclass(frozen=True)
class Queue:
    """A machinetype's part of the queue at one moment: its VM jobs, and its factory jobs (id → JobStatus)."""

    jobs: tuple[Job, ...]
    factories: Mapping[str, int]


def constraint(name: str, owner: str) -> str:
    """The one query of a cycle: the machinetype's VM jobs and its factory jobs.

    The schedd evaluates it on every job (schedd.cpp, QueryJobAdsContinuation: there is no index), so the one
    comparison that excludes nearly all other jobs comes first.
    """
    vms = f'VacMachinetype =?= "{name}" && JobUniverse == {Universe.VM} && Owner == "{owner}"'
    factories = f'VacFactory =?= "{name}" && JobUniverse == {Universe.SCHEDULER}'
    return f"JobUniverse != {Universe.VANILLA} && (({vms}) || ({factories}))"


def queue(ads: Sequence[Mapping[str, Any]], machinetype: Machinetype) -> Queue:
    """The ads of one query, checked. Raises ObservationError naming the job and the attribute."""
    jobs = []
    factories: dict[str, int] = {}
    seen: set[str] = set()
    for ad in ads:
        name = _job_id(ad)
        if name in seen:
            raise ObservationError(f"job {name}: twice in one answer of the schedd")
        seen.add(name)
        if _integer(ad, name, "JobUniverse") == Universe.SCHEDULER:
            factories[name] = _integer(ad, name, "JobStatus")
        else:
            jobs.append(_job(ad, name, machinetype))
    return Queue(tuple(jobs), factories)


def observation(jobs: Sequence[Job], machinetype: Machinetype, now: float, worked: Collection[str]) -> o.Observation:
    """What the policy may know; ``worked`` are the ids of runs (``run_id``) that have shown work before."""
    machines = tuple(machine(job, machinetype, now, worked) for job in jobs if not _is_over(job))
    ended = [_ended(job, machinetype, worked) for job in jobs if _is_over(job)]
    ended += [_lost(job, worked) for job in jobs if _came_back(job) or had_no_space(job)]
    return o.Observation(now=now, machines=machines, ended=tuple(ended))


def machine(job: Job, machinetype: Machinetype, now: float, worked: Collection[str]) -> o.Machine:
    """One VM job that has not ended, as the policy sees it."""
    return o.Machine(
        id=job.id,
        state=_STATES[job.state],
        submitted=job.submitted,
        # An idle job that was started before keeps that date.
        started=None if job.state == JobStatus.IDLE else job.started,
        host=job.host,
        works=run_id(job) in worked or works(job, machinetype, now),
        measured=job.fraction is not None,
    )


def works(job: Job, machinetype: Machinetype, now: float) -> bool:
    """Whether the VM shows work now: old enough to be past its boot, and its processors busy enough."""
    start = job.vm_started or job.started
    if start is None or job.fraction is None or job.state not in {JobStatus.RUNNING, JobStatus.TRANSFERRING}:
        return False
    return now - start >= machinetype.evidence_seconds and job.fraction >= machinetype.evidence_cpu_fraction


def _came_back(job: Job) -> bool:
    """Whether the job was started before and is idle again."""
    return job.state == JobStatus.IDLE and job.starts > 0


def had_no_space(job: Job) -> bool:
    """Whether HTCondor holds the job because its host's disk was full before its VM could start."""
    return job.state == JobStatus.HELD and not job.executed and (job.hold_code, job.hold_subcode) == NO_SPACE


def run_id(job: Job) -> str:
    """The name of a job's present (or last) run; a requeued job's next run has another."""
    return f"{job.id}:{job.starts}"


def _is_over(job: Job) -> bool:
    """Completed, or held after its VM ended (its output could not be transferred, for instance)."""
    return job.state == JobStatus.COMPLETED or (job.state == JobStatus.HELD and job.ended is not None)


def _ended(job: Job, m: Machinetype, worked: Collection[str]) -> o.Ended:
    ending = job.ended or _unsaid(job, m)
    busy = job.fraction is not None and job.fraction >= m.evidence_cpu_fraction
    life = ending.time - (job.started or ending.time)
    works = run_id(job) in worked or (busy and life >= m.evidence_seconds)
    # Its time was over before its work was: the code 700 of an agent that is deaf to the power button is the watch's.
    all_its_time = works and ending.cause == outcome_record.WALLCLOCK
    return o.Ended(
        id=job.id,
        submitted=job.submitted,
        ended=ending.time,
        kind=o.NONE if all_its_time else ending.kind,
        abort=ending.abort and not all_its_time,
        host=job.host,
        started=job.started,
        works=works,
        measured=job.fraction is not None,
    )


def _unsaid(job: Job, m: Machinetype) -> Ending:
    """A VM without a published outcome: judged by its runtime, as Vac does."""
    life = job.entered - (job.started or job.entered)
    result = outcome.parse(None, life, m.fizzle_seconds)
    return Ending(None, result.kind, result.abort, job.entered, life)


def _lost(job: Job, worked: Collection[str]) -> o.Ended:
    """The last run of a job that has no VM again: its host vanished, or gave it back before the VM could start."""
    return o.Ended(
        id=run_id(job),
        submitted=job.submitted,
        ended=job.entered,
        kind=o.LOST if job.executed else o.REFUSED,
        abort=False,
        host=job.host,
        started=job.started,
        works=run_id(job) in worked,
    )


def _job(given: Mapping[str, Any], name: str, m: Machinetype) -> Job:
    try:
        ad = with_message(outcome_record.completed(given), m.fizzle_seconds)
    except VacError as error:
        raise ObservationError(f"job {name}: {error}") from error
    state = _integer(ad, name, "JobStatus")
    if state not in _STATES and state != JobStatus.COMPLETED:
        raise ObservationError(f"job {name}: JobStatus {state} is not one that HTCondor documents for a VM job")
    started = _optional(ad, name, "JobCurrentStartDate")
    if state in ON_HOST and started is None:
        # The schedd sets this a moment before its time (seen on 23.9.6).
        started = _number(ad, name, "EnteredCurrentStatus")
    starts = int(_optional(ad, name, "NumShadowStarts") or 0)
    return Job(
        id=name,
        state=state,
        submitted=_number(ad, name, "QDate"),
        entered=_number(ad, name, "EnteredCurrentStatus"),
        started=started,
        host=_host(ad, name),
        starts=starts,
        executed=(_optional(ad, name, "JobCurrentStartExecutingDate") or 0.0) >= (started or 0.0) > 0.0,
        fraction=_fraction(ad, name, started, starts),
        cpu_seconds=_optional(ad, name, "VacCpuSeconds") if _fresh(ad.get("VacEvidenceTime"), started) else None,
        vm_started=_optional(ad, name, "VacStarted") if _fresh(ad.get("VacStarted"), started) else None,
        ended=_ending(ad, name, started, m) if state in {JobStatus.COMPLETED, JobStatus.HELD} else None,
        batch=_text(ad, name, "VacBatch"),
        digest=_text(ad, name, "VacDigest"),
        hold_code=_code(ad, name, "HoldReasonCode") if state == JobStatus.HELD else None,
        hold_subcode=_code(ad, name, "HoldReasonSubCode") if state == JobStatus.HELD else None,
        disconnected=_optional(ad, name, "JobDisconnectedDate") if state == JobStatus.RUNNING else None,
    )


def with_message(ad: Mapping[str, Any], fizzle_seconds: float) -> Mapping[str, Any]:
    """The ad of a completed job, with the end that its VM's message tells where the ad has none of this run.

    On a node that is very slow the starter may end before it has read the hook's request; the outputs, with the message
    among them, go to the job's directory all the same. Raises VacError where they cannot be read.
    """
    started, entered, directory = ad.get("JobCurrentStartDate"), ad.get("EnteredCurrentStatus"), ad.get("Iwd")
    has_end = _fresh(ad.get("VacEnded"), started) or ("ShutdownCode" in ad and "VacEnded" not in ad)
    if ad.get("JobStatus") != JobStatus.COMPLETED or has_end:
        return ad
    if not (isinstance(started, (int, float)) and isinstance(entered, (int, float))):
        return ad
    # HTCondor's Iwd is absolute.
    if not isinstance(directory, str) or not directory.startswith("/") or "\0" in directory:
        return ad
    message = outcome.read_message(os.path.join(directory, "joboutputs"))
    result = outcome.parse(message, entered - started, fizzle_seconds)
    if result.code is None:
        return ad
    told = {"ShutdownCode": result.code, "ShutdownMessage": result.text, "VacKind": result.kind}
    ends = {"VacAbort": result.abort, "VacCause": "message", "VacEnded": entered, "VacRuntime": int(entered - started)}
    return {**ad, **told, **ends}


def _fresh(time: object, started: float | None) -> bool:
    """Whether a published time belongs to the run that started then (None: there has been none)."""
    if started is None or isinstance(time, bool) or not isinstance(time, (int, float)):
        return False
    return time >= started - CLOCK_TOLERANCE


def _fraction(ad: Mapping[str, Any], name: str, started: float | None, starts: int) -> float | None:
    """CPU use as vac_watch publishes it, with a time; else as HTCondor does, without: first run only."""
    if _fresh(ad.get("VacEvidenceTime"), started):
        return _optional(ad, name, "VacCpuFraction")
    own = ad.get("JobVMCpuUtilization")
    # -1 until vm-gahp has measured it (seen on 23.9.6).
    if starts > 1 or (isinstance(own, (int, float)) and own == -1):
        return None
    return _optional(ad, name, "JobVMCpuUtilization")


def _ending(ad: Mapping[str, Any], name: str, started: float | None, m: Machinetype) -> Ending | None:
    """The outcome in the ad, if it is this run's; HTCondorVMs' hooks set only ShutdownCode, no time."""
    time = _optional(ad, name, "VacEnded")
    if time is None and "ShutdownCode" in ad:
        time = _number(ad, name, "EnteredCurrentStatus")
    if time is None or not (started is None or _fresh(time, started)):
        return None
    code = _code(ad, name, "ShutdownCode")
    runtime = _optional(ad, name, "VacRuntime")
    life = runtime if runtime is not None else time - (started or time)
    derived = outcome.parse(None if code is None else str(code).encode(), life, m.fizzle_seconds)
    kind, abort = _text(ad, name, "VacKind"), ad.get("VacAbort")
    if kind is not None and kind not in o.KINDS:
        raise ObservationError(f"job {name}: VacKind {kind[:40]!r} is not one of {', '.join(o.KINDS)}")
    if abort is not None and not isinstance(abort, bool):
        raise ObservationError(f"job {name}: VacAbort is {abort!r}, not true or false")
    return Ending(
        code,
        derived.kind if kind is None else kind,
        derived.abort if abort is None else abort,
        time,
        runtime,
        _text(ad, name, "VacCause"),
    )


def _job_id(ad: Mapping[str, Any]) -> str:
    cluster = _integer(ad, "?", "ClusterId")
    return f"{cluster}.{_integer(ad, str(cluster), 'ProcId')}"


def _host(ad: Mapping[str, Any], name: str) -> str | None:
    """The machine of RemoteHost (``slot1_2@host``), else of the last one."""
    where = _text(ad, name, "RemoteHost") or _text(ad, name, "LastRemoteHost")
    return None if where is None else where.rsplit("@", 1)[-1]


def _text(ad: Mapping[str, Any], name: str, key: str) -> str | None:
    value = ad.get(key)
    if value is not None and (not isinstance(value, str) or len(value) > 1024 or not value.isprintable()):
        raise ObservationError(f"job {name}: {key} is {repr(value)[:60]}, not a line of text")
    return value or None


def _integer(ad: Mapping[str, Any], name: str, key: str) -> int:
    value = ad.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 53:
        raise ObservationError(f"job {name}: {key} is {repr(value)[:60]}, not a whole number")
    return value


def _code(ad: Mapping[str, Any], name: str, key: str) -> int | None:
    return _integer(ad, name, key) if ad.get(key) is not None else None


def _number(ad: Mapping[str, Any], name: str, key: str) -> float:
    value = _optional(ad, name, key)
    if value is None:
        raise ObservationError(f"job {name}: {key} is missing")
    return value


def _optional(ad: Mapping[str, Any], name: str, key: str) -> float | None:
    """A number from 0 up; HTCondor writes 0 for dates that have not happened, so 0 of a date is absence."""
    value = ad.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise ObservationError(f"job {name}: {key} is {repr(value)[:60]}, not a number from 0 up")
    if value == 0 and key.endswith(("Date", "Started", "Ended")):
        return None
    return float(value)
