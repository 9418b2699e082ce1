# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs that have ended, and the runs of others, from the queue and from HTCondor's history together."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from condor_vac.base.errors import VacError
from condor_vac.base.shared import STATUS_WORDS, JobStatus, one_line
from condor_vac.cli import survey
from condor_vac.condor import history
from condor_vac.condor.pool import Pool, job_id
from condor_vac.factory import job_ad, stuck_jobs, vm_jobs
from condor_vac.factory.job_ad import ON_HOST, Job
from condor_vac.model import outcome
from condor_vac.model.machinetype import Machinetype
from condor_vac.worker.lease.store import is_uuid

# The states of VMs, for people: a VM whose output goes back runs, as its slot is still taken.
STATES = {**STATUS_WORDS, JobStatus.COMPLETED: "ended", JobStatus.TRANSFERRING: STATUS_WORDS[JobStatus.RUNNING]}
PROJECTION = (
    *vm_jobs.PROJECTION,
    "CompletionDate",
    "GlobalJobId",
    "HoldReason",
    "Owner",
    "RemoveReason",
    "TransferInFinished",
    "TransferInStarted",
    "TransferOutFinished",
    "TransferOutStarted",
    "VacCpuSeconds",
    "VacLeased",
    "VacUUID",
)
# Of how many VMs one answer is at most.
MOST = 20_000
# The history has jobs in the order in which they left the queue. A VM's job leaves it so long after its end, or longer
# where its machinetype keeps ended jobs longer (stuck_jobs.stale_after).
_LEAVES_SECONDS = 86400


class Vms(NamedTuple):
    """VMs as `describe` has them, the last to end at the end, and what is wrong with single jobs' ads."""

    entries: list[dict[str, Any]]
    damage: list[str]


def ended(args: argparse.Namespace, pool: Pool, since: float, only: str | None = None) -> Vms:
    """The VMs that have ended since then (Unix s). Raises PoolError, UsageError."""
    return _vms(args, pool, since, only, None)


def of_host(args: argparse.Namespace, pool: Pool, since: float, host: str) -> Vms:
    """The VMs whose last run was or is on this node (its name, or the name's first part) and had not ended before."""
    return _vms(args, pool, since, None, host)


def describe(ad: Mapping[str, Any], job: Job, now: float) -> dict[str, Any]:
    """One VM: {id, uuid, machinetype, owner, state, host, submitted, started, ended, life, code, kind, cause, message,
    reason}; times in Unix s, ``life`` in seconds, what is not known None. Text is one printable line.
    """
    over = job.ended
    start = job.vm_started or job.started
    is_over = over is not None or job.state in {JobStatus.COMPLETED, JobStatus.REMOVED}
    end = over.time if over else (job.entered if is_over else None)
    life = over.runtime if over and over.runtime is not None else (None if start is None else (end or now) - start)
    uuid = ad.get("VacUUID")
    return {
        "id": job.id,
        "uuid": uuid if is_uuid(uuid) else None,
        "machinetype": line(ad.get("VacMachinetype")),
        "owner": line(ad.get("Owner")),
        "state": STATES[JobStatus.COMPLETED] if over else STATES.get(job.state, "unknown"),
        "host": job.host,
        "submitted": job.submitted,
        "started": start if job.state != JobStatus.IDLE else None,
        "ended": end,
        "life": life if job.state != JobStatus.IDLE else None,
        "code": over.code if over else None,
        "kind": over.kind if over else None,
        "cause": over.cause if over else None,
        "message": over.message if over else None,
        "reason": line(ad.get("HoldReason") if job.state == JobStatus.HELD else ad.get("RemoveReason")),
    }


def read(ad: Mapping[str, Any], site: survey.Site, now: float) -> Job:
    """The job of an ad of the queue or the history; of a removed one too the end of its VM, where it has one."""
    m = site.machinetype or _forgotten(ad, site)
    job = job_ad.read(ad, job_id(ad), m, now)
    if job.state == JobStatus.REMOVED and any(
        isinstance(ad.get(key), (int, str)) for key in ("VacEnded", "VacOutcome")
    ):
        return replace(job, ended=job_ad.read({**ad, "JobStatus": JobStatus.COMPLETED}, job.id, m, now).ended)
    return job


def site_of(ad: Mapping[str, Any], sites: Mapping[str, survey.Site]) -> survey.Site | None:
    """What the access point has of the ad's machinetype, None where it has nothing, or that is another user's."""
    site = sites.get(str(ad.get("VacMachinetype")))
    return site if site is not None and site.owner is not None and ad.get("Owner") == site.owner else None


def line(value: object) -> str | None:
    """Another's text as one printable line; None for none."""
    return None if value is None else one_line(str(value), outcome.TEXT_LIMIT)


def on_host(host: str) -> str:
    """The constraint for jobs whose last run was on this node, whose name is of HOST_NAME's form."""
    form = host.replace(".", "[.]")
    slots = " || ".join(f'regexp("(^|@){form}([.]|$)", {key})' for key in ("RemoteHost", "LastRemoteHost"))
    return f"({slots}) =?= True"


def _vms(args: argparse.Namespace, pool: Pool, since: float, only: str | None, host: str | None) -> Vms:
    now = survey.now()
    sites = survey.sites(args.machinetypes, args.state, only)
    found: dict[tuple[str, float], dict[str, Any]] = {}
    damage: list[str] = []
    for ad in _ads(sites, pool, since, only, host):
        if isinstance(ad, VacError):
            damage.append(f"an ad of the history cannot be read: {ad}")
            continue
        site = site_of(ad, sites)
        if site is None:
            continue
        job = read(ad, site, now)
        entry = describe(ad, job, now)
        runs = host is not None and job.state in ON_HOST
        if job.started is not None and (runs or (entry["ended"] is not None and entry["ended"] >= since)):
            found[job.id, job.submitted] = entry
            damage += vm_jobs.damage([job]).values()
    return Vms(sorted(found.values(), key=lambda entry: (entry["ended"] or now, entry["id"])), damage)


def _ads(
    sites: Mapping[str, survey.Site], pool: Pool, since: float, only: str | None, host: str | None
) -> Iterator[dict[str, Any] | VacError]:
    owners = survey.owners_of(sites)
    mine = survey.constraint(owners, only)
    started = "JobCurrentStartDate > 0" + ("" if host is None else f" && {on_host(host)}")
    late = f"EnteredCurrentStatus >= {int(since)}"
    over = f"(JobStatus == {JobStatus.COMPLETED} || JobStatus == {JobStatus.REMOVED} || isString(VacOutcome)) && {late}"
    queued = f"({over})" if host is None else f"(({over}) || JobStatus == {JobStatus.RUNNING})"
    yield from pool.jobs(f"{mine} && {started} && {queued}", PROJECTION, MOST)
    kept = [stuck_jobs.stale_after(site.machinetype) for site in sites.values() if site.machinetype is not None]
    until = f"{mine} && EnteredCurrentStatus < {int(since) - max([_LEAVES_SECONDS, *kept])}"
    yield from history.jobs(f"{mine} && {started} && {late}", PROJECTION, MOST, until)


def _forgotten(ad: Mapping[str, Any], site: survey.Site) -> Machinetype:
    """In place of a machinetype that is gone: its VMs' ends are read by the defaults."""
    described = {
        "name": ad["VacMachinetype"],
        "owner": site.owner,
        "kind": "cernvm",
        "image": "/gone.iso",
        "user_data": "/gone",
    }
    return Machinetype.from_mapping(described, "a machinetype that is gone")


def cut(entries: Sequence[object]) -> str | None:
    """A sentence where there may be more VMs than an answer has."""
    return f"only the newest {MOST} VMs are shown; ask for a shorter time" if len(entries) >= MOST else None
