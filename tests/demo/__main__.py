# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m tests.demo [--keep]``: see the README.

Two experiments share a pool of a head and two worker nodes. Exits 0 only if at least six of their VMs were at work at
once, all tasks were done, VMs of both ended with 200 and with 300, and the factories then stopped making VMs.
Whatever happens, no machine is left running without ``--keep``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml

from . import picture, verdict
from .own_lab import HEAD, NODES, Lent, OwnLab, lend, short
from .pool import Pool
from .watch import Watch

SITE = Path(__file__).resolve().parent / "site.yml"
LAB_NAME = "demo"
LOOK_AROUND = f"""
The machines still run.
Log in: VAC_LAB={LAB_NAME} make lab-ssh HOST={HEAD}   Stop them: VAC_LAB={LAB_NAME} make lab-down
On {HEAD}: condor_vac status; condor_vac machines; condor_q -allusers; condor_status -vm; on {NODES[0]}: virsh list"""


def run(lent: Lent) -> int:
    """From nothing to the end; 0 if all went as promised. Raises StepError and PoolError."""
    screen, pool = lent.screen, Pool(HEAD, lent.lab.log)
    lent.make_pool()
    screen.say("", screen.stamp("Nobody submits VMs from here on. What the factories see and do:"), "")
    watch = Watch(screen, pool, work_for())
    watch.run()
    good = judge(lent, pool, watch)
    screen.say("", screen.stamp("The demo is over." if good else "This is NOT what the demo promises."))
    return 0 if good else 1


def judge(lent: Lent, pool: Pool, watch: Watch) -> bool:
    """Print what HTCondor recorded and whether it is what was promised, draw the picture, and fetch the page."""
    records = pool.records()
    lent.screen.say("", "HTCondor's own records:", "", *verdict.table(records, lent.began), "")
    found = verdict.checks(watch.samples, records)
    lent.screen.say(*map(str, found))
    drawn = lent.lab.cache / "vms.png"
    picture.draw(drawn, watch.samples, records, lent.began, watch.work_ended)
    lent.screen.say("", f"The picture of it: {short(drawn)}")
    page = lent.lab.cache / "page.html"
    page.write_text(pool.page(), "utf-8")
    lent.screen.say(f"The page of its access point, for a browser: {short(page)}")
    return all(check.good for check in found)


def work_for() -> dict[str, int]:
    """For how many VMs each experiment has work, as the site's file sets it."""
    series = yaml.safe_load(SITE.read_text("utf-8"))["lab_series"]
    return {name: int(number) for name, number, *_ in (each.split(":") for each in series)}


def main() -> int:
    """Run the demo, and stop its machines however that ends."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description="A pool of three machines, live.")
    parser.add_argument("--keep", action="store_true", help="leave the machines running at the end")
    keep = LOOK_AROUND if parser.parse_args().keep else ""
    return lend(OwnLab(LAB_NAME, SITE, keep=keep, hint="Look around with: make demo KEEP=1"), run)


if __name__ == "__main__":
    sys.exit(main())
