# SPDX-License-Identifier: GPL-3.0-or-later
"""What a factory leaves for ``condor_vac page`` beside its state: its VMs in the queue, and those that ended lately.

``queue.json`` is written whole in each cycle. ``ends.jsonl`` has one JSON object a line, appended when an end is first
seen; it is cut to the last day, and to `MOST_ENDS`, when a factory starts and once an hour. Neither is read for a
decision: without them, or with a damaged line in them, a factory decides the same.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from condor_vac.base import atomic, json_text
from condor_vac.base.errors import VacError
from condor_vac.base.shared import JobStatus, one_line
from condor_vac.condor.pool import JOB_ID
from condor_vac.factory import vm_jobs
from condor_vac.factory.job_ad import HOST_NAME, ON_HOST, Job
from condor_vac.model import outcome
from condor_vac.model.machinetype import Machinetype
from condor_vac.policy.observation import KINDS, Ended
from condor_vac.policy.schema import exactly, flag, many, matching, natural, number, one_of, optional, record, row, text
from condor_vac.policy.words import count

VERSION = 1
QUEUE, ENDS = "queue.json", "ends.jsonl"
DAY_SECONDS = 86400.0
MOST_ENDS = 20_000
TIDY_SECONDS = 3600.0
LIMIT = 64 << 20


class Vm(NamedTuple):
    """One VM job in the queue. ``state`` is HTCondor's JobStatus, or 0; ``started`` is Unix s.

    ``code`` is the shutdown code of one that has completed, None without one.
    """

    id: str
    state: int
    host: str | None
    started: float | None
    works: bool
    code: int | None


class End(NamedTuple):
    """One run of a VM that ended: ``id`` is its job's, with ``:NUMBER`` where the job went on without it.

    Times are Unix s, ``kind`` is one of `KINDS`, ``works`` is whether it had shown work.
    """

    id: str
    host: str | None
    started: float | None
    ended: float
    code: int | None
    kind: str
    message: str | None
    works: bool


class Seen(NamedTuple):
    """What the two files of a factory hold. ``time``: of ``vms``, None without them. ``problems``: with a remedy."""

    time: float | None
    vms: Sequence[Vm]
    ends: Sequence[End]
    problems: Sequence[str]


def _short(value: Any) -> None:
    text(value)
    if len(value) > outcome.TEXT_LIMIT:
        raise ValueError(f"must be at most {outcome.TEXT_LIMIT} characters")


_RUN = rf"{JOB_ID.pattern}(:[0-9]+)?"
_QUEUE = record(
    version=exactly(VERSION),
    time=number,
    vms=many(row(text, natural, optional(matching(HOST_NAME)), optional(number), flag, optional(natural))),
)
_END = record(
    id=matching(_RUN),
    host=optional(matching(HOST_NAME)),
    started=optional(number),
    ended=number,
    code=optional(natural),
    kind=one_of(*KINDS),
    message=optional(_short),
    works=flag,
)


def seen_now(job: Job, works: bool) -> Vm:
    """A job of the queue as it is left in the file."""
    code = job.ended.code if job.state == JobStatus.COMPLETED and job.ended is not None else None
    return Vm(job.id, job.state, job.host, job.vm_started or job.started, works, code)


def figures(vms: Iterable[Vm]) -> dict[str, Any]:
    """How many there are of each state, how many show work, and the codes of those that have completed."""
    states: Counter[int] = Counter()
    codes: Counter[str] = Counter()
    works = 0
    for vm in vms:
        states[vm.state] += 1
        works += vm.works
        if vm.state == JobStatus.COMPLETED:
            codes["none" if vm.code is None else str(vm.code)] += 1
    return {
        "idle": states[JobStatus.IDLE],
        "running": sum(states[state] for state in ON_HOST),
        "works": works,
        "held": states[JobStatus.HELD],
        "ended": dict(codes),
    }


class Day:
    """The writer, for the life of a factory; ``directory`` is its state's. Nothing is written before `save`."""

    def __init__(self, directory: str) -> None:
        self._queue = os.path.join(directory, QUEUE)
        self._ends = os.path.join(directory, ENDS)
        self._new: dict[str, End] = {}
        # Runs of the last day whose ends are, or were, in the file, and when they ended.
        self._known: dict[str, float] = {}
        # When the file was last written anew; None: before anything is appended to it.
        self._tidied: float | None = None

    def take(self, jobs: Iterable[Job], ended: Iterable[Ended]) -> None:
        """Note the ends among these jobs; ``ended`` is what the policy is shown of them."""
        for end, job, left in vm_jobs.endings(jobs, ended):
            if end.id in self._new or end.id in self._known or not JOB_ID.fullmatch(job.id):
                continue
            code, message = (None, None) if left is None else (left.code, left.message)
            self._new[end.id] = End(end.id, end.host, end.started, end.ended, code, end.kind, message, end.works)

    def save(self, jobs: Iterable[Job], m: Machinetype, now: float, worked: Collection[str]) -> dict[str, str]:
        """Write both files; ``worked`` are runs that have shown work. What prevents it, by file: a factory goes on."""
        vms = [seen_now(job, vm_jobs.has_worked(job, m, now, worked)) for job in jobs]
        try:
            data = {"version": VERSION, "time": now, "vms": vms}
            atomic.write(self._queue, json.dumps(data, separators=(",", ":")).encode() + b"\n")
            if self._tidied is None or now - self._tidied >= TIDY_SECONDS:
                self._tidy(now)
            elif self._new:
                self._append()
        except VacError as error:
            return {self._queue: f"nothing new for condor_vac page: {error}"}
        return {}

    def _tidy(self, now: float) -> None:
        """Write the file anew, without what is older than a day, beyond the most, or damaged. Raises VacError."""
        ends = {**self._new, **{end.id: end for end in _read_ends(self._ends, [])}}
        last = sorted((end for end in ends.values() if end.ended >= now - DAY_SECONDS), key=lambda end: end.ended)
        atomic.write(self._ends, _lines(last[-MOST_ENDS:]))
        known = {**self._known, **{end.id: end.ended for end in ends.values()}}
        # An end stays in the queue for an hour or more: what is older than a day is not forgotten at once.
        self._known = {name: ended for name, ended in known.items() if ended >= now - 2 * DAY_SECONDS}
        self._new, self._tidied = {}, now

    def _append(self) -> None:
        """Append the new ends. Raises VacError; then the next time the file is written anew, without a torn line."""
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with os.fdopen(os.open(self._ends, flags, 0o644), "ab") as stream:
                stream.write(_lines(self._new.values()))
        except OSError as error:
            self._tidied = None
            raise VacError(f"{self._ends}: cannot write: {error.strerror}; check space, quota and its owner") from error
        self._known.update((end.id, end.ended) for end in self._new.values())
        self._new = {}


def read(directory: str, now: float) -> Seen:
    """What a factory has left in its directory; ends of the last day alone, and none that is to come."""
    problems: list[str] = []
    time, vms = _read_queue(os.path.join(directory, QUEUE), problems)
    ends = [end for end in _read_ends(os.path.join(directory, ENDS), problems) if now - DAY_SECONDS <= end.ended <= now]
    return Seen(time, vms, ends, problems)


def _read_queue(path: str, problems: list[str]) -> tuple[float | None, list[Vm]]:
    if not os.path.lexists(path):
        return None, []
    try:
        data = json_text.loads(atomic.read(path, LIMIT))
        _QUEUE(data)
    except VacError as error:
        problems.append(str(error))
    except ValueError as error:
        problems.append(f"{path}: damaged ({one_line(str(error), outcome.TEXT_LIMIT)}); its factory writes it anew")
    else:
        return data["time"], [Vm(*each) for each in data["vms"]]
    return None, []


def _read_ends(path: str, problems: list[str]) -> list[End]:
    """The ends in the file, each run once; lines that cannot be read are left out and counted."""
    if not os.path.lexists(path):
        return []
    try:
        lines = atomic.read(path, LIMIT).splitlines()
    except VacError as error:
        problems.append(str(error))
        return []
    found: dict[str, End] = {}
    damaged = 0
    for line in lines:
        try:
            data = json_text.loads(line)
            _END(data)
            found[data["id"]] = End(**data)
        except ValueError:
            damaged += 1
    if damaged:
        problems.append(f"{path}: {count(damaged, 'line')} damaged and left out; its factory drops them within an hour")
    return list(found.values())


def _lines(ends: Iterable[End]) -> bytes:
    return "".join(json.dumps(end._asdict(), separators=(",", ":")) + "\n" for end in ends).encode()
