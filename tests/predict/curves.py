# SPDX-License-Identifier: GPL-3.0-or-later
"""The curves of the simulator and of a real pool, and how far they are apart."""

from __future__ import annotations

import bisect
import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from condor_vac.simulate.play import OURS, Factory
from condor_vac.simulate.scenario import Scenario
from condor_vac.simulate.vm import STARTING, WAITING, WORKING
from condor_vac.simulate.world import World

from .record import Look

EVERY_SECONDS = 10.0
# A single play has its own chance: which VM boots sooner, and which is seen just before the factory's cycle.
PLAYS = 50
FIRST_MINUTE = 60.0
# Of the pool.
LIMIT = 0.2
IN_USE, WORK = "in use", "that work"


@dataclass(frozen=True)
class Predicted:
    """Slots at each moment, the means of several plays; ``lost`` and ``avoided`` are of one host.

    ``lost``: how many VMs ended there, in the middle play. ``avoided``: when it was avoided first (None: never).
    """

    seconds: tuple[float, ...]
    slots: Mapping[str, tuple[float, ...]]
    lost: float
    avoided: float | None

    def at(self, what: str, seconds: float) -> float:
        """The slots at a moment, in a line from one sample to the next."""
        after = min(max(bisect.bisect_right(self.seconds, seconds), 1), len(self.seconds) - 1)
        begin, end = self.seconds[after - 1], self.seconds[after]
        part = min(max((seconds - begin) / (end - begin), 0.0), 1.0)
        return self.slots[what][after - 1] * (1 - part) + self.slots[what][after] * part


@dataclass(frozen=True)
class Difference:
    """How many slots the pool had more than predicted at one moment."""

    what: str
    seconds: float
    seen: int
    predicted: float

    def share(self, total: int) -> float:
        """Its size as a part of the pool."""
        return abs(self.seen - self.predicted) / total


def predict(scenario: Scenario, host: int, plays: int = PLAYS) -> Predicted:
    """What the simulator makes of a scenario with one machinetype, with so many seeds."""
    found = [_play(dataclasses.replace(scenario, seed=seed), host) for seed in range(1, plays + 1)]
    rows = list(zip(*(rows for rows, _, _ in found)))
    avoided = [when for _, _, when in found if when is not None]
    return Predicted(
        seconds=tuple(row[0][0] for row in rows),
        slots={
            what: tuple(statistics.fmean(each[column] for each in row) for row in rows)
            for column, what in ((1, IN_USE), (2, WORK))
        },
        lost=statistics.median(lost for _, lost, _ in found),
        avoided=statistics.median(avoided) if avoided else None,
    )


def _play(scenario: Scenario, host: int) -> tuple[list[tuple[float, int, int]], int, float | None]:
    """Seconds, slots in use and slots that work; VMs that ``host`` had; and when it was avoided first."""
    world = World(scenario)
    (kind,) = world.kinds
    Factory(world, kind, OURS)
    rows: list[tuple[float, int, int]] = []
    had: set[str] = set()
    avoided: list[float] = []

    def sample() -> None:
        phases = kind.phases
        rows.append((world.now, phases[STARTING] + phases[WAITING] + phases[WORKING], phases[WORKING]))
        had.update(world.on_host[host])
        avoided.extend([world.now] * (host in kind.avoid))

    world.every(EVERY_SECONDS, sample)
    world.run()
    return rows, len(had), avoided[0] if avoided else None


def differences(looks: Sequence[Look], predicted: Predicted) -> list[Difference]:
    """At each look after the first minute, in both curves."""
    return [
        Difference(what, look.seconds, seen, predicted.at(what, look.seconds))
        for look in looks
        if FIRST_MINUTE <= look.seconds <= predicted.seconds[-1]
        for what, seen in ((IN_USE, look.in_use), (WORK, look.working))
    ]


def greatest(found: Sequence[Difference], what: str, total: int) -> Difference:
    """The greatest difference of one curve."""
    return max((each for each in found if each.what == what), key=lambda each: each.share(total))


def seconds_to(looks: Sequence[Look], slots: float) -> float | None:
    """When so many slots first worked; None: never."""
    return next((look.seconds for look in looks if look.working >= slots), None)


def predicted_to(predicted: Predicted, slots: float) -> float | None:
    """When so many slots first work, as predicted; None: never."""
    return next((when for when, number in zip(predicted.seconds, predicted.slots[WORK]) if number >= slots), None)
