# SPDX-License-Identifier: GPL-3.0-or-later
"""What is seen of the experiments at one moment, as plain data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

NO_WORK = "300"
SUCCESS = "200"


@dataclass(frozen=True)
class Experiment:
    """One experiment: its task queue's tasks, its factory's VMs, and what that factory decided last.

    ``at_work`` are tasks that a VM has, or that wait for the one VM that did the task before; ``left`` are those
    that wait for any VM. ``works`` of the ``running`` VMs have shown work. ``ended`` counts VMs by shutdown code.
    ``decided`` is the Unix time of the last decision (None: none yet), by which ``submitted`` VMs were made.
    """

    left: int
    at_work: int
    done: int
    idle: int = 0
    running: int = 0
    works: int = 0
    ended: tuple[tuple[str, int], ...] = ()
    decided: float | None = None
    submitted: int = 0
    reasons: tuple[str, ...] = ()

    @classmethod
    def of(cls, tasks: Mapping[str, Any], factory: Mapping[str, Any]) -> Experiment:
        """From a task queue's status and an entry of ``condor_vac status --json`` ({} if it has none yet)."""
        last = factory.get("last") or {}
        kept = int(tasks["kept"])
        return cls(
            left=int(tasks["queued"]) - kept,
            at_work=int(tasks["taken"]) + kept,
            done=int(tasks["done"]),
            idle=int(factory.get("idle") or 0),
            running=int(factory.get("running") or 0),
            works=int(factory.get("works") or 0),
            ended=tuple(sorted((str(code), int(number)) for code, number in (factory.get("ended") or {}).items())),
            decided=last.get("time"),
            submitted=int(last.get("submit") or 0),
            reasons=(*(last.get("reasons") or ()), *(factory.get("problems") or ())),
        )

    @property
    def alive(self) -> int:
        """VMs that wait for a node or run."""
        return self.idle + self.running

    @property
    def why(self) -> str:
        """The reasons of the last decision."""
        return " ".join(self.reasons) or "It has not decided yet."

    @property
    def news(self) -> tuple[object, ...]:
        """What changes only if something happens: not that time passes, nor that tasks follow each other."""
        return (self.left, self.at_work, self.idle, self.running, self.works, self.ended, without_figures(self.why))


@dataclass(frozen=True)
class Sample:
    """All experiments by name, ``seconds`` after the demo began."""

    seconds: float
    experiments: Mapping[str, Experiment]

    def total(self, what: str) -> int:
        """The sum of a number over the experiments."""
        return sum(int(getattr(each, what)) for each in self.experiments.values())

    @property
    def news(self) -> tuple[object, ...]:
        """What of it need not be printed if it was the same before."""
        return tuple((name, each.news) for name, each in sorted(self.experiments.items()))


@dataclass(frozen=True)
class Made:
    """A decision to make VMs, seen ``seconds`` after the demo began."""

    seconds: float
    name: str
    number: int
    why: str


def made(samples: Iterable[Sample]) -> list[Made]:
    """The decisions to make VMs that are among the samples, in their order."""
    found: list[Made] = []
    known: dict[str, float | None] = {}
    for sample in samples:
        for name, each in sample.experiments.items():
            if each.submitted and each.decided != known.get(name):
                found.append(Made(sample.seconds, name, each.submitted, each.why))
            known[name] = each.decided
    return found


def without_figures(text: str) -> str:
    """A text in which all numbers are alike."""
    return re.sub(r"\d+(\.\d+)?", "#", text)


def count(number: int, what: str = "VM") -> str:
    """A number of things in words."""
    return f"{number} {what}{'' if number == 1 else 's'}"
