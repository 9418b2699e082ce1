# SPDX-License-Identifier: GPL-3.0-or-later
"""What was seen of a pool that played, as JSON lines: the pool, looks, VMs and negotiation cycles.

All times are seconds since the factory's first decision, and hosts are numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import course


@dataclass(frozen=True)
class Look:
    """The VMs at one moment: those that wait, those that have a slot, and those that have a task."""

    seconds: float
    idle: int
    in_use: int
    working: int
    avoided: tuple[int, ...] = ()


@dataclass(frozen=True)
class Life:
    """One VM's times; None is what never came.

    ``asked`` is its first question to the task queue, ``task`` its first task, ``shown`` when the factory was first
    seen to know of its work, ``vain`` its first question without a task after which it ended.
    """

    host: int
    matched: float
    asked: float | None = None
    task: float | None = None
    shown: float | None = None
    vain: float | None = None
    ended: float | None = None
    code: int | None = None


@dataclass(frozen=True)
class Record:
    """A whole play; ``emptied`` is when the task queue was emptied, ``cycles`` when the negotiator worked."""

    emptied: float
    looks: tuple[Look, ...]
    lives: tuple[Life, ...]
    cycles: tuple[float, ...]

    def write(self, path: Path) -> None:
        """Put it into a file."""
        rows = [{"kind": "pool", "emptied": self.emptied, "cycles": list(self.cycles)}]
        rows += [{"kind": "look", **asdict(each)} for each in self.looks]
        rows += [{"kind": "vm", **asdict(each)} for each in self.lives]
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")


def read(path: Path) -> Record:
    """The record in a file. Raises OSError, and ValueError or KeyError for what is none."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    kinds: dict[str, list[dict[str, Any]]] = {"pool": [], "look": [], "vm": []}
    for row in rows:
        kinds[row.pop("kind")].append(row)
    if len(kinds["pool"]) != 1:
        raise ValueError("it has no line of its pool")
    looks = tuple(Look(**{**row, "avoided": tuple(row["avoided"])}) for row in kinds["look"])
    (pool,) = kinds["pool"]
    return Record(pool["emptied"], looks, tuple(Life(**row) for row in kinds["vm"]), tuple(pool["cycles"]))


def of_pool(looks: Sequence[Mapping[str, Any]], end: Mapping[str, Any], began: float, emptied: float) -> Record:
    """The record of a play that began then (Unix s), from what inside.py showed."""
    shown: dict[str, float] = {}
    for each in looks:
        for job in each["shown"]:
            shown.setdefault(job, round(each["time"] - began, 1))
    return Record(
        emptied=round(emptied - began, 1),
        looks=tuple(
            Look(
                round(each["time"] - began, 1),
                each["idle"],
                each["in_use"],
                each["working"],
                tuple(map(number, each["avoided"])),
            )
            for each in looks
            if each["time"] >= began
        ),
        lives=tuple(_life(vm, end["events"], shown.get(vm["job"]), began) for vm in end["vms"]),
        cycles=tuple(round(when - began, 1) for when in end["cycles"] if when >= began - course.INTERVAL_SECONDS),
    )


def number(host: str) -> int:
    """The number of a node by its name: node1.lab is 0."""
    return course.NODES.index(host.partition(".")[0])


def _life(vm: Mapping[str, Any], events: Sequence[Mapping[str, Any]], shown: float | None, began: float) -> Life:
    mine = [event for event in events if event["vm"] == vm["uuid"] and vm["uuid"]]

    def first(*names: str) -> float | None:
        return next((round(event["time"] - began, 1) for event in mine if event["event"] in names), None)

    return Life(
        host=number(vm["host"]),
        matched=round(vm["matched"] - began, 1),
        asked=first("taken", "none"),
        task=first("taken"),
        shown=shown,
        vain=first("none"),
        ended=None if vm["ended"] is None else round(vm["ended"] - began, 1),
        code=vm["code"],
    )
