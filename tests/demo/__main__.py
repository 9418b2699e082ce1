# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m tests.demo [--keep]``: see the README.

Two experiments share the pool 2 to 1. Exits 0 only if for each of them VMs did all tasks and ended with 200, at
least one ended with 300, and the factory then stopped making VMs; whatever happens, no machine is left running
without ``--keep``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.lab import plays
from tests.lab.paths import LabError

from . import screen
from .node import LAB, LOOK_AROUND, ROOT, DemoError, Node

NAME = "box"
# Machinetypes (tests/lab/group_vars: one gets its features by NFS, one by HTTP): work for two VMs and for one.
TASKS = {"alpha": 4, "beta": 2}
SUCCESSES = {"alpha": 2, "beta": 1}
TASK_SECONDS = 3
# One emulated processor is there for all of them: one VM of each at a time.
SITE = {
    "lab_vms": 2,
    # The machine has other things to do than to look after VMs that live for a minute.
    "worker_watch_interval": 60,
    "demo_limits": {"max_machines": 1, "max_idle": 1},
    "vacuum_machinetypes": {name: f"{{{{ lab_two_experiments.{name} | combine(demo_limits) }}}}" for name in TASKS},
}
LOOK_SECONDS = 5
# Cycles of a factory without work, in which it could decide for another VM.
QUIET_CYCLES = 1
LIMIT_SECONDS = 2400
INVENTORY = ROOT / ".cache" / "demo" / "inventory.yml"
LOG = ROOT / ".cache" / "demo" / "ansible.log"
GROUPS = """\
all:
  children:
    central_manager: {{hosts: {{{name}: {{}}}}}}
    access_point: {{hosts: {{{name}: {{}}}}}}
    worker_node: {{hosts: {{{name}: {{}}}}}}
"""


class Demo:
    """One run of the demo; ``started`` is where its clock begins (monotonic seconds)."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.node = Node(NAME)
        self.most_at_once = 0
        self.seen: dict[str, dict[str, Any]] = {}

    def seconds(self) -> float:
        """Seconds since the demo started."""
        return time.monotonic() - self.started

    def step(self, text: str, *argv: str, each_line: Callable[[str], str | None] | None = None) -> None:
        """Run a command, showing what ``each_line`` makes of its output. Raises DemoError if it fails."""
        print(
            f"\n[{self.seconds():4.0f} s] {text}\n         $ {' '.join(argv).replace(sys.executable, 'python')}",
            flush=True,
        )
        if each_line is None:
            if subprocess.run(argv, cwd=ROOT, check=False).returncode != 0:
                raise DemoError(f"{text}: failed, see above")
            return
        with (
            LOG.open("a") as log,
            subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
        ):
            for line in process.stdout or ():
                log.write(line)
                shown = each_line(line)
                if shown:
                    print(f"[{self.seconds():4.0f} s] {shown}", flush=True)
        if process.returncode != 0:
            tail = "".join(LOG.read_text("utf-8").splitlines(keepends=True)[-40:])
            raise DemoError(f"{text}: failed; the end of {LOG.relative_to(ROOT)}:\n{tail}")

    def play(self, text: str, *words: str) -> None:
        """Run playbooks on the demo's machine, a line for each task."""

        def each_line(line: str) -> str | None:
            return line.partition("[")[2].partition("]")[0] if line.startswith("TASK [") else None

        inventories = ["-i", str(ROOT / ".cache/lab/inventory.yml"), "-i", str(INVENTORY)]
        self.step(text, "ansible-playbook", *inventories, *words, each_line=each_line)

    def make_pool(self) -> None:
        """From nothing to a pool in a box with an experiment that has work."""
        INVENTORY.parent.mkdir(parents=True, exist_ok=True)
        INVENTORY.write_text(GROUPS.format(name=NAME))
        variables = INVENTORY.parent / "group_vars"
        variables.unlink(missing_ok=True)
        variables.symlink_to(ROOT / "tests" / "lab" / "group_vars")
        os.environ.update(LAB_CHECKOUT=str(ROOT), ANSIBLE_STRATEGY=plays.FAST)
        LOG.write_text("")
        self.step(
            "Build the VM image that the experiment's VMs boot",
            *LAB[:2],
            "tests.lab.guest",
            "build",
            "--output",
            ".cache/lab/guest.iso",
        )
        self.step("Start a machine with Debian 13, nothing configured", *LAB, "up", "--resume", NAME)
        work = [f"{name}:{count}:{TASK_SECONDS}" for name, count in TASKS.items()]
        said = " and ".join(f"{count} tasks for {name}" for name, count in TASKS.items())
        self.play(
            f"The experiments: two task queues, {said}, each of {TASK_SECONDS} s."
            " The site: HTCondor, a worker node, two factories",
            "tests/lab/experiment.yml",
            "vacuum.htcondor.site",
            "-e",
            json.dumps({"lab_work": work, **SITE}),
        )

    def watch(self) -> None:
        """Show the table until the VMs have found no more work and the factory has stopped making them."""
        print(f"\n[{self.seconds():4.0f} s] Nobody submits VMs from here on. What the factory sees and does:\n")
        print(screen.HEADER, flush=True)
        shown: dict[str, str] = {}
        decided: dict[str, set[float]] = {name: set() for name in TASKS}
        for seen in self.node.watch(tuple(TASKS), LOOK_SECONDS):
            self.seen = seen
            self.show(shown)
            for name, each in seen.items():
                decided[name] = decided[name] | {each["factory"]["last"]["time"]} if self.finished(each) else set()
            if all(len(times) > QUIET_CYCLES for times in decided.values()):
                return
            if self.seconds() > LIMIT_SECONDS:
                raise DemoError(f"not finished after {LIMIT_SECONDS} s; {LOOK_AROUND}")

    def show(self, shown: dict[str, str]) -> None:
        """Print the rows of the table that have news; ``shown`` has the last ones."""
        running = sum(int(each["factory"].get("running", 0)) for each in self.seen.values())
        self.most_at_once = max(self.most_at_once, running)
        for name, each in self.seen.items():
            line = screen.row(self.seconds(), name, each)
            news = screen.news(line)
            if news != shown.get(name):
                print(line, flush=True)
                shown[name] = news

    @staticmethod
    def finished(seen: dict[str, Any]) -> bool:
        """Whether the work is done, a VM has said so, and no VM is left or on its way."""
        factory, (left, busy, _) = seen["factory"], screen.counters(seen["tasks"])
        alive = sum(int(factory.get(state) or 0) for state in ("idle", "running"))
        return not (left or busy or alive) and "300" in (factory.get("ended") or {})

    def verdict(self) -> bool:
        """Print what HTCondor recorded; whether it is what the demo promises."""
        ended = self.node.ended()
        print("\n".join(screen.summary(ended)))
        checks = [(f"{self.most_at_once} VMs ran at once (at least 2)", self.most_at_once >= 2)]
        for name, seen in self.seen.items():
            codes = [ad.get("ShutdownCode") for ad in ended if ad.get("VacMachinetype") == name]
            done, factory = screen.counters(seen["tasks"])[2], seen["factory"]
            worked, idled = codes.count(200), codes.count(300)
            checks += [
                (
                    f"{name}: {worked} VMs did tasks and ended with 200 (at least {SUCCESSES[name]})",
                    worked >= SUCCESSES[name],
                ),
                (f"{name}: {idled} VMs found no more work and ended with 300 (at least 1)", idled >= 1),
                (f"{name}: {done} of {TASKS[name]} tasks are done", done == TASKS[name]),
                (f"{name}: since then its factory has made no VM", not (factory.get("idle") or factory.get("running"))),
            ]
        print()
        for text, good in checks:
            print(f"  {'yes' if good else 'NO '}  {text}")
        return all(good for _, good in checks)


def interrupt(*_: object) -> None:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does."""
    raise KeyboardInterrupt


def main() -> int:
    """Run the demo, and stop its machine however that ends."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description="A pool in a box, live.")
    parser.add_argument("--keep", action="store_true", help="leave the machine running at the end")
    args = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    demo = Demo()
    try:
        demo.make_pool()
        demo.watch()
        good = demo.verdict()
        print(f"\n[{demo.seconds():4.0f} s] {'The demo is over.' if good else 'This is NOT what the demo promises.'}")
        return 0 if good else 1
    except (DemoError, LabError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: interrupted", file=sys.stderr)
        return 130
    finally:
        if args.keep:
            print(
                f"\nThe machine still runs.  Log in: make lab-ssh HOST={NAME}   Stop it: make lab-down\n"
                "On it: condor_vac status; condor_vac machines; condor_q -allusers; condor_status -vm; virsh list"
            )
        else:
            subprocess.run([*LAB, "down", NAME], cwd=ROOT, check=False)


if __name__ == "__main__":
    sys.exit(main())
