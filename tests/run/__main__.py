# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m tests.run [--check] [--all] [--only STAGE] [--list]``: runs stages beside each other.

A stage's output goes to ``.cache/logs/SET/STAGE.log``; its end is shown where the stage fails, and what it complained
of again at the very end, after the table. Exits 0 only if every stage passed, 130 after an interruption.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.run import counts, lab, processes, table
from tests.run.guard import GRACE_SECONDS, Guard, clean
from tests.run.processes import Found
from tests.run.running import ROOT, Place
from tests.run.scheduler import PASSED, Scheduler
from tests.run.stages import CHECK, TEST, Stage

CACHE = ROOT / ".cache"
# Stages wait for disks, HTCondor and virtual machines now and then.
MORE_THAN_PROCESSORS = 0.5
INTERRUPTED = 130


class InUseError(Exception):
    """Another run of the same set in this checkout, or the cleaning after one."""


def say(text: str) -> None:
    """A line of progress."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def parser(stages: Sequence[Stage]) -> argparse.ArgumentParser:
    """The command line for a set of stages."""
    made = argparse.ArgumentParser(prog="python -m tests.run", description="Runs stages of tests beside each other.")
    made.add_argument("--check", action="store_true", help="the short set: no root, no network, a minute")
    made.add_argument("--only", action="append", metavar="STAGE", choices=[stage.name for stage in stages])
    made.add_argument("--all", action="store_true", help="the stages that are not for every run as well")
    made.add_argument("--list", action="store_true", help="only print the stages")
    made.add_argument(
        "--processors",
        type=float,
        default=(os.cpu_count() or 1) + MORE_THAN_PROCESSORS,
        metavar="N",
        help="the sum of weights that may run at the same time (default %(default)g)",
    )
    return made


def locked(name: str) -> int:
    """The descriptor of the set's lock. Raises InUseError if it is taken."""
    CACHE.mkdir(exist_ok=True)
    descriptor = os.open(CACHE / f"run-{name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise InUseError(f"another run is under way in {ROOT}, or is being cleaned up after") from error
    return descriptor


def list_stages(stages: Sequence[Stage]) -> None:
    """What there is, as a table."""
    print(f"{'stage':24} {'weight':>6} {'limit':>7}  needs")
    for stage in stages:
        needs = ", ".join(stage.needs) + ("" if stage.every_run else " (only if asked for)")
        print(f"{stage.name:24} {stage.weight:6g} {stage.limit:5.0f} s  {needs}".rstrip())


def run(wanted: Sequence[Stage], name: str, processors: float) -> int:
    """Run the stages of a set, print their table and return the exit code.

    Raises InUseError, and lab.NotDownError where machines of an earlier run would take the processors.
    """
    checkout = f"{ROOT}:{name}:"
    place = Place(CACHE / "logs" / name, f"{checkout}{os.getpid()}")
    place.logs.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    scheduler = Scheduler(place, processors, say)
    with_lab = name == "test"
    with Guard(place.run, locked(name), with_lab=with_lab):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, scheduler.stop)
        _say_left("a run before", clean(checkout, with_lab=with_lab))
        scheduler.run(wanted)
        stopped = not with_lab or _lab_down()
        _say_left("this run", processes.end_run(checkout, GRACE_SECONDS))
    code = _report(wanted, scheduler, CACHE / f"{name}-seconds.json", time.monotonic() - began)
    return code if stopped else code or 1


def _lab_down() -> bool:
    """Whether the lab's machines are stopped; if not, the reason is printed."""
    try:
        lab.down()
    except lab.NotDownError as error:
        say(str(error))
        return False
    return True


def _say_left(whose: str, left: Sequence[Found]) -> None:
    if left:
        say(f"ended what was left of {whose}: {', '.join(f'{one.name} ({one.pid})' for one in left)}")


def _report(wanted: Sequence[Stage], scheduler: Scheduler, kept: Path, seconds: float) -> int:
    """Print how the stages ended; *kept* is the file with the seconds of the run before."""
    results, before = scheduler.results, counts.earlier(kept)
    print(table.text(wanted, results, before, scheduler.place, seconds), flush=True)
    counts.keep(kept, before, results)
    if scheduler.stopping:
        return INTERRUPTED
    return 0 if all(result.word == PASSED for result in results.values()) else 1


def main() -> int:
    """Run the stages that the command line asks for; 2: wrong usage, or another run is under way."""
    name, stages = ("check", CHECK) if "--check" in sys.argv else ("test", TEST)
    args = parser(stages).parse_args()
    wanted = [one for one in stages if (one.name in args.only if args.only else one.every_run or args.all)]
    if args.list:
        list_stages(wanted)
        return 0
    try:
        return run(wanted, name, args.processors)
    except (InUseError, lab.NotDownError) as error:
        print(f"tests.run: {error}", file=sys.stderr)
        return 2 if isinstance(error, InUseError) else 1


if __name__ == "__main__":
    sys.exit(main())
