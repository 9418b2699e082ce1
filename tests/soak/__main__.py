# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m tests.soak --minutes 60 --seed N``: a pool at work with a fault every minute, and what is left of it.

A head and two worker nodes in a lab of their own (VAC_LAB=soak). Exit code 0 if nothing is left of any VM, every job
ended once and all nodes recovered, else 1 with a list. The report is .cache/soak/report.md, and everything that was
seen is in .cache/soak/journal.jsonl. Whatever happens, no machine is left running without ``--keep``.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.demo.own_lab import HEAD, NODES, Lent, OwnLab, lend, short

from . import ending, plan, report
from .course import Course, ticking
from .faults import FAULTS, SMALL, SMALL_DISK
from .plan import Planned
from .pool import NotDoneError, Pool

SITE = Path(__file__).resolve().parent / "site.yml"
LAB_NAME = "soak"
START_SECONDS = 900.0
KEEP = f"The machines still run: VAC_LAB={LAB_NAME} python -m tests.lab ssh {HEAD}; stop them: … tests.lab down"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").partition("\n")[0])
    top.add_argument("--minutes", type=int, default=60, metavar="N", help="of faults; default %(default)s")
    top.add_argument("--every", type=int, default=plan.EVERY_SECONDS, metavar="S", help="seconds; default %(default)s")
    top.add_argument("--seed", type=int, default=None, metavar="N", help="of the faults; default: the time")
    top.add_argument("--image", choices=("prepared", "sid"), default="prepared", help="default %(default)s")
    top.add_argument("--only", action="append", default=[], metavar="WORD", help="faults with this in their names")
    top.add_argument("--list", action="store_true", help="print the faults that would come, and do nothing")
    top.add_argument("--keep", action="store_true", help="leave the machines running at the end")
    return top


def soak(lent: Lent, faults: list[Planned], seed: int) -> int:
    """From nothing to the report; 0 if all is well. Raises StepError."""
    screen = lent.screen
    lent.make_pool()
    pool = Pool(lent.lab.inventories)
    journal = lent.lab.cache / "journal.jsonl"
    journal.unlink(missing_ok=True)
    course = Course(pool, screen, faults, journal)
    try:
        with ticking(screen):
            for node in SMALL:
                pool.run(node, SMALL_DISK)
            wait_for_vms(course)
            course.say(f"{len(faults)} faults, seed {seed}")
            course.run()
            verdict = ending.judge(pool, course)
    except NotDoneError as error:
        screen.say(f"soak: {error}")
        return 1
    wrong = report.not_recovered(course.happened) + verdict.wrong
    lines = [
        f"Seed {seed}, {len(faults)} faults, image {lent.lab.image}, {time.strftime('%Y-%m-%d', time.gmtime())} (UTC).",
        *("", *report.table(course.happened), ""),
        *report.totals(course.happened, verdict.codes, verdict.jobs, verdict.again),
        *("", "Left or lost:", *(f"- {line}" for line in wrong or ["nothing"])),
        *("", "Notes:", *(f"- {line}" for line in verdict.notes or ["none"])),
    ]
    place = lent.lab.cache / "report.md"
    place.write_text("\n".join([*lines, ""]), "utf-8")
    screen.say("", *lines, "", screen.stamp(f"The report: {short(place)}, all that was seen: {short(journal)}"))
    return 1 if wrong else 0


def wait_for_vms(course: Course) -> None:
    """Until a VM has been seen on each node and all is well. Raises NotDoneError."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        look = course.look()
        if all(look.vms[node] for node in NODES) and not any(look.trouble(node) for node in (HEAD, *NODES)):
            return
        if time.monotonic() > deadline:
            raise NotDoneError(f"the pool does not come to work: {look}")
        time.sleep(5)


def main() -> int:
    """Run the soak."""
    args = parser().parse_args()
    seed = int(time.time()) if args.seed is None else args.seed
    faults = plan.draw(plan.chosen(FAULTS, args.only), args.minutes * 60 // args.every, seed, args.every)
    if args.list:
        print("\n".join(f"{each.at:5} s  {each.node:<6} {each.fault.name}" for each in faults))
        return 0
    lab = OwnLab(LAB_NAME, SITE, args.image, KEEP if args.keep else "", "python -m tests.soak --keep leaves it up.")
    return lend(lab, lambda lent: soak(lent, faults, seed))


if __name__ == "__main__":
    sys.exit(main())
