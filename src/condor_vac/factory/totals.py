# SPDX-License-Identifier: GPL-3.0-or-later
"""What a factory has counted since it began, for metrics: monotone totals of its VMs, in ``totals.json``.

A file beside the state: damage of either costs only itself, and an earlier release reads the state as before. What the
queue shows when counting begins is not counted, so that a lost file counts no VM twice. A run that starts and comes
back between two cycles is not seen. VMs that left the queue while no factory ran are taken from the history, of which
the factory reads the newest `condor_vac.factory.cycle.HISTORY_LIMIT`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

from condor_vac.base import atomic
from condor_vac.base.errors import VacError
from condor_vac.factory import vm_jobs
from condor_vac.factory.job_ad import ON_HOST, Job
from condor_vac.policy import observation as o
from condor_vac.policy.schema import by_name, exactly, natural, number, optional, record

VERSION = 1
NAME = "totals.json"
LIMIT = 64 << 20
# Codes as a label: those of the platform (HSF-TN-2016-04, section 4.1), and so many others; guests choose them.
PLATFORM_CODES = frozenset({100, 200, 300, 400, 500, 600, 700})
MOST_OTHER_CODES = 32
NO_CODE, OTHER_CODE = "none", "other"
# A VM that left the queue so long before the last observation was seen in it.
_OVERLAP_SECONDS = 300.0
# Ends that metrics have from the first cycle on, so that a rate sees the first of them too.
USUAL_ENDS = (
    f"{o.SUCCESS} 200",
    f"{o.NO_WORK} 300",
    f"{o.BANNED} 400",
    f"{o.SITE} 500",
    f"{o.EXPERIMENT} 600",
    f"{o.AGENT} 700",
    f"{o.FIZZLE} {NO_CODE}",
    f"{o.LOST} {NO_CODE}",
    f"{o.REFUSED} {NO_CODE}",
)
_END = re.compile(rf"({'|'.join(o.KINDS)}) ({NO_CODE}|{OTHER_CODE}|[1-9][0-9]{{2}})")


class End(NamedTuple):
    """One end of a run: ``id`` is the policy's, ``run`` vm_jobs.run_id; ``seconds`` of its slot, ``at`` Unix s."""

    id: str
    run: str
    kind: str
    code: int | None
    started: bool
    seconds: float
    worked: bool
    at: float


@dataclass(frozen=True)
class Totals:
    """Totals since ``since`` (Unix s; None: nothing was counted yet), and what they need to count nothing twice.

    ``ends``: VMs by "KIND CODE". ``worked_seconds`` and ``wasted_seconds``: from match to end, of VMs that showed
    work and of those that did not. ``seen``: the last observation. ``runs``: those on a host then, with their start.
    ``counted``: ends that were taken in, with their time.
    """

    since: float | None = None
    seen: float | None = None
    cycles: int = 0
    failed_cycles: int = 0
    submitted: int = 0
    started: int = 0
    worked_seconds: float = 0.0
    wasted_seconds: float = 0.0
    ends: Mapping[str, int] = field(default_factory=dict)
    runs: Mapping[str, float] = field(default_factory=dict)
    counted: Mapping[str, float] = field(default_factory=dict)

    def after_cycle(self, submitted: int, *, failed: bool) -> Totals:
        """The totals with one cycle more, which submitted so many VMs."""
        return replace(
            self,
            cycles=self.cycles + 1,
            failed_cycles=self.failed_cycles + failed,
            submitted=self.submitted + submitted,
        )

    def after(self, jobs: Sequence[Job], seen: o.Observation, missed: Iterable[End], worked: Collection[str]) -> Totals:
        """The totals after an observation of the queue, made of these ``jobs``, and of the history's ``missed`` ends.

        ``worked``: runs that had shown work before.
        """
        now, ended = seen.now, [*missed, *ends(jobs, seen.ended)]
        present = {job.id for job in jobs}
        starts = {machine.id: machine.started for machine in seen.machines}
        on_host = {vm_jobs.run_id(job): starts.get(job.id) or job.entered for job in jobs if job.state in ON_HOST}
        known = {end.id: end for end in ended}
        fresh = [] if self.since is None else [end for end in known.values() if end.id not in self.counted]
        over = {end.run for end in known.values()}
        running = {_job(run) for run in on_host}
        fresh += self._vanished(present, on_host, over, worked, now)
        started = 0
        if self.since is not None:
            new = {*on_host, *(end.run for end in fresh if end.started)}
            started = len(new - self.runs.keys())
        counted = {**self.counted, **{end.id: end.at for end in known.values()}}
        return replace(
            self._with_ends(fresh),
            since=now if self.since is None else self.since,
            seen=now,
            started=self.started + started,
            # A job that is held without an end may still show one.
            runs={**_of(self.runs, present - running - {_job(run) for run in over}), **on_host},
            counted={name: at for name, at in counted.items() if at > now - _OVERLAP_SECONDS or _job(name) in present},
        )

    def missed(self, ended: Iterable[End]) -> list[End]:
        """Those of the history's ends that came after the last observation, or may have; before the first all."""
        return [end for end in ended if self.seen is None or end.at > self.seen - _OVERLAP_SECONDS]

    def _vanished(
        self, present: set[str], on_host: Mapping[str, float], over: set[str], worked: Collection[str], now: float
    ) -> list[End]:
        """Runs that ended without an end that can be read: removed with their job, or begun anew in between."""
        until = min(now if self.seen is None else self.seen, now)
        running = {_job(run) for run in on_host}
        found = []
        for run, begun in self.runs.items():
            job = _job(run)
            if run in on_host or run in over or (job in present and job not in running):
                continue
            kind = o.LOST if job in present else o.WITHDRAWN
            found.append(End(run, run, kind, None, True, max(0.0, until - begun), run in worked, now))
        return found

    def _with_ends(self, fresh: Sequence[End]) -> Totals:
        ends = dict(self.ends)
        for end in fresh:
            row = _row(ends, end)
            ends[row] = ends.get(row, 0) + 1
        return replace(
            self,
            ends=ends,
            worked_seconds=self.worked_seconds + sum(end.seconds for end in fresh if end.worked),
            wasted_seconds=self.wasted_seconds + sum(end.seconds for end in fresh if not end.worked),
        )


def ends(jobs: Sequence[Job], seen: Sequence[o.Ended]) -> list[End]:
    """The ends that an observation has, with their codes, of the ``jobs`` that it was made of."""
    return [
        End(
            end.id,
            vm_jobs.run_id(job),
            end.kind,
            None if left is None else left.code,
            end.started is not None,
            end.life,
            end.works,
            job.entered,
        )
        for end, job, left in vm_jobs.endings(jobs, seen)
    ]


def _job(name: str) -> str:
    """The job of a run's id or of an end's."""
    return name.partition(":")[0]


def _of(runs: Mapping[str, float], jobs: set[str]) -> dict[str, float]:
    return {run: begun for run, begun in runs.items() if _job(run) in jobs}


def _row(known: Mapping[str, int], end: End) -> str:
    """The row of an end; their number is bounded, whatever codes guests give."""
    if end.code is None:
        return f"{end.kind} {NO_CODE}"
    row = f"{end.kind} {end.code}"
    if end.code in PLATFORM_CODES or row in known:
        return row
    others = sum(1 for name in known if name.split()[1].isdigit() and int(name.split()[1]) not in PLATFORM_CODES)
    return row if others < MOST_OTHER_CODES else f"{end.kind} {OTHER_CODE}"


def _ends(value: Any) -> None:
    by_name(natural)(value)
    for row in value:
        if not _END.fullmatch(row):
            raise ValueError(f"{row!r}: not a kind of end and a code")


def _total(value: Any) -> None:
    number(value)
    if value < 0:
        raise ValueError("must be 0 or more")


SCHEMA = record(
    version=exactly(VERSION),
    since=optional(number),
    seen=optional(number),
    cycles=natural,
    failed_cycles=natural,
    submitted=natural,
    started=natural,
    worked_seconds=_total,
    wasted_seconds=_total,
    ends=_ends,
    runs=by_name(number),
    counted=by_name(number),
)


def save(directory: str, totals: Totals) -> None:
    """Replace the file. Raises VacError."""
    data = json.dumps({"version": VERSION, **asdict(totals)}, sort_keys=True)
    atomic.write(os.path.join(directory, NAME), data.encode() + b"\n")


def load(directory: str) -> Totals:
    """The totals in the file; none if there is no file. Raises VacError if it is damaged."""
    where = os.path.join(directory, NAME)
    if not os.path.lexists(where):
        return Totals()
    try:
        data = json.loads(atomic.read(where, LIMIT))
        SCHEMA(data)
    except (ValueError, RecursionError) as error:
        raise VacError(f"{where}: not a factory's totals of this version ({error}); remove it") from error
    del data["version"]
    return Totals(**data)
