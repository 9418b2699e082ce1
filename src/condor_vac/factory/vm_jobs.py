# SPDX-License-Identifier: GPL-3.0-or-later
"""Job ads → Observation: what the queue shows of a machinetype's VMs, checked before a policy sees it.

Each ad is read for itself (`job_ad`): one that is not what it should be hides no other, and its job is still there for
the caps. Only an answer that the schedd cannot have given (a job twice) raises ObservationError, and the factory then
submits nothing.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from condor_vac.base.errors import VacError
from condor_vac.base.shared import JobStatus, Universe, one_line
from condor_vac.condor.pool import JOB_ID
from condor_vac.factory import job_ad
from condor_vac.factory.job_ad import STATES, Ending, Job
from condor_vac.model import outcome, outcome_record
from condor_vac.model.machinetype import Machinetype
from condor_vac.policy import observation as o

# HoldReasonCode of input files that could not be transferred, and ENOSPC.
NO_SPACE = (13, 28)
# HoldReasonCode of a prepare hook that failed (CONDOR_HOLD_CODE::HookPrepareJobFailure).
HOOK_FAILED = 19
# VacateReasonCode of a run whose slot was taken back, which is no fault of the host (HTCondor's condor_holdcodes.h):
# by a user or the schedd (1004, 1022, 1023); by a startd that vacates, preempts, shuts down, drains, coalesces slots,
# hibernates, releases the claim or moves to another schedd (1010, 1011, 1013 to 1019, 1037); because the claim's time
# is over or the claim is gone (1029, 1030, 1033 to 1035). Seen: 1013 on 25.14.1, where a schedd uses claims again whose
# startd is restarting. Before 25.6 all refused starts have one code, 1006 (HTCONDOR-3388), which a broken host has too.
_TAKEN_BACK = frozenset({1004, 1010, 1011, *range(1013, 1020), 1022, 1023, 1029, 1030, 1033, 1034, 1035, 1037})
# No VM runs for so many seconds more than its machinetype lets it, whatever the times in its job's ad are.
_LONGER_SECONDS = 86400.0
_NAMED_FAULTS = 3
# No factory's job has them, and before HTCondor 25 a VM job's host may change its JobUniverse.
_VM_MARKS = ("VacMachinetype", "VacBatch")
_FAULT_LIMIT = 200

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
    "LastVacateTime",
    "ShutdownCode",
    "ShutdownMessage",
    "VacAbort",
    "VacBatch",
    "VacCause",
    "VacCpuFraction",
    "VacDigest",
    "VacEnded",
    "VacEvidenceTime",
    "VacFactory",
    "VacHeartbeat",
    "VacKind",
    "VacMachinetype",
    "VacOutcome",
    "VacRuntime",
    "VacStarted",
    "VacateReasonCode",
)


class ObservationError(VacError):
    """The schedd's answer is not what it should be."""


@dataclass(frozen=True)
class Queue:
    """A machinetype's part of the queue at one moment: its VM jobs, and its factory jobs (id → JobStatus)."""

    jobs: tuple[Job, ...]
    factories: Mapping[str, int]


def constraint(name: str, owner: str) -> str:
    """The one query of a cycle: the machinetype's VM jobs and its factory jobs, of its owner alone.

    The schedd evaluates it on every job (schedd.cpp, QueryJobAdsContinuation: there is no index), so the one
    comparison that excludes nearly all other jobs comes first, and of other users' jobs no attribute that they chose.
    """
    vms = f'VacMachinetype =?= "{name}" && JobUniverse == {Universe.VM}'
    factories = f'VacFactory =?= "{name}" && JobUniverse == {Universe.SCHEDULER}'
    return f'JobUniverse != {Universe.VANILLA} && Owner == "{owner}" && (({vms}) || ({factories}))'


def queue(ads: Sequence[Mapping[str, Any]], machinetype: Machinetype, now: float) -> Queue:
    """The ads of one query at ``now``, in their order. Raises ObservationError for a job that is twice among them."""
    jobs = []
    factories: dict[str, int] = {}
    seen: set[str] = set()
    for place, ad in enumerate(ads):
        name = _job_id(ad, place)
        if name in seen:
            raise ObservationError(f"job {name}: twice in one answer of the schedd")
        seen.add(name)
        if ad.get("JobUniverse") == Universe.SCHEDULER and not any(mark in ad for mark in _VM_MARKS):
            status = ad.get("JobStatus")
            factories[name] = _whole(status, job_ad.UNKNOWN)
            continue
        job = job_ad.read(ad, name, machinetype, now)
        if not JOB_ID.fullmatch(name):
            faults = {"ClusterId": "ClusterId and ProcId are not a job's", **job.faults}
            job = replace(job, state=job_ad.UNKNOWN, batch=None, faults=faults)
        jobs.append(job)
    return Queue(tuple(jobs), factories)


def damage(jobs: Sequence[Job]) -> dict[str, str]:
    """What is wrong with jobs' ads, and what to do: a sentence by what it is about, which stays while that does."""
    return {f"{job.id} {' '.join(job.faults)}": _damage(job) for job in jobs if job.faults}


def _damage(job: Job) -> str:
    faults = "; ".join(one_line(fault, _FAULT_LIMIT) for fault in itertools.islice(job.faults.values(), _NAMED_FAULTS))
    where = f"its host {job.host}" if job.host else "who changed it"
    return f"job {job.id}: {faults}: counted as not known; check {where}, or condor_rm {job.id}"


def observation(jobs: Sequence[Job], machinetype: Machinetype, now: float, worked: Collection[str]) -> o.Observation:
    """What the policy may know; ``worked`` are the ids of runs (``run_id``) that have shown work before."""
    machines = tuple(machine(job, machinetype, now, worked) for job in jobs if not _is_over(job))
    ended = [_ended(job, machinetype, worked) for job in jobs if _is_over(job)]
    ended += [_lost(job, worked) for job in jobs if _came_back(job) or _was_refused(job)]
    return o.Observation(now=now, machines=machines, ended=tuple(ended))


def endings(jobs: Iterable[Job], ended: Iterable[o.Ended]) -> Iterator[tuple[o.Ended, Job, Ending | None]]:
    """Each end of an observation with its job, of the ``jobs`` that it was made of, and what the job's ad has of it.

    That is None for a run that the job went on without: the ad may still have an earlier run's end.
    """
    by_id = {job.id: job for job in jobs}
    for end in ended:
        # The name of a run that was lost is its job's with a number.
        job = by_id[end.id.partition(":")[0]]
        yield end, job, job.ended if end.id == job.id else None


def tally(jobs: Iterable[Job], seen: o.Observation) -> dict[str, Any]:
    """How many VMs of the ``jobs`` there are of each state, how many show work, and how those in the queue ended.

    ``oldest_idle`` is since when the first of the idle ones waits (Unix s): its submission, or its return from its last
    host; None without any.
    """
    states = Counter(machine.state for machine in seen.machines)
    waits = (job.entered if _came_back(job) else job.submitted for job in jobs if job.state == JobStatus.IDLE)
    return {
        **{state: states.get(state, 0) for state in ("idle", "running", "held", "removed")},
        "oldest_idle": min(waits, default=None),
        "works": sum(machine.works for machine in seen.machines),
        "ended": dict(Counter(ended.kind for ended in seen.ended)),
    }


def machine(job: Job, machinetype: Machinetype, now: float, worked: Collection[str]) -> o.Machine:
    """One VM job that has not ended, as the policy sees it."""
    return o.Machine(
        id=job.id,
        # Of an unknown state: it is there, and neither waits nor runs.
        state=STATES.get(job.state, o.HELD),
        submitted=job.submitted,
        # An idle job that was started before keeps that date.
        started=None if job.state == JobStatus.IDLE else _begun(job, now, machinetype),
        host=job.host,
        works=has_worked(job, machinetype, now, worked),
        measured=job.fraction is not None,
    )


def has_worked(job: Job, machinetype: Machinetype, now: float, worked: Collection[str]) -> bool:
    """Whether a VM that has not completed shows work, or its run is among ``worked``."""
    return job.state != JobStatus.COMPLETED and (run_id(job) in worked or works(job, machinetype, now))


def works(job: Job, machinetype: Machinetype, now: float) -> bool:
    """Whether the VM shows work now."""
    start = job.vm_started or job.started
    if start is None or job.state not in {JobStatus.RUNNING, JobStatus.TRANSFERRING}:
        return False
    return _shows_work(job, machinetype, start, now)


def _shows_work(job: Job, m: Machinetype, start: float, until: float) -> bool:
    """Whether the VM was past its boot by ``until``, and then its processors were busy enough or its heartbeat fresh.

    A heartbeat counts only if the file was updated after the VM's boot: VMs create it at their start, work or not.
    """
    if until - start < m.evidence_seconds:
        return False
    if job.fraction is not None and job.fraction >= m.evidence_cpu_fraction:
        return True
    return job.heartbeat is not None and job.heartbeat - start >= m.evidence_seconds


def _came_back(job: Job) -> bool:
    """Whether the job was started before and is idle again."""
    return job.state == JobStatus.IDLE and job.starts > 0


def had_no_space(job: Job) -> bool:
    """Whether HTCondor holds the job because its host's disk was full before its VM could start."""
    return job.state == JobStatus.HELD and not job.executed and (job.hold_code, job.hold_subcode) == NO_SPACE


def _was_refused(job: Job) -> bool:
    """Whether HTCondor holds the job because its VM could not be started where it was.

    A prepare hook that fails may be the host's fault or the machinetype's. The second is the same on all hosts, and
    then the policy blames none.
    """
    failed = job.state == JobStatus.HELD and job.starts > 0 and job.hold_code == HOOK_FAILED
    return failed or had_no_space(job)


def run_id(job: Job) -> str:
    """The name of a job's present (or last) run; a requeued job's next run has another."""
    return f"{job.id}:{job.starts}"


def _is_over(job: Job) -> bool:
    """Completed, or held after its VM ended (its output could not be transferred, for instance)."""
    return job.state == JobStatus.COMPLETED or (job.state == JobStatus.HELD and job.ended is not None)


def _ended(job: Job, m: Machinetype, worked: Collection[str]) -> o.Ended:
    ending = job.ended or _unsaid(job, m)
    started = _begun(job, ending.time, m)
    works = run_id(job) in worked or _shows_work(job, m, started or ending.time, ending.time)
    # Its time was over before its work was: the code 700 of an agent that is deaf to the power button is the watch's.
    all_its_time = works and ending.cause == outcome_record.WALLCLOCK
    return o.Ended(
        id=job.id,
        submitted=job.submitted,
        ended=ending.time,
        kind=o.NONE if all_its_time else ending.kind,
        abort=ending.abort and not all_its_time,
        host=job.host,
        started=started,
        works=works,
        measured=job.fraction is not None,
    )


def _begun(job: Job, end: float, m: Machinetype) -> float | None:
    """The start of a run until ``end``: not after it, nor longer before it than a VM can run."""
    if job.started is None:
        return None
    return min(max(job.started, end - m.max_wallclock_seconds - _LONGER_SECONDS), end)


def _unsaid(job: Job, m: Machinetype) -> Ending:
    """A VM without a published outcome: judged by its runtime, as Vac does."""
    life = max(0.0, job.entered - (job.started or job.entered))
    result = outcome.parse(None, life, m.fizzle_seconds)
    return Ending(None, result.kind, result.abort, job.entered, life)


def _lost(job: Job, worked: Collection[str]) -> o.Ended:
    """The last run of a job that has no VM again: its host vanished or was taken back, or gave it back by itself before
    the VM could start, for which the host is to blame.
    """
    blameless = job.executed or job.vacate_code in _TAKEN_BACK
    return o.Ended(
        id=run_id(job),
        submitted=job.submitted,
        ended=job.entered,
        kind=o.LOST if blameless else o.REFUSED,
        abort=False,
        host=job.host,
        started=job.started,
        works=run_id(job) in worked,
    )


def _whole(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


def _job_id(ad: Mapping[str, Any], place: int) -> str:
    """CLUSTER.PROC; for an ad without, a name that is no job's, so that nothing is done with it."""
    numbers = [ad.get(key) for key in ("ClusterId", "ProcId")]
    if all(_whole(number, -1) >= 0 for number in numbers):
        return f"{numbers[0]}.{numbers[1]}"
    return f"without-id-{place}"
