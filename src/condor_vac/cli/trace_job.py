# SPDX-License-Identifier: GPL-3.0-or-later
"""One VM's life as its access point knows it: its job's ad (queue or history), its files, its factory's log."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from condor_vac.base.errors import VacError
from condor_vac.base.shared import JobStatus, Universe
from condor_vac.cli import past, survey, trace_files
from condor_vac.cli.trace_files import Output, Step, step
from condor_vac.condor import history
from condor_vac.condor.pool import Pool, owned
from condor_vac.factory import job_ad, kept, vm_directories, vm_jobs
from condor_vac.factory.job_ad import Job

# From a time in the ad to what it is: step, and text.
_TIMES = (
    ("TransferInStarted", "transfer", "the job's files to the node: started"),
    ("TransferInFinished", "transfer", "the job's files to the node: finished"),
    ("VacLeased", "lease", "its prepare hook got the VM's lease on the node"),
    ("JobCurrentStartExecutingDate", "executing", "the node's starter starts the VM"),
    ("VacStarted", "started", "the VM runs"),
    ("TransferOutStarted", "transfer", "what the VM left to the access point: started"),
    ("TransferOutFinished", "transfer", "what the VM left to the access point: finished"),
    ("CompletionDate", "completed", "the job is completed"),
)


class Name(NamedTuple):
    """Which VM: its job's id (CLUSTER.PROC) and perhaps its schedd's name, or its UUID."""

    job: str | None = None
    schedd: str | None = None
    uuid: str | None = None


class Life(NamedTuple):
    """A VM: `past.describe`'s entry, its job's GlobalJobId, what happened, and where its files are."""

    entry: dict[str, Any]
    global_id: str | None
    steps: list[Step]
    directory: str | None
    outputs: list[Output]
    kept: str | None
    damage: list[str]


def find(args: argparse.Namespace, pool: Pool, name: Name) -> Life | None:
    """The VM's life; None if neither the queue nor the history has its job. Raises PoolError; VacError for its ad."""
    sites = survey.sites(args.machinetypes, args.state)
    owners = survey.owners_of(sites)
    which = _constraint(name, owners)
    since = None if args.since is None else f"JobUniverse == {Universe.VM} && {owned(owners)} && {_before(args.since)}"
    of_queue, of_history = pool.jobs(which, past.PROJECTION, 1), history.jobs(which, past.PROJECTION, 1, since)
    ad = of_queue[0] if of_queue else next(of_history, None)
    if ad is None:
        return None
    if isinstance(ad, VacError):
        raise VacError(f"its ad in the history cannot be read: {ad}")
    site = past.site_of(ad, sites)
    return None if site is None else _life(ad, site)


def _before(since: float) -> str:
    return f"EnteredCurrentStatus < {int(since)}"


def _constraint(name: Name, owners: set[str]) -> str:
    """Of machinetypes' owners alone: in a job's ad its user may write any UUID."""
    mine = survey.constraint(owners, None)
    if name.uuid is not None:
        return f'VacUUID == "{name.uuid}" && {mine}'
    cluster, proc = str(name.job).split(".")
    here = f"ClusterId == {int(cluster)} && ProcId == {int(proc)} && {mine}"
    if name.schedd is None:
        return here
    return f'{here} && substr(GlobalJobId, 0, {len(name.schedd) + 1}) == "{name.schedd}#"'


def _life(ad: Mapping[str, Any], site: survey.Site) -> Life:
    now = survey.now()
    job = past.read(ad, site, now)
    entry = past.describe(ad, job, now)
    batch = job.batch
    steps = [*_of_ad(ad, job, entry, now), *trace_files.factory_steps(site.directory, job.id, batch)]
    directory = None if batch is None else vm_directories.of(site.directory, batch, job.id)
    logged = [] if directory is None else trace_files.job_steps(directory, job.id, now)
    # The job's own log has all of its runs, its ad the last one.
    twice = {one.step for one in logged} & {"submitted", "executing", "removed", "held"}
    steps = [one for one in steps if one.source != "ad" or one.step not in twice]
    outputs = [] if directory is None else trace_files.outputs(directory)
    return Life(
        entry=entry,
        global_id=past.line(ad.get("GlobalJobId")),
        steps=sorted([*steps, *logged], key=lambda one: one.time),
        directory=directory if outputs else None,
        outputs=outputs,
        kept=kept.find(site.directory, job.id),
        damage=list(vm_jobs.damage([job]).values()),
    )


def _of_ad(ad: Mapping[str, Any], job: Job, entry: Mapping[str, Any], now: float) -> Iterator[Step]:
    """What the ad's times show; each is of the last run that had it."""
    yield step(job.submitted, "submitted", "ad", f"batch {job.batch or 'not known'}")
    if job.started is not None:
        yield step(
            job.started, "matched", "ad", f"start {job.starts} of this job: {job.host or 'its node is not known'}"
        )
    for key, what, text in _TIMES:
        when = job_ad.moment(ad.get(key), now)
        if when is not None:
            yield step(when, what, "ad", text)
    seen = job_ad.moment(ad.get("VacEvidenceTime"), now)
    if seen is not None:
        use, seconds = (job_ad.number(ad.get(key)) for key in ("VacCpuFraction", "VacCpuSeconds"))
        yield step(
            seen, "evidence", "ad", f"last use of its processors {_figure(use)}, {_figure(seconds)} s of CPU in all"
        )
    beat = job_ad.moment(ad.get("VacHeartbeat"), now)
    if beat is not None:
        yield step(beat, "heartbeat", "ad", "last seen to be updated")
    yield from _end(job, entry)


def _end(job: Job, entry: Mapping[str, Any]) -> Iterator[Step]:
    if job.ended is not None:
        if entry["message"]:
            yield step(job.ended.time, "message", "ad", entry["message"])
        code = "without a code" if job.ended.code is None else f"with code {job.ended.code}"
        why = f"cause {job.ended.cause or 'not known'}, after {survey.duration(entry['life'])}"
        yield step(job.ended.time, "ended", "ad", f"{code} ({job.ended.kind}), {why}")
    if job.state in {JobStatus.HELD, JobStatus.REMOVED}:
        yield step(job.entered, "held" if job.state == JobStatus.HELD else "removed", "ad", entry["reason"] or "")


def _figure(value: float | None) -> str:
    return "not known" if value is None else f"{value:g}"
