# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of VM jobs that neither wait, run nor end as they should: one rule and one timeout for each.

=========================== ============================================== =================================
a job that is               why it can be so                               what is done, and when
=========================== ============================================== =================================
held, its VM ended          its output could not be transferred back       removed: its outcome is known
held by a person            condor_hold                                    left alone
held for lack of space      its host's disk is full                        removed at once; a new one takes
                                                                           its place on another host
held otherwise              the prepare hook refused, a file is missing    removed after HELD_SECONDS
running too long            the worker's own limit did not end it          removed at max_wallclock_seconds
                                                                           and OVERTIME_SECONDS
running, host unreachable   the host vanished; HTCondor gives up itself    removed at job_lease_duration and
                            after the job's lease                          LEASE_SLACK_SECONDS
removed but still there     its host does not answer any more              forgotten after the same time
idle again and again        hosts accept it and return it                  removed after MAX_STARTS
idle, of an earlier         the machinetype was changed meanwhile          removed at once
machinetype
completed, still there      a leave_in_queue that does not end             released after keep_seconds and
                                                                           STALE_SECONDS
=========================== ============================================== =================================

No rule removes a VM that works within its limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from condor_vac.base.shared import JobStatus
from condor_vac.factory.job_ad import Job
from condor_vac.factory.submit_description import keep_seconds
from condor_vac.factory.vm_jobs import had_no_space
from condor_vac.model.machinetype import Machinetype

HELD_SECONDS = 3600
OVERTIME_SECONDS = 3600
LEASE_SLACK_SECONDS = 900
STALE_SECONDS = 1800
MAX_STARTS = 5
HELD_BY_PERSON = 1

REMOVE, FORGET, RELEASE = "remove", "forget", "release"


@dataclass(frozen=True)
class Verdict:
    """One job, what to do with it (REMOVE, FORGET, RELEASE), why, and the JobStatus it must still have."""

    id: str
    action: str
    reason: str
    state: int


def stale_after(machinetype: Machinetype) -> int:
    """Seconds after its completion from which a job has no business in the queue."""
    return keep_seconds(machinetype) + STALE_SECONDS


def verdicts(jobs: Sequence[Job], machinetype: Machinetype, now: float, digest: str) -> list[Verdict]:
    """The jobs to which a rule applies; ``digest`` is the present description's (``+VacDigest``)."""
    rules = _Rules(machinetype, now, digest)
    by_state = {
        JobStatus.HELD: rules.held,
        JobStatus.RUNNING: rules.running,
        JobStatus.TRANSFERRING: rules.running,
        JobStatus.SUSPENDED: rules.running,
        JobStatus.REMOVED: rules.removed,
        JobStatus.IDLE: rules.idle,
        JobStatus.COMPLETED: rules.completed,
    }
    found = []
    for job in jobs:
        rule = by_state.get(job.state)
        verdict = rule(job) if rule else None
        if verdict is not None:
            found.append(Verdict(job.id, *verdict, job.state))
    return found


@dataclass(frozen=True)
class _Rules:
    """One rule per JobStatus; each returns (action, reason), or None to leave the job alone."""

    machinetype: Machinetype
    now: float
    digest: str

    def held(self, job: Job) -> tuple[str, str] | None:
        if job.ended is not None:
            return REMOVE, "its VM has ended, and the job was held afterwards"
        if job.hold_code == HELD_BY_PERSON:
            return None
        if had_no_space(job):
            return REMOVE, f"its host {job.host} has no space left for the job's files"
        if self.now - job.entered >= HELD_SECONDS:
            return REMOVE, f"held for {HELD_SECONDS} s (hold code {job.hold_code}, {job.hold_subcode})"
        return None

    def running(self, job: Job) -> tuple[str, str] | None:
        limit = self.machinetype.max_wallclock_seconds + OVERTIME_SECONDS
        if job.started is not None and self.now - job.started >= limit:
            return (
                REMOVE,
                f"has run for {int(self.now - job.started)} s, more than max_wallclock_seconds",
            )
        silence = self.machinetype.job_lease_duration + LEASE_SLACK_SECONDS
        if job.disconnected is not None and self.now - job.disconnected >= silence:
            return (
                REMOVE,
                f"its host {job.host} has not answered for {int(self.now - job.disconnected)} s",
            )
        return None

    def removed(self, job: Job) -> tuple[str, str] | None:
        limit = self.machinetype.job_lease_duration + LEASE_SLACK_SECONDS
        if self.now - job.entered >= limit:
            return FORGET, f"removed {int(self.now - job.entered)} s ago, but its host does not answer"
        return None

    def idle(self, job: Job) -> tuple[str, str] | None:
        if job.starts >= MAX_STARTS:
            return REMOVE, f"started {job.starts} times and returned to idle each time"
        if job.digest is not None and job.digest != self.digest:
            return REMOVE, "idle with an outdated submit description"
        return None

    def completed(self, job: Job) -> tuple[str, str] | None:
        if self.now - job.entered >= stale_after(self.machinetype):
            return RELEASE, f"completed {int(self.now - job.entered)} s ago, but still in the queue"
        return None
