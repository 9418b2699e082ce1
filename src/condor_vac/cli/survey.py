# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machinetypes' files, the queue and the factories' state files show together; read-only.

The base of ``condor_vac status``, ``machines`` and ``explain``: their arguments, the survey itself, and the loop
of ``--watch``. What is wrong with one machinetype is reported with it (``problems``), so that it hides nothing of the
others.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.findings import Finding
from condor_vac.base.shared import (
    MACHINETYPE_NAME,
    MACHINETYPES_DIRECTORY,
    STATE_DIRECTORY,
    USER_NAME,
    JobStatus,
    Universe,
    one_line,
)
from condor_vac.cli.parser import did_you_mean
from condor_vac.condor.pool import Pool, PoolError, owned
from condor_vac.factory import scheduler_job, vm_jobs
from condor_vac.factory import state as factory_state
from condor_vac.factory.job_ad import Job
from condor_vac.model import machinetype as machinetypes
from condor_vac.model import outcome
from condor_vac.model.machinetype import Machinetype
from condor_vac.policy.words import count

# A factory that has missed so many cycles does not run, whatever its job's status is.
MISSED_CYCLES = 3
# So long the alert CondorVacNothingStarts waits, too.
NOTHING_STARTS_SECONDS = 7200.0
EXTRA = (
    "Owner",
    "HoldReason",
    "LastRejMatchReason",
    "LastRejMatchTime",
)
PROJECTION = (*vm_jobs.PROJECTION, *EXTRA)


@dataclass(frozen=True)
class View:
    """One machinetype: its data, its VM jobs (checked; raw in ``ads``), its factory's jobs and state.

    ``problems`` are its own; ``damage`` is what is wrong with single jobs' ads. Both are sentences with a remedy.
    """

    name: str
    machinetype: Machinetype | None
    jobs: Sequence[Job]
    ads: Mapping[str, Mapping[str, Any]]
    factories: Sequence[scheduler_job.FactoryJob]
    state: factory_state.State
    problems: Sequence[str] = ()
    damage: Sequence[str] = ()

    def works(self, job: Job, now: float) -> bool:
        """Whether this VM shows work, or its factory has seen it work."""
        return self.machinetype is not None and vm_jobs.has_worked(job, self.machinetype, now, self.state.worked)


class Left(NamedTuple):
    """What the access point has of a machinetype without asking the queue.

    ``view`` has no jobs. ``directory`` is its factory's, ``deployed`` whether the machinetype has a file.
    """

    view: View
    directory: str
    deployed: bool


def add_arguments(parser: argparse.ArgumentParser, description: str | None, *, queue: bool = True) -> None:
    """What these commands have in common; ``description`` is shown as it stands, ``queue`` is whether they ask it."""
    parser.description = description
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_places(parser)
    if queue:
        parser.add_argument("--bindings", choices=("htcondor2", "htcondor"), help="which Python bindings to use")


def add_places(parser: argparse.ArgumentParser) -> None:
    """The arguments that name the access point's directories."""
    parser.add_argument("--machinetypes", default=MACHINETYPES_DIRECTORY, metavar="DIR", help="default %(default)s")
    parser.add_argument("--state", default=STATE_DIRECTORY, metavar="DIR", help="factories' directories (%(default)s)")


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
    found = sites(args.machinetypes, args.state, only)
    users = owners_of(found)
    ads = pool.jobs(constraint(users, only), PROJECTION)
    factories = scheduler_job.jobs(pool, users, only)
    seen = {*(ad.get("VacMachinetype") for ad in ads), *(job.name for job in factories)}
    chosen = sorted(
        name for name, site in found.items() if site.file is not None or (site.owner is not None and name in seen)
    )
    if only is not None and only not in chosen:
        hint = did_you_mean(only, sorted(sites(args.machinetypes, args.state)))
        raise UsageError(f"{only}: no such machinetype in {args.machinetypes} or in the queue{hint}")
    return [_view(name, found[name], ads, factories) for name in chosen]


def owners(args: argparse.Namespace) -> set[str]:
    """The users whose VMs the machinetypes and factories of this access point are."""
    return owners_of(sites(args.machinetypes, args.state))


def without_queue(args: argparse.Namespace) -> list[Left]:
    """Every machinetype that has a file or a factory's directory, by name."""
    found = []
    for name, site in sorted(sites(args.machinetypes, args.state).items()):
        problems = list(site.problems)
        state = _state(site.directory, problems)
        view = View(name, site.machinetype, (), {}, (), state, problems)
        found.append(Left(view, site.directory, site.file is not None))
    return found


def overdue(view: View, moment: float) -> str | None:
    """How long ago the factory's last cycle was, for a person, if that is too long; None if it is not."""
    last = view.state.last
    if not last or moment - last["time"] <= MISSED_CYCLES * last["cycle_seconds"] + 60:
        return None
    return duration(moment - last["time"])


def delays(view: View, moment: float) -> list[str]:
    """Sentences about a factory that is late, and about VMs of which none starts."""
    age, waiting = overdue(view, moment), nothing_starts(view)
    late = [] if age is None else [f"its last cycle was {age} ago; condor_vac explain {view.name} shows why"]
    return late if waiting is None else [*late, waiting]


def nothing_starts(view: View) -> str | None:
    """The sentence about VMs that have been idle for long while none ran, of the factory's last cycle."""
    last = view.state.last
    seen = last.get("observed") or {}
    idle, running, oldest = (seen.get(key) for key in ("idle", "running", "oldest_idle"))
    if running != 0 or not isinstance(idle, int) or not isinstance(oldest, (int, float)):
        return None
    # A file of JSON may have NaN and infinity.
    if not 0 <= oldest <= last["time"]:
        return None
    waited = last["time"] - oldest
    if waited < NOTHING_STARTS_SECONDS:
        return None
    since = f"the first has waited {duration(waited)}"
    return f"{count(idle, 'VM')} idle and none running ({since}); condor_vac explain {view.name} shows why"


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


def held(view: View, most: int = 3) -> list[Finding]:
    """The held VMs by reason, the commonest first."""
    reasons = Counter(
        one_line(str(view.ads[job.id].get("HoldReason", "")), outcome.TEXT_LIMIT) or "no reason given"
        for job in view.jobs
        if job.state == JobStatus.HELD
    )
    if view.machinetype is None:
        return []
    which = f"""-constraint 'JobStatus == {JobStatus.HELD} && VacMachinetype == "{view.name}"'"""
    remedy = f"fix the cause, then as root {as_owner(view.machinetype.owner, f'condor_release {which}')}"
    return [Finding(f"{count(number, 'VM')} held: {reason}", remedy) for reason, number in reasons.most_common(most)]


def as_owner(owner: str, command: str) -> str:
    """The command as root types it: on many pools the schedd lets nobody but a job's owner act on it, not even root."""
    return f"runuser -u {owner} -- {command}"


def shortened(sentences: Sequence[str], most: int = 5) -> list[str]:
    """The first of them, and how many more there are."""
    more = len(sentences) - most
    return [*sentences[:most], *([f"and {count(more, 'more job')} with a damaged ad"] if more > 0 else [])]


def now() -> float:
    """The present time, for ages."""
    return time.time()


class Site(NamedTuple):
    """What the access point has of a machinetype: its file, its factory's directory, and whose its jobs are.

    A job's ad is its user's, and any user may name a machinetype in it.
    """

    file: str | None
    directory: str
    machinetype: Machinetype | None
    owner: str | None
    problems: list[str]


def sites(machinetypes_directory: str, state_directory: str, only: str | None = None) -> dict[str, Site]:
    """Every machinetype (or ``only`` one) that has a file or a factory's directory, by name. Raises UsageError."""
    if only is not None and not re.fullmatch(MACHINETYPE_NAME, only):
        raise UsageError(f"{only[:80]!r} is not the name of a machinetype")
    files = {name[: -len(".json")] for name in _listed(machinetypes_directory) if name.endswith(".json")}
    names = [only] if only is not None else sorted(files.union(_listed(state_directory)))
    return {
        name: _site(machinetypes_directory, state_directory, name, name in files)
        for name in names
        if re.fullmatch(MACHINETYPE_NAME, name)
    }


def owners_of(found: Mapping[str, Site]) -> set[str]:
    """The users whose VMs these machinetypes' are."""
    return {site.owner for site in found.values() if site.owner is not None}


def _site(machinetypes_directory: str, state_directory: str, name: str, has_file: bool) -> Site:
    problems: list[str] = []
    file = os.path.join(machinetypes_directory, f"{name}.json") if has_file else None
    directory = os.path.join(state_directory, name)
    machinetype = _machinetype(file, problems)
    owner = _owner(directory) if machinetype is None else machinetype.owner
    return Site(file, directory, machinetype, owner, problems)


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _owner(directory: str) -> str | None:
    """The user whose factory's directory it is; None if there is none, or nobody who can have jobs has that number."""
    try:
        name = pwd.getpwuid(os.stat(directory).st_uid).pw_name
    except (OSError, KeyError):
        return None
    return name if re.fullmatch(USER_NAME, name) else None


def constraint(owners: Collection[str], only: str | None) -> str:
    mine = "isString(VacMachinetype)" if only is None else f'VacMachinetype =?= "{only}"'
    return f"JobUniverse == {Universe.VM} && {owned(owners)} && {mine}"


def _view(
    name: str, site: Site, ads: Sequence[Mapping[str, Any]], factories: Sequence[scheduler_job.FactoryJob]
) -> View:
    problems = list(site.problems)
    # The constraint has left out users who own no machinetype.
    mine = [ad for ad in ads if ad.get("VacMachinetype") == name and ad.get("Owner", site.owner) == site.owner]
    jobs: Sequence[Job] = ()
    if site.machinetype is not None:
        jobs = _jobs(mine, site.machinetype, problems)
    return View(
        name=name,
        machinetype=site.machinetype,
        jobs=jobs,
        ads={job.id: ad for job, ad in zip(jobs, mine)},
        factories=[job for job in factories if (job.name, job.owner) == (name, site.owner)],
        state=_state(site.directory, problems),
        problems=problems,
        damage=list(vm_jobs.damage(jobs).values()),
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


def _jobs(ads: Sequence[Mapping[str, Any]], m: Machinetype, problems: list[str]) -> list[Job]:
    try:
        return list(vm_jobs.queue(ads, m, now()).jobs)
    except VacError as error:
        problems.append(str(error))
        return []


def _state(directory: str, problems: list[str]) -> factory_state.State:
    aside = factory_state.damaged_path(directory)
    if os.path.lexists(aside):
        problems.append(f"{aside}: the factory put a damaged state file aside; remove it once you know why")
    try:
        return factory_state.load(directory)
    except VacError as error:
        problems.append(str(error))
        return factory_state.State()
