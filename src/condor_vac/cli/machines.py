# SPDX-License-Identifier: GPL-3.0-or-later
"""Every VM in the queue with state, host, age, CPU use and outcome; those that ended stay for an hour.
With --ended, the VMs that ended in that time, from the queue and from HTCondor's history.

AGE counts from the start (of an idle VM, from its submission), CPU the use of each of its processors (0 to
1), WORKS whether it has shown work, CODE and KIND how it ended. Text that a guest wrote (MESSAGE) is shown
as one line of printable text.

--json: a list of {id, machinetype, state, host, submitted, started, age, runtime, cpu, works, heartbeat,
code, kind, message, cause, hold_reason}; times in Unix seconds (heartbeat: when its file was last seen to
be updated), age and runtime in seconds, what is not known null.
--ended --json: a list of {id, uuid, machinetype, owner, state, host, submitted, started, ended, life, code, kind,
cause, message, reason}, the last to end at the end; life in seconds, reason HTCondor's for a removal.

Exit code: 0 good, 1 a machinetype's VMs cannot be read, 2 bad usage.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from condor_vac.base import table
from condor_vac.base.errors import UsageError
from condor_vac.base.shared import JobStatus, one_line
from condor_vac.cli import past, survey, times
from condor_vac.condor.pool import Pool
from condor_vac.factory import job_ad
from condor_vac.factory.job_ad import Job
from condor_vac.model import outcome

# Of a VM, not of its job: it is over when its job is completed, and exists while its output is transferred.
_COLUMNS = ("ID", "MACHINETYPE", "STATE", "HOST", "AGE", "CPU", "WORKS", "CODE", "KIND", "MESSAGE")
_ENDED_COLUMNS = ("ID", "MACHINETYPE", "HOST", "ENDED", "LIFE", "CODE", "KIND", "CAUSE", "MESSAGE")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``condor_vac machines``."""
    parser.add_argument("machinetype", nargs="?", metavar="MACHINETYPE", help="only the VMs of this one")
    survey.add_arguments(parser, __doc__)
    survey.add_watch(parser)
    parser.add_argument(
        "--ended", type=times.span, metavar="TIME", help="the VMs that ended in this time, such as 90m, 24h or 7d"
    )


def run(args: argparse.Namespace) -> int:
    """Print the VMs; 1 if a machinetype's VMs could not be understood."""
    pool = Pool(args.bindings)
    if args.ended is not None:
        if args.watch is not None:
            raise UsageError("--ended reads the whole history of its time: use it without --watch")
        return _report_ended(args, pool)
    return survey.show(args, lambda: _report(args, pool))


def _report(args: argparse.Namespace, pool: Pool) -> int:
    now = survey.now()
    views = survey.survey(args, pool, args.machinetype)
    machines = [describe(view, job, now) for view in views for job in view.jobs]
    if args.json:
        survey.print_json(args, machines)
    else:
        _print(machines)
    for view in views:
        for problem in [*view.problems, *survey.shortened(view.damage)]:
            print(f"{view.name}: {one_line(problem)}", file=sys.stderr)
    return 1 if any(view.problems for view in views) else 0


def _report_ended(args: argparse.Namespace, pool: Pool) -> int:
    found = past.ended(args, pool, survey.now() - args.ended, args.machinetype)
    if args.json:
        survey.print_json(args, found.entries)
    else:
        print("\n".join(ended_table(found.entries)))
    for sentence in [past.cut(found.entries), *survey.shortened(found.damage)]:
        if sentence:
            print(one_line(sentence), file=sys.stderr)
    return 0


def ended_table(entries: list[dict[str, Any]]) -> list[str]:
    """A line for each of past.py's VMs, below the columns' names."""
    rows = [
        (
            entry["id"],
            entry["machinetype"] or "-",
            entry["host"] or "-",
            times.shown(entry["ended"]) if entry["ended"] else entry["state"],
            survey.duration(entry["life"]),
            "-" if entry["code"] is None else str(entry["code"]),
            entry["kind"] or "-",
            entry["cause"] or "-",
            entry["message"] or entry["reason"] or "",
        )
        for entry in entries
    ]
    return table.columns([_ENDED_COLUMNS, *rows], table.terminal())


def describe(view: survey.View, job: Job, now: float) -> dict[str, Any]:
    """One VM's entry of the report."""
    ad = view.ads[job.id]
    over = job.ended if job.state in {JobStatus.COMPLETED, JobStatus.HELD} else None
    end = over.time if over else (job.entered if job.state == JobStatus.COMPLETED else now)
    start = job.vm_started or job.started
    runtime = over.runtime if over and over.runtime is not None else (end - start if start else None)
    return {
        "id": job.id,
        "machinetype": view.name,
        "state": past.STATES.get(job.state, "unknown"),
        "host": job.host,
        "submitted": job.submitted,
        "started": start if job.state != JobStatus.IDLE else None,
        "age": now - job.submitted,
        "runtime": runtime if job.state != JobStatus.IDLE else None,
        "cpu": job.fraction,
        "works": view.works(job, now),
        "heartbeat": job_ad.moment(ad.get("VacHeartbeat"), now),
        "code": over.code if over else None,
        "kind": over.kind if over else None,
        "message": over.message if over else None,
        "cause": _line(over.cause) if over else None,
        "hold_reason": _line(ad.get("HoldReason")) if job.state == JobStatus.HELD else None,
    }


def _line(value: object) -> str | None:
    return None if value is None else one_line(str(value), outcome.TEXT_LIMIT)


def _print(machines: list[dict[str, Any]]) -> None:
    print("\n".join(table.columns([_COLUMNS, *(_row(entry) for entry in machines)], table.terminal())))


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    cpu = entry["cpu"]
    return (
        entry["id"],
        entry["machinetype"],
        entry["state"],
        entry["host"] or "-",
        survey.duration(entry["runtime"] if entry["runtime"] is not None else entry["age"]),
        "-" if cpu is None else f"{cpu:.2f}",
        "yes" if entry["works"] else "no",
        "-" if entry["code"] is None else str(entry["code"]),
        entry["kind"] or "-",
        entry["message"] or entry["hold_reason"] or "",
    )
