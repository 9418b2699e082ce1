# SPDX-License-Identifier: GPL-3.0-or-later
"""Every machinetype's factory, its VMs by state, how the last ones ended, and what the factory decided and why.

IDLE VMs wait for a slot, RUNNING includes WORKS (VMs that show work), MAX is max_machines, ENDED counts
shutdown codes of the VMs that are still in the queue after their end (an hour).

--json: {"time": Unix s, "machinetypes": {NAME: {factory, factory_job, idle, running, works, held,
ended: {CODE or "none": number}, last: {time, submit, error, reasons, numbers}, max_machines, problems}}}

Exit code: 0 all is well, 1 a machinetype has a problem or no running factory, 2 bad usage.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from condor_vac.base import table
from condor_vac.base.shared import one_line
from condor_vac.cli import survey
from condor_vac.condor.pool import Pool
from condor_vac.factory import day
from condor_vac.factory import state as factory_state

_COLUMNS = ("MACHINETYPE", "FACTORY", "IDLE", "RUNNING", "WORKS", "HELD", "MAX", "ENDED", "LAST DECISION")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``condor_vac status``."""
    survey.add_arguments(parser, __doc__)
    survey.add_watch(parser)


def run(args: argparse.Namespace) -> int:
    """Print the status; 1 if a machinetype has a problem or no factory that acts."""
    pool = Pool(args.bindings)
    return survey.show(args, lambda: _report(args, pool))


def _report(args: argparse.Namespace, pool: Pool) -> int:
    now = survey.now()
    report = {view.name: describe(view, now) for view in survey.survey(args, pool)}
    if args.json:
        survey.print_json(args, {"time": now, "machinetypes": report})
    else:
        _print(report)
    return 0 if all(_good(entry) for entry in report.values()) else 1


def _good(entry: dict[str, Any]) -> bool:
    failed = entry["last"] is not None and entry["last"]["error"] is not None
    return entry["factory"] == "running" and not entry["problems"] and not failed


def describe(view: survey.View, now: float) -> dict[str, Any]:
    """One machinetype's entry of the report."""
    active = [job for job in view.factories if job.status != "removed"]
    return {
        "factory": active[0].status if active else "none",
        "factory_job": active[0].id if active else None,
        **day.figures(day.seen_now(job, view.works(job, now)) for job in view.jobs),
        "last": factory_state.shown(view.state.last),
        "max_machines": view.machinetype.max_machines if view.machinetype else None,
        "problems": [
            *view.problems,
            *survey.delays(view, now),
            *(f"{found.what}; {found.remedy}" for found in survey.held(view)),
            *survey.shortened(view.damage),
        ],
    }


def _print(report: dict[str, dict[str, Any]]) -> None:
    rows = [_COLUMNS, *(_row(name, entry) for name, entry in report.items())]
    print("\n".join(table.columns(rows, table.terminal())))
    for name, entry in report.items():
        last = entry["last"]
        for line in [*(last["reasons"] or [] if last else []), *entry["problems"]]:
            print(f"{name}: {one_line(line)}")
    if not report:
        print("no machinetypes: no file and no job in the queue")


def _row(name: str, entry: dict[str, Any]) -> tuple[str, ...]:
    ended = " ".join(f"{code}:{number}" for code, number in sorted(entry["ended"].items()))
    last = entry["last"]
    decision = "none yet"
    if last:
        decision = f"{time.strftime('%H:%M:%S', time.localtime(last['time']))} submit {last['submit']}"
    numbers = (entry["idle"], entry["running"], entry["works"], entry["held"], entry["max_machines"])
    return (name, entry["factory"], *("?" if n is None else str(n) for n in numbers), ended or "-", decision)
