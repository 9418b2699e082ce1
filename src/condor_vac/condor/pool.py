# SPDX-License-Identifier: GPL-3.0-or-later
"""The only code that talks to a schedd or a collector: HTCondor's Python bindings, behind a few checked
calls.

Works with htcondor2 (23.10 and later; also 23.9.6) and with htcondor version 1, and hides where they differ:
exceptions of many kinds, values that are expressions, ``job_spec=""`` that means every job. Whatever goes
wrong raises PoolError; nothing is retried here, and nothing that failed is returned as "no jobs".
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from condor_vac.base import apart
from condor_vac.base.errors import VacError
from condor_vac.base.shared import JobStatus, one_line

DEFAULT_CONFIG = "/etc/condor/condor_config"
BINDINGS = (("htcondor2", "classad2"), ("htcondor", "classad"))
JOB_ID = re.compile(r"[0-9]+\.[0-9]+")

Ad = Mapping[str, Any]

# What matching one slot with a job may take: a thousand times what sane ads do.
_MATCH_SECONDS = 1.0
_MATCH_BYTES = 256 << 20


class PoolError(VacError):
    """The schedd or collector did not answer, or not as it should have."""


class Unreadable:
    """A ClassAd value that is an expression or an error where a plain value was expected."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"expression {self.text[:60]!r}"


_READ = frozenset({bool, int, float, str, Unreadable})


class Matching(NamedTuple):
    """``wanted`` slots meet a job's requirements, ``both`` of them accept it; of ``unknown`` machines that is open.

    The evaluation of an ad of theirs failed, or took too much time or memory.
    """

    wanted: int
    both: int
    unknown: Sequence[str]


class Pool:
    """The local schedd and the collector it names, found anew for each call (both may have moved).

    ``bindings`` is for tests of the two generations: ``"htcondor2"``, ``"htcondor"``, or None for the first
    that this Python has.
    """

    def __init__(self, bindings: str | None = None) -> None:
        # The bindings read it when they are imported, and warn on stderr if there is none.
        os.environ.setdefault("CONDOR_CONFIG", DEFAULT_CONFIG)
        self._condor, self._classad = _bindings(bindings)
        own: type[Exception] = getattr(self._condor, "HTCondorException", RuntimeError)
        # Version 2 raises built-in exceptions, version 1 its own; anything else is a fault of this program.
        self._errors = (own, RuntimeError, OSError, ValueError, TypeError, KeyError, IndexError)

    @property
    def bindings(self) -> str:
        """The name of the bindings in use."""
        return str(self._condor.__name__)

    def jobs(self, constraint: str, projection: Sequence[str], limit: int = -1) -> list[dict[str, Any]]:
        """The jobs that match, each with the attributes of ``projection`` that it has. Raises PoolError."""
        try:
            ads = self._schedd().query(constraint=constraint, projection=list(projection), limit=limit)
            return [self._plain(ad, projection) for ad in ads]
        except self._errors as error:
            raise PoolError(
                f"schedd query failed: {_line(error)}; run this on an access point, with condor_schedd running"
                " (systemctl status condor; its SchedLog)"
            ) from error

    def history(self, constraint: str, projection: Sequence[str], limit: int) -> list[dict[str, Any]]:
        """The newest ``limit`` matching jobs that have left the queue. Raises PoolError."""
        try:
            ads = self._schedd().history(constraint, list(projection), match=limit)
            return [self._plain(ad, projection) for ad in ads]
        except self._errors as error:
            raise PoolError(f"schedd history failed: {_line(error)}; does condor_history work?") from error

    def slots(self, constraint: str, projection: Sequence[str]) -> list[dict[str, Any]]:
        """The slots of the pool that match. Raises PoolError."""
        try:
            kinds = getattr(self._condor, "AdType", None) or self._condor.AdTypes
            ads = self._condor.Collector().query(kinds.Startd, constraint=constraint, projection=list(projection))
            return [self._plain(ad, projection) for ad in ads]
        except self._errors as error:
            raise PoolError(f"collector query failed: {_line(error)}; is condor_collector running?") from error

    def setting(self, name: str, default: str) -> str:
        """A variable of this machine's HTCondor configuration; ``default`` where it is not set. Raises PoolError."""
        try:
            return str(self._condor.param[name])
        except KeyError:
            return default
        except self._errors as error:
            raise PoolError(
                f"HTCondor's configuration cannot be read: {_line(error)}; see condor_config_val"
            ) from error

    def matching(self, job: str, constraint: str) -> Matching:
        """How many of these slots meet the job's requirements, and how many of them accept it. Raises VacError."""
        try:
            jobs = self._schedd().query(constraint=by_id([job]))
            kinds = getattr(self._condor, "AdType", None) or self._condor.AdTypes
            slots = self._condor.Collector().query(kinds.Startd, constraint=constraint)
            if not jobs:
                raise PoolError(f"job {job} has left the queue; ask again")
        except self._errors as error:
            raise PoolError(f"matching {job} failed: {_line(error)}; is condor_collector running?") from error

        def look(number: int) -> int:
            # X.matches(Y): X is what Y's requirements ask for.
            return int(bool(slots[number].matches(jobs[0]))) and 1 + int(bool(jobs[0].matches(slots[number])))

        # Who wrote an ad chose how much time and memory its evaluation takes.
        found = apart.each(look, len(slots), seconds=_MATCH_SECONDS, memory_bytes=_MATCH_BYTES)
        unknown = {str(self._plain(slot, ["Machine"]).get("Machine")) for slot, one in zip(slots, found) if one is None}
        return Matching(sum(bool(one) for one in found), found.count(2), sorted(unknown))

    def submit(self, commands: Mapping[str, str], count: int) -> int:
        """Submit ``count`` jobs as one cluster, in one transaction: all or none. Returns the cluster's
        number.

        What differs between the jobs comes from ``$(ProcId)``, which counts from 0: htcondor2's itemdata
        costs twenty times as much. Raises PoolError; the jobs may then exist all the same if the connection
        broke at the last moment, so the caller looks for them before it submits again.
        """
        if count < 1:
            raise PoolError(f"submit: the number of jobs must be at least 1; it is {count}")
        try:
            result = self._schedd().submit(self._condor.Submit(dict(commands)), count=count)
            cluster, procs = int(result.cluster()), int(result.num_procs())
        except self._errors as error:
            raise PoolError(f"submit failed: {_line(error)}; see condor_submit -dry-run") from error
        if procs != count:
            raise PoolError(f"submit: cluster {cluster} has {procs} jobs instead of {count}")
        return cluster

    def remove(self, ids: Sequence[str], reason: str, only_if: str = "True") -> int:
        """Remove those jobs for which ``only_if`` holds at that moment; how many were. Raises PoolError."""
        return self._act("Remove", ids, reason, only_if)

    def release(self, ids: Sequence[str], reason: str) -> int:
        """Release held jobs; how many were. Raises PoolError."""
        return self._act("Release", ids, reason, "True")

    def remove_for_good(self, ids: Sequence[str], reason: str) -> int:
        """Forget removed jobs whose host is unreachable (condor_rm -forcex). Return how many. Raises PoolError."""
        return self._act("RemoveX", ids, reason, f"JobStatus == {JobStatus.REMOVED}")

    def edit(self, ids: Sequence[str], attribute: str, expression: str, only_if: str = "True") -> None:
        """Set an attribute of the jobs for which ``only_if`` holds. Raises PoolError."""
        if not ids:
            return
        which = by_id(ids, only_if)
        try:
            self._schedd().edit(which, attribute, expression)
        except self._errors as error:
            # The bindings call it the same error when nothing matches any more, which is harmless.
            if not self.jobs(which, ["ClusterId"], limit=1):
                return
            raise PoolError(f"edit of {attribute} failed: {_line(error)}") from error

    def _act(self, action: str, ids: Sequence[str], reason: str, only_if: str) -> int:
        if not ids:
            return 0
        verb = getattr(self._condor.JobAction, action)
        try:
            # Version 2 drops a reason that is not in a tuple, version 1 takes no None in one.
            why = (reason, None) if self.bindings == "htcondor2" else reason
            result = self._schedd().act(verb, by_id(ids, only_if), why)
            return int(result["TotalSuccess"])
        except self._errors as error:
            raise PoolError(f"{action.lower()} of {len(ids)} jobs failed: {_line(error)}") from error

    def _schedd(self) -> Any:
        return self._condor.Schedd()

    def _plain(self, ad: Any, projection: Sequence[str]) -> dict[str, Any]:
        """The projected attributes as Python values; ``undefined`` left out, an expression Unreadable.

        Nothing is evaluated: who wrote an expression into an ad chose how much time and memory that takes.
        """
        return {name: value for name, value in self._values(ad, projection) if value is not None}

    def _values(self, ad: Any, projection: Sequence[str]) -> Iterator[tuple[str, Any]]:
        for name in projection:
            try:
                value = ad[name]
            except KeyError:
                continue
            except self._errors as error:
                # One attribute of one job, such as a text that is not UTF-8.
                value = Unreadable(_line(error))
            # The bindings' Value (undefined, error) is a subclass of int.
            yield name, value if type(value) in _READ else self._special(value)

    def _special(self, value: Any) -> Unreadable | None:
        undefined = value is None or value == self._classad.Value.Undefined
        return None if undefined else Unreadable(str(value))


def job_id(ad: Mapping[str, Any]) -> str:
    """CLUSTER.PROC of a job's ad."""
    return f"{ad.get('ClusterId')}.{ad.get('ProcId')}"


def by_id(ids: Sequence[str], only_if: str = "True") -> str:
    """A constraint for exactly these jobs. Raises PoolError for no ids, or what is not CLUSTER.PROC."""
    if not ids:
        raise PoolError("no job named; an empty list would mean every job in the queue")
    clusters: dict[int, list[int]] = {}
    for name in ids:
        if not JOB_ID.fullmatch(name):
            raise PoolError(f"{name[:40]!r} is not a job id of the form CLUSTER.PROC")
        cluster, proc = name.split(".")
        clusters.setdefault(int(cluster), []).append(int(proc))
    parts = [
        f"ClusterId == {cluster} && ({' || '.join(f'ProcId == {proc}' for proc in procs)})"
        for cluster, procs in clusters.items()
    ]
    return f"({only_if}) && ({' || '.join(f'({part})' for part in parts)})"


def owned(owners: Collection[str]) -> str:
    """The part of a constraint that takes these users' jobs, and of none of them no job."""
    return f"({' || '.join(f'Owner == {chr(34)}{owner}{chr(34)}' for owner in sorted(owners)) or 'False'})"


def _bindings(wanted: str | None) -> tuple[Any, Any]:
    for condor, classad in BINDINGS:
        if wanted in {None, condor}:
            try:
                return importlib.import_module(condor), importlib.import_module(classad)
            except ModuleNotFoundError as error:
                missing = error
    raise PoolError(
        f"HTCondor's Python bindings are missing ({missing.name}); run this on an access point, or install condor "
        "(EL: python3-condor)"
    )


def _line(error: Exception) -> str:
    return one_line(str(error), 300) or type(error).__name__
