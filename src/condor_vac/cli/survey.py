# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machinetypes' files, the queue and the factories' state files show together; read-only.

The base of ``condor_vac status``, ``machines`` and ``explain``: their arguments, the survey itself, and the loop
of ``--watch``. What is wrong with one machinetype is reported with it (``problems``), so that it hides nothing of the
others.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.shared import MACHINETYPE_NAME, MACHINETYPES_DIRECTORY, STATE_DIRECTORY, JobStatus, Universe
from condor_vac.cli.parser import did_you_mean
from condor_vac.condor.pool import Pool, PoolError, job_id
from condor_vac.factory import scheduler_job, vm_jobs
from condor_vac.factory import state as factory_state
from condor_vac.model import machinetype as machinetypes
from condor_vac.model.machinetype import Machinetype

# A factory that has missed so many cycles does not run, whatever its job's status is.
MISSED_CYCLES = 3
EXTRA = (
    "VacMachinetype",
    "Owner",
    "HoldReason",
    "ShutdownMessage",
    "VacHeartbeat",
    "LastRejMatchReason",
    "LastRejMatchTime",
)
PROJECTION = (*vm_jobs.PROJECTION, *EXTRA)


@dataclass(frozen=True)
class View:
    """One machinetype: its data, its VM jobs (checked; raw in ``ads``), its factory's jobs and state."""

    name: str
    machinetype: Machinetype | None
    jobs: Sequence[vm_jobs.Job]
    ads: Mapping[str, Mapping[str, Any]]
    factories: Sequence[scheduler_job.FactoryJob]
    state: factory_state.State
    problems: Sequence[str] = field(default_factory=tuple)

    def works(self, job: vm_jobs.Job, now: float) -> bool:
        """Whether this VM shows work, or its factory has seen it work."""
        if self.machinetype is None or job.state == JobStatus.COMPLETED:
            return False
        return vm_jobs.run_id(job) in self.state.worked or vm_jobs.works(job, self.machinetype, now)


def add_arguments(parser: argparse.ArgumentParser, description: str | None) -> None:
    """What the three commands have in common; ``description`` is shown as it stands."""
    parser.description = description
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--machinetypes", default=MACHINETYPES_DIRECTORY, metavar="DIR", help="default %(default)s")
    parser.add_argument("--state", default=STATE_DIRECTORY, metavar="DIR", help="factories' directories (%(default)s)")
    parser.add_argument("--bindings", choices=("htcondor2", "htcondor"), help="which Python bindings to use")


def add_watch(parser: argparse.ArgumentParser) -> None:
    """The argument of the commands that ``show`` runs."""
    parser.add_argument(
        "--watch",
        type=_interval,
        metavar="SECONDS",
        help="print it again every so many seconds until Ctrl-C (with --json: one line each time)",
    )


def show(args: argparse.Namespace, report: Callable[[], int]) -> int:
    """The exit code of one report or, with --watch, of the last one. A schedd that is away is waited for."""
    if args.watch is None:
        return report()
    code = 0
    try:
        while True:
            if not args.json:
                print(time.strftime("-- %H:%M:%S", time.localtime(now())))
            try:
                code = report()
            except PoolError as error:
                print(f"condor_vac {args.command}: {error}", file=sys.stderr)
                code = 1
            sys.stdout.flush()
            time.sleep(args.watch)
    except KeyboardInterrupt:
        return code


def _interval(word: str) -> float:
    try:
        seconds = float(word)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{word!r} is not a number of seconds from 1 to 86400")
    return seconds


def print_json(args: argparse.Namespace, report: Any) -> None:
    """A report as JSON; with --watch on one line, so that each line is a report."""
    print(json.dumps(report, indent=1 if args.watch is None else None))


def survey(args: argparse.Namespace, pool: Pool, only: str | None = None) -> list[View]:
    """Every machinetype (or ``only`` one) that has a file or a job, by name.

    Raises PoolError if the schedd does not answer, UsageError if there is no such machinetype.
    """
    files = {os.path.basename(path)[: -len(".json")]: path for path in _files(args.machinetypes)}
    ads = pool.jobs(_constraint(only), PROJECTION)
    factories = scheduler_job.jobs(pool, only)
    seen = {*(str(ad.get("VacMachinetype")) for ad in ads), *(job.name for job in factories)}
    # A job's ad is its user's: what cannot be a machinetype's name is not one.
    names = {*files, *(name for name in seen if re.fullmatch(MACHINETYPE_NAME, name))}
    if only is not None and only not in names:
        hint = did_you_mean(only, sorted(names))
        raise UsageError(f"{only}: no such machinetype in {args.machinetypes} or in the queue{hint}")
    chosen = sorted(names) if only is None else [only]
    return [_view(name, files.get(name), ads, factories, args.state) for name in chosen]


def overdue(view: View, moment: float) -> str | None:
    """How long ago the factory's last cycle was, for a person, if that is too long; None if it is not."""
    last = view.state.last
    if not last or moment - last["time"] <= MISSED_CYCLES * last["cycle_seconds"] + 60:
        return None
    return duration(moment - last["time"])


def duration(seconds: float | None) -> str:
    """Seconds for a person: 45s, 12m, 3h05, 2d04h."""
    if seconds is None:
        return "-"
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole}s"
    if whole < 7200:
        return f"{whole // 60}m"
    if whole < 172800:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def now() -> float:
    """The present time, for ages."""
    return time.time()


def _constraint(only: str | None) -> str:
    mine = "isString(VacMachinetype)" if only is None else f'VacMachinetype =?= "{_checked(only)}"'
    return f"{mine} && JobUniverse == {Universe.VM}"


def _checked(name: str) -> str:
    if not re.fullmatch(MACHINETYPE_NAME, name):
        raise UsageError(f"{name[:80]!r} is not the name of a machinetype")
    return name


def _files(directory: str) -> list[str]:
    return sorted(glob.glob(os.path.join(glob.escape(directory), "*.json")))


def _view(
    name: str,
    path: str | None,
    ads: Sequence[Mapping[str, Any]],
    factories: Sequence[scheduler_job.FactoryJob],
    state_root: str,
) -> View:
    problems: list[str] = []
    machinetype = _machinetype(path, problems)
    mine = [ad for ad in ads if ad.get("VacMachinetype") == name]
    jobs: list[vm_jobs.Job] = []
    if machinetype is not None:
        jobs = _jobs(mine, machinetype, problems)
    return View(
        name=name,
        machinetype=machinetype,
        jobs=jobs,
        ads={job_id(ad): ad for ad in mine},
        factories=[job for job in factories if job.name == name],
        state=_state(os.path.join(state_root, name), problems),
        problems=problems,
    )


def _machinetype(path: str | None, problems: list[str]) -> Machinetype | None:
    if path is None:
        problems.append("its machinetype's file is missing")
        return None
    try:
        return machinetypes.load(path)
    except VacError as error:
        problems.append(str(error))
        return None


def _jobs(ads: Sequence[Mapping[str, Any]], m: Machinetype, problems: list[str]) -> list[vm_jobs.Job]:
    try:
        return list(vm_jobs.queue(ads, m).jobs)
    except VacError as error:
        problems.append(str(error))
        return []


def _state(directory: str, problems: list[str]) -> factory_state.State:
    try:
        return factory_state.load(directory)
    except VacError as error:
        problems.append(str(error))
        return factory_state.State()
