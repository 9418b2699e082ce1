# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether each VM job that was submitted has one end, and no VM's work was done twice, by HTCondor's own records."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.experiment.records import Try

COMPLETED, REMOVED = 4, 3
# A VM that has done so many tasks ends with 200 (user_data_options of site.yml).
TASKS_PER_VM = 2
# Ends of a try after which HTCondor runs the job again: not the VM's own.
INTERRUPTED = frozenset({"evicted", "failed", "lost", "held", "removed"})

Ad = Mapping[str, Any]


def job_of(ad: Ad) -> str:
    """CLUSTER.PROC of an ad."""
    return f"{ad['ClusterId']}.{ad['ProcId']}"


def wrong(
    submitted: Iterable[str], queue: Sequence[Ad], history: Sequence[Ad], tries: Mapping[str, Sequence[Try]]
) -> list[str]:
    """A line for each job that is not accounted for exactly once: in the history, ended or removed, with one end.

    ``submitted`` are the jobs by their event logs, ``tries`` what those say of each job's runs.
    """
    found = [f"job {job_of(ad)} is still in the queue (JobStatus {ad['JobStatus']})" for ad in queue]
    times = Counter(job_of(ad) for ad in history)
    found += [f"job {job} is {number} times in the history" for job, number in times.items() if number > 1]
    gone = set(submitted) - set(times) - {job_of(ad) for ad in queue}
    found += [f"job {job} was submitted, and is neither in the queue nor in the history" for job in _sorted(gone)]
    for ad in history:
        found += _odd(ad, tries.get(job_of(ad), ()))
    return found


def _odd(ad: Ad, tries: Sequence[Try]) -> list[str]:
    job, state = job_of(ad), ad["JobStatus"]
    found = []
    if state not in {COMPLETED, REMOVED}:
        found.append(f"job {job} left the queue with JobStatus {state}")
    ends = [one.end for one in tries].count("terminated")
    if ends > 1:
        found.append(f"job {job} has terminated {ends} times")
    return found


def unrecorded(history: Iterable[Ad]) -> list[str]:
    """A line for each job that is completed without a record of how its VM ended.

    A VM whose lease is gone is destroyed, and with the lease went what would record its end.
    """
    found = (ad for ad in history if ad["JobStatus"] == COMPLETED and not {"VacEnded", "VacOutcome"} & set(ad))
    return [f"job {job_of(ad)} is completed, and how its VM ended was not recorded" for ad in found]


def twice(
    vms: Mapping[str, str], tasks: Mapping[str, int], tries: Mapping[str, Sequence[Try]]
) -> tuple[list[str], list[str]]:
    """Jobs of which two VMs did all their work: without an interruption that explains it, and with one.

    ``vms`` are UUID to job, ``tasks`` how many each VM has done.
    """
    did_all: dict[str, list[str]] = defaultdict(list)
    for uuid, job in vms.items():
        if tasks.get(uuid, 0) >= TASKS_PER_VM:
            did_all[job].append(uuid)
    unexplained: list[str] = []
    explained: list[str] = []
    for job in _sorted(job for job, uuids in did_all.items() if len(uuids) > 1):
        ran = [one for one in tries.get(job, ()) if one.executed]
        ends = ", ".join(one.end or "?" for one in ran)
        line = f"job {job}: {len(did_all[job])} VMs did all their work; its runs: {ends}"
        good = len(ran) > 1 and all(one.end in INTERRUPTED for one in ran[:-1])
        (explained if good else unexplained).append(line)
    return unexplained, explained


def uneven(ad: Ad, tries: Sequence[Try]) -> str:
    """Where HTCondor's count of starts is not that of the event log: '' if it is.

    ``NumJobStarts`` counts runs that came to their VM; a log may lack what a killed schedd or shadow did not write.
    """
    starts, seen = ad.get("NumJobStarts", 0), sum(one.executed for one in tries)
    return "" if starts == seen else f"job {job_of(ad)}: NumJobStarts is {starts}, its log has {seen}"


def by_code(history: Iterable[Ad]) -> dict[str, int]:
    """How many VMs ended with each code: "200", …; "none" without one, by its cause; "removed" before an end."""
    counts = Counter(_code(ad) for ad in history)
    return dict(sorted(counts.items()))


def _code(ad: Ad) -> str:
    code = ad.get("ShutdownCode")
    if isinstance(code, int):
        return str(code)
    if ad["JobStatus"] == REMOVED and "VacCause" not in ad:
        return "removed"
    return f"none ({ad.get('VacCause', 'not recorded')})"


def _sorted(jobs: Iterable[str]) -> list[str]:
    return sorted(jobs, key=lambda job: tuple(map(int, job.split("."))))
