# SPDX-License-Identifier: GPL-3.0-or-later
"""A small scenario to change one thing of, and a player that submits once and remembers what it saw."""

from __future__ import annotations

import copy
from typing import Any

from condor_vac.policy.observation import Decision, Ended, Observation
from condor_vac.simulate.play import Factory
from condor_vac.simulate.scenario import Scenario, from_mapping
from condor_vac.simulate.world import World

BASE: dict[str, Any] = {
    "name": "base",
    "seed": 1,
    "duration": 7200,
    "hosts": {"count": 2, "slots": 4},
    "negotiation_interval": 60,
    "start_seconds": [60, 60],
    "machinetypes": [
        {
            "name": "one",
            "max_machines": 4,
            "max_idle": 4,
            "queue": [{"at": 0, "tasks": 4, "seconds": [600, 600]}],
            "idle_seconds": [120, 120],
            "evidence_seconds": [60, 60],
            "no_work_message": "300 none",
        }
    ],
}


def changed(*path: Any, value: Any) -> dict[str, Any]:
    """`BASE` with this value at the path."""
    data = copy.deepcopy(BASE)
    part = data
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return data


def scenario(data: dict[str, Any] | None = None, **machinetype: Any) -> Scenario:
    """The scenario of ``data`` (`BASE`), its first machinetype with these keys."""
    data = copy.deepcopy(data or BASE)
    data["machinetypes"][0].update(machinetype)
    return from_mapping(data, "test.yml")


class Once:
    """Submits a number of VMs at the first cycle and remembers all that it was shown."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.seen: list[Observation] = []

    def decide(self, seen: Observation) -> Decision:
        self.seen.append(seen)
        number, self.number = self.number, 0
        return Decision(submit=number)


def watched(played: Scenario, number: int) -> tuple[World, list[Observation]]:
    """The world after ``played``, in which each machinetype got so many VMs at once, and what was seen."""
    world, player = World(played), Once(number)
    for kind in world.kinds:
        Factory(world, kind, "vacuum").player = player
    world.run()
    return world, player.seen


def ends(seen: list[Observation]) -> list[Ended]:
    """All ends that were seen."""
    return [end for one in seen for end in one.ended]
