# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool of a head and worker nodes in a lab of its own: made, lent to some work, and gone however that ends."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .guard import LAB, Guard
from .pool import PoolError
from .screen import Screen
from .steps import ROOT, Command, StepError, Steps, ansible_task

HEAD, NODES = "head", ("node1", "node2")
# What each machine does in the pool.
ROLES = Path(__file__).resolve().parent / "inventory"


@dataclass(frozen=True)
class OwnLab:
    """The lab ``name`` (VAC_LAB) of a program, which disturbs no other; what that makes is in .cache/NAME.

    ``site`` is a file with the site's variables, ``image`` what its machines boot. ``keep`` is printed instead of
    stopping the machines at the end. ``hint`` says how to find out why it failed. ``nodes`` are the worker nodes, and
    the inventory directory ``roles`` has what each machine does.
    """

    name: str
    site: Path
    image: str = "prepared"
    keep: str = ""
    hint: str = ""
    nodes: tuple[str, ...] = NODES
    roles: Path = ROLES

    @property
    def cache(self) -> Path:
        """Where its log is, and what else it makes."""
        return ROOT / ".cache" / self.name

    @property
    def log(self) -> Path:
        """All output of its commands."""
        return self.cache / f"{self.name}.log"

    @property
    def inventories(self) -> tuple[Path, Path]:
        """The inventories of its machines. Only when they are up does the lab know them."""
        from tests.lab import paths  # noqa: PLC0415

        return paths.lab_dir() / "inventory.yml", self.roles


class Lent:
    """The lab while a program has it: where it writes, how it runs commands."""

    def __init__(self, lab: OwnLab, screen: Screen, guard: Guard) -> None:
        self.lab = lab
        self.began = time.time()
        self.screen = screen
        self.steps = Steps(screen, guard, lab.log)

    def make_pool(self) -> None:
        """The machines, and on them the experiments and the site. Raises StepError."""
        lab, guest = self.lab, (*LAB[:2], "tests.experiment.guest", "build", "--output", ".cache/lab/guest.iso")
        self.steps.run(f"Stop what an earlier {lab.name} may have left", Command((*LAB, "down")))
        self.steps.run(
            f"The image that VMs will boot, and machines with Debian: a head and {len(lab.nodes)} worker nodes",
            Command(guest),
            Command((*LAB, "up", HEAD, *lab.nodes, "--image", lab.image)),
        )
        words = [word for path in lab.inventories for word in ("-i", short(path))]
        playbooks = ("tests/experiment/site.yml", "vacuum.htcondor.site")
        self.steps.run(
            "The experiments' task queues, and the site: HTCondor, worker nodes, factories",
            Command(("ansible-playbook", *words, *playbooks, "-e", f"@{short(lab.site)}"), ansible_task),
        )


def lend(lab: OwnLab, work: Callable[[Lent], int]) -> int:
    """The exit code of ``work``, 130 if it was interrupted, 1 if it failed or the lab is in use; then the lab is down.

    The lab is also taken down if this process is killed.
    """
    os.environ.update(_settings(lab))
    lab.cache.mkdir(parents=True, exist_ok=True)
    with (lab.cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{lab.name}: another one runs in this checkout", file=sys.stderr)
            return 1
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
        lab.log.write_text("")
        guard = Guard(lab.log)
        lent = Lent(lab, Screen(sys.stdout), guard)
        code = _attempt(lent, work)
        # Nothing interrupts the cleaning up.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        code = _give_back(lent) or code
        guard.leave()
    return code


def short(path: Path) -> str:
    """A path as one types it in the checkout."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _settings(lab: OwnLab) -> dict[str, str]:
    return {
        "VAC_LAB": lab.name,
        "LAB_CHECKOUT": str(ROOT),
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        # A slow host is not a fault: seconds for a connection.
        "ANSIBLE_TIMEOUT": "600",
    }


def _interrupt(*_: object) -> None:
    """SIGTERM and SIGHUP end it as Ctrl-C does."""
    raise KeyboardInterrupt


def _attempt(lent: Lent, work: Callable[[Lent], int]) -> int:
    try:
        return work(lent)
    except (StepError, PoolError) as error:
        lent.screen.leave()
        lent.screen.say("", f"{lent.lab.name}: {error}", f"{lent.lab.hint}   All output: {short(lent.lab.log)}".strip())
        return 1
    except KeyboardInterrupt:
        lent.screen.leave()
        lent.screen.say("", f"{lent.lab.name}: interrupted")
        return 130


def _give_back(lent: Lent) -> int:
    if lent.lab.keep:
        lent.screen.say(lent.lab.keep)
        return 0
    try:
        lent.steps.run("Stop the machines", Command((*LAB, "down")))
    except StepError as error:
        lent.screen.say(f"{lent.lab.name}: {error}")
        return 1
    return 0
