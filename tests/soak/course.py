# SPDX-License-Identifier: GPL-3.0-or-later
"""The course of the soak: a fault whenever its time has come, its undoing, and what has recovered when."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.demo.own_lab import HEAD, NODES
from tests.demo.screen import Screen

from .plan import Planned
from .pool import ALL, Look, NotDoneError, Pool

LOOK_EVERY_SECONDS = 4.0
# What a fault breaks is not broken at once everywhere.
SETTLE_SECONDS = 5.0
TICK_SECONDS = 1.0
# From the last fault on; HTCondor's VM universe comes back to a node within five minutes.
RECOVERY_SECONDS = 900.0


@contextmanager
def ticking(screen: Screen) -> Iterator[None]:
    """Have something printed meanwhile whenever nothing else was for a while."""
    over = threading.Event()

    def tick() -> None:
        while not over.wait(TICK_SECONDS):
            screen.show([], screen.stamp("…"))

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@dataclass
class Happened:
    """A fault that came. Times are Unix s; None: not yet. ``failed`` says why it could not be made.

    ``undone``: from then on its node may recover. ``well``: nothing is wrong with its node or the head any more.
    ``again``: a VM that was not there before is on the node (any node for the head).
    """

    planned: Planned
    made: float
    said: str = ""
    failed: str = ""
    undone: float | None = None
    well: float | None = None
    again: float | None = None
    known: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    @property
    def places(self) -> tuple[str, ...]:
        """The nodes whose VMs show that all is well again."""
        return NODES if self.planned.node == HEAD else (self.planned.node,)

    @property
    def over(self) -> bool:
        """Whether nothing of it is to be waited for."""
        return bool(self.failed) or (self.well is not None and self.again is not None)

    def take(self, look: Look) -> None:
        """See whether its node has recovered."""
        if self.over or self.undone is None or look.time < self.undone:
            return
        trouble = [text for node in {self.planned.node, HEAD} for text in look.trouble(node)]
        self.wrong += [text for text in trouble if self.well is None and text not in self.wrong]
        if self.well is None and not trouble and look.time >= self.undone + SETTLE_SECONDS:
            self.well = look.time
        now = {uuid for node in self.places for uuid in look.vms[node]}
        if self.again is None and now - self.known:
            self.again = look.time
        self.known |= now


class Course:
    """Makes the faults of a plan on a pool, and looks. ``jobs`` are the VMs that were seen, UUID to job.

    ``tasks`` are the most tasks that each VM was seen to have done. Everything is written to the file ``journal``.
    """

    def __init__(self, pool: Pool, screen: Screen, plan: Sequence[Planned], journal: Path) -> None:
        self._pool = pool
        self._screen = screen
        self._plan = list(plan)
        self._journal = journal
        self._began = time.time()
        self.happened: list[Happened] = []
        self.jobs: dict[str, str] = {}
        self.tasks: dict[str, int] = {}

    def run(self) -> None:
        """All faults in their time; returns when all have been undone and have recovered, or do not recover."""
        self._began = time.time()
        while self._plan or not self._recovered():
            self._undo()
            if self._plan and time.time() - self._began >= self._plan[0].at:
                self._make(self._plan.pop(0))
            self.look()
            time.sleep(LOOK_EVERY_SECONDS)

    def look(self) -> Look:
        """Look once, and say what is seen."""
        look = self._pool.look()
        for node in NODES:
            self.jobs.update(look.vms[node])
        for uuid, done in look.tasks.items():
            self.tasks[uuid] = max(done, self.tasks.get(uuid, 0))
        for each in self.happened:
            before = each.well, each.again
            each.take(look)
            if (each.well, each.again) != before and each.over:
                self.say(f"{each.planned.node}: recovered from: {each.planned.fault.name}")
        self._write("look", broken={node: look.trouble(node) for node in ALL}, vms=look.vms, queue=look.queue)
        self._screen.say(self._screen.stamp(str(look)))
        return look

    def say(self, text: str) -> None:
        """Print and write down what happened."""
        self._write("event", text=text)
        self._screen.say(self._screen.stamp(text))

    def _make(self, planned: Planned) -> None:
        found = Happened(planned, time.time(), known=set(self.jobs))
        self.happened.append(found)
        self.say(f"{planned.node}: {planned.fault.name}")
        try:
            found.said = self._pool.act(planned.node, planned.fault.make)
        except NotDoneError as error:
            found.failed = str(error)
            self.say(f"this fault could not be made: {error}")
        if not planned.fault.undo:
            found.undone = time.time()

    def _undo(self) -> None:
        """Undo what is due; what cannot be is tried again, as long as the soak lasts. Also where making it failed."""
        for each in self.happened:
            fault = each.planned.fault
            if each.undone is not None or time.time() - each.made < fault.seconds:
                continue
            try:
                self._pool.act(each.planned.node, fault.undo)
            except NotDoneError as error:
                self.say(f"{each.planned.node}: cannot undo {fault.name!r}: {error}")
                if not each.failed:
                    continue
            each.undone, each.known = time.time(), set(self.jobs)
            self.say(f"{each.planned.node}: over: {fault.name}")

    def _recovered(self) -> bool:
        """Whether everything has recovered, or has had the time to."""
        late = time.time() - max((each.undone or each.made for each in self.happened), default=0.0) > RECOVERY_SECONDS
        return late or all(each.undone is not None and each.over for each in self.happened)

    def _write(self, kind: str, **what: Any) -> None:
        with self._journal.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"time": round(time.time(), 1), "kind": kind, **what}) + "\n")
