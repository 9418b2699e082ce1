# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m tests.demo [--keep]``: see the README.

Two experiments share a pool of a head and two worker nodes. Exits 0 only if at least six of their VMs were at work at
once, all tasks were done, VMs of both ended with 200 and with 300, and the factories then stopped making VMs.
Whatever happens, no machine is left running without ``--keep``.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
import time
from pathlib import Path

import yaml

from . import picture, verdict
from .guard import LAB, Guard
from .pool import Pool, PoolError
from .screen import Screen
from .steps import ROOT, Command, StepError, Steps, ansible_task
from .watch import Watch

HERE = Path(__file__).resolve().parent
CACHE = ROOT / ".cache" / "demo"
LOG = CACHE / "demo.log"
PICTURE = CACHE / "vms.png"
SITE = HERE / "site.yml"
# The demo's own lab (tests/lab): its machines do not disturb others.
LAB_NAME = "demo"
HEAD, NODES = "head", ("node1", "node2")
SETTINGS = {
    "VAC_LAB": LAB_NAME,
    "LAB_CHECKOUT": str(ROOT),
    "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
    "ANSIBLE_NOCOLOR": "1",
    # A slow host is not a fault: seconds for a connection.
    "ANSIBLE_TIMEOUT": "600",
}
LOOK_AROUND = f"""
The machines still run.
Log in: VAC_LAB={LAB_NAME} make lab-ssh HOST={HEAD}   Stop them: VAC_LAB={LAB_NAME} make lab-down
On {HEAD}: condor_vac status; condor_vac machines; condor_q -allusers; condor_status -vm; on {NODES[0]}: virsh list"""


class Demo:
    """One run of the demo."""

    def __init__(self, screen: Screen, guard: Guard) -> None:
        self.began = time.time()
        self.screen = screen
        self.steps = Steps(screen, guard, LOG)
        self.pool = Pool(HEAD, LOG)

    def run(self) -> bool:
        """From nothing to the end; whether all went as promised. Raises StepError and PoolError."""
        self.make_pool()
        self.screen.say("", self.screen.stamp("Nobody submits VMs from here on. What the factories see and do:"), "")
        watch = Watch(self.screen, self.pool, work_for())
        watch.run()
        return self.judge(watch)

    def make_pool(self) -> None:
        """The machines, and on them two experiments with work and a site without VMs."""
        self.steps.run("Stop what an earlier demo may have left", Command((*LAB, "down")))
        guest = (*LAB[:2], "tests.experiment.guest", "build", "--output", ".cache/lab/guest.iso")
        self.steps.run(
            "The image that VMs will boot, and three machines with Debian: a head and two worker nodes",
            Command(guest),
            Command((*LAB, "up", HEAD, *NODES)),
        )
        # Only now does the lab know its machines.
        from tests.lab import paths  # noqa: PLC0415

        inventories = (paths.lab_dir() / "inventory.yml", HERE / "inventory")
        words = [word for path in inventories for word in ("-i", _short(path))]
        playbooks = ("tests/experiment/site.yml", "vacuum.htcondor.site")
        self.steps.run(
            "Two experiments' task queues, and the site: HTCondor, worker nodes, two factories",
            Command(("ansible-playbook", *words, *playbooks, "-e", f"@{_short(SITE)}"), ansible_task),
        )

    def judge(self, watch: Watch) -> bool:
        """Print what HTCondor recorded and whether it is what was promised, and draw the picture."""
        records = self.pool.records()
        self.screen.say("", "HTCondor's own records:", "", *verdict.table(records, self.began), "")
        found = verdict.checks(watch.samples, records)
        self.screen.say(*map(str, found))
        picture.draw(PICTURE, watch.samples, records, self.began, watch.work_ended)
        self.screen.say("", f"The picture of it: {_short(PICTURE)}")
        return all(check.good for check in found)


def work_for() -> dict[str, int]:
    """For how many VMs each experiment has work, as the site's file sets it."""
    series = yaml.safe_load(SITE.read_text("utf-8"))["lab_series"]
    return {name: int(number) for name, number, *_ in (each.split(":") for each in series)}


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def interrupt(*_: object) -> None:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does."""
    raise KeyboardInterrupt


def attempt(demo: Demo) -> int:
    """Run the demo: 0 good, 1 not, 130 interrupted."""
    try:
        good = demo.run()
    except (StepError, PoolError) as error:
        demo.screen.leave()
        demo.screen.say("", f"demo: {error}", f"Look around with: make demo KEEP=1   All output: {_short(LOG)}")
        return 1
    except KeyboardInterrupt:
        demo.screen.leave()
        demo.screen.say("", "demo: interrupted")
        return 130
    demo.screen.say("", demo.screen.stamp("The demo is over." if good else "This is NOT what the demo promises."))
    return 0 if good else 1


def main() -> int:
    """Run the demo, and stop its machines however that ends."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description="A pool of three machines, live.")
    parser.add_argument("--keep", action="store_true", help="leave the machines running at the end")
    args = parser.parse_args()
    os.environ.update(SETTINGS)
    CACHE.mkdir(parents=True, exist_ok=True)
    lock = (CACHE / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("demo: another one runs in this checkout", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    LOG.write_text("")
    guard = Guard(LOG)
    demo = Demo(Screen(sys.stdout), guard)
    code = attempt(demo)
    # Nothing interrupts the cleaning up.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        if args.keep:
            demo.screen.say(LOOK_AROUND)
        else:
            demo.steps.run("Stop the machines", Command((*LAB, "down")))
    except StepError as error:
        demo.screen.say(f"demo: {error}")
        code = code or 1
    guard.leave()
    return code


if __name__ == "__main__":
    sys.exit(main())
