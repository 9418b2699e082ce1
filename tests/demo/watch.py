# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches the pool until the demo's course is over, and shows what happens."""

from __future__ import annotations

from collections.abc import Mapping

from . import table
from .course import DECLINE, OVER, Course
from .patience import Patience
from .pool import Look, Pool, PoolError
from .sample import Experiment, Sample, count, made, without_figures
from .screen import Screen

LOOK_SECONDS = 2


class Watch:
    """``work_for`` is for how many VMs each experiment has work. ``samples`` are all that was seen.

    ``work_ended`` is when the work ended, in seconds since the demo began (None: it has not).
    """

    def __init__(self, screen: Screen, pool: Pool, work_for: Mapping[str, int]) -> None:
        self._screen = screen
        self._pool = pool
        self._course = Course(work_for)
        self._names = tuple(work_for)
        self._shown: dict[str, object] = {}
        self._patience = Patience()
        self.samples: list[Sample] = []
        self.work_ended: float | None = None

    def run(self) -> None:
        """Return when all is over. Raises PoolError when the pool does not answer, or nothing happens any more."""
        with self._pool.looks(self._names, LOOK_SECONDS) as looks:
            for look in looks:
                if look is not None:
                    self._take(look)
                    if self._course.phase == OVER:
                        break
                self._show()
                if not self._patience.take(self.samples[-1].news if self.samples else ()):
                    raise PoolError(self._pool.trouble or "nothing has happened for too long")
        self._screen.leave()

    def _take(self, look: Look) -> None:
        sample = Sample(self._screen.seconds(), look)
        self.samples.append(sample)
        self._course.take(sample)
        if self._course.phase == DECLINE and self.work_ended is None and self._pool.end_work(self._names):
            self.work_ended = sample.seconds
            at_work = count(sample.total("at_work"))
            self._screen.say(self._screen.stamp(f"{at_work} at work at once. From here on the work runs out."))
        for decision in made(self.samples[-2:]):
            if decision.seconds == sample.seconds:
                self._screen.say(self._screen.stamp(f"{decision.name}: +{count(decision.number)}. {decision.why}"))
        if not self._screen.terminal:
            for name, each in look.items():
                self._row(name, each)

    def _row(self, name: str, each: Experiment) -> None:
        """Without a terminal: a line if there is news of an experiment, one more if its factory has another reason."""
        if self._shown.get(name) != each.news:
            self._shown[name] = each.news
            self._screen.say(self._screen.stamp(table.line(name, each)))
        why = without_figures(each.why)
        if self._shown.get(f"{name}'s reasons") != why and not each.submitted:
            self._screen.say(*table.paragraph(f"{name}'s factory: {each.why}", self._screen.width))
        self._shown[f"{name}'s reasons"] = why

    def _show(self) -> None:
        if not self.samples:
            self._screen.show([self._screen.stamp("…")], self._screen.stamp("the pool has not answered yet"))
            return
        sample = self.samples[-1]
        phase = self._screen.stamp(self._course.describe(sample))
        self._screen.show(table.block(sample, phase, self._screen.width), self._screen.stamp(table.brief(sample)))
