# SPDX-License-Identifier: GPL-3.0-or-later
"""Patterns of demand: when which tasks arrive in an experiment's queue."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.lives.draws import DAY, HOUR, MINUTE, Data, even, span

# Seconds: a task's length, and the shortest in pools whose tasks would be too many to play.
SHORTEST, LONGEST = 300, 4 * HOUR
MANY_VMS, SHORTEST_OF_MANY = 300, 1200
# Seconds between batches, so that a scenario remains a file that can be read.
SHORTEST_GAP = 60.0
# More tasks than the pool can do.
ENOUGH = 1.5


@dataclass(frozen=True)
class Place:
    """What demand is measured by: the scenario's seconds, how many VMs have room, and how many by fair share."""

    duration: int
    vms: int
    fair: int

    def seconds(self, rng: random.Random) -> list[int]:
        """How long a task lasts, ``[low, high]``."""
        return span(rng, SHORTEST_OF_MANY if self.vms > MANY_VMS else SHORTEST, LONGEST)


def _mean(seconds: list[int]) -> float:
    return sum(seconds) / 2


def _enough(place: Place, at: int, until: int, seconds: list[int], factor: float) -> Data:
    """Tasks that keep all VMs at work from ``at`` until ``until``, times a factor."""
    return {"at": at, "tasks": int(factor * place.vms * (until - at) / _mean(seconds)) + 1, "seconds": seconds}


def none(_place: Place, _rng: random.Random) -> list[Data]:
    """No work at all."""
    return []


def plenty(place: Place, rng: random.Random) -> list[Data]:
    """Work for the whole pool, from the beginning to the end."""
    return [_enough(place, 0, place.duration, place.seconds(rng), ENOUGH)]


def late(place: Place, rng: random.Random) -> list[Data]:
    """Nothing for an hour or more, then plenty."""
    at = rng.randint(HOUR, place.duration // 2)
    return [_enough(place, at, place.duration, place.seconds(rng), ENOUGH)]


def ends(place: Place, rng: random.Random) -> list[Data]:
    """Plenty, and its end after a fifth to three quarters of the time."""
    return [_enough(place, 0, round(place.duration * rng.uniform(0.2, 0.75)), place.seconds(rng), 1)]


def bursts(place: Place, rng: random.Random) -> list[Data]:
    """Tasks for a tenth of the VMs to two each, at random times every few hours."""
    seconds, period = place.seconds(rng), even(rng, HOUR, 6 * HOUR)
    queue, at = [], rng.uniform(0, period)
    while at < place.duration:
        queue.append({"at": int(at), "tasks": max(1, int(place.vms * rng.uniform(0.1, 2))), "seconds": seconds})
        at += period * rng.uniform(0.5, 1.5)
    return queue


def flapping(place: Place, rng: random.Random) -> list[Data]:
    """Work for all VMs in a part of each period."""
    period = even(rng, HOUR, 5 * HOUR)
    seconds = span(rng, SHORTEST, max(SHORTEST, period // 2))
    part = rng.uniform(0.2, 0.9)
    begins = range(rng.randint(0, period), place.duration, period)
    return [_enough(place, at, at + period, seconds, part) for at in begins]


def _trickle(place: Place, rng: random.Random, busy: float, size: int) -> list[Data]:
    """Batches of ``size`` tasks, at random times, that keep ``busy`` VMs at work on average."""
    seconds = place.seconds(rng)
    gap = max(size * _mean(seconds) / busy, SHORTEST_GAP)
    size = max(1, round(gap * busy / _mean(seconds)))
    queue, at = [], rng.uniform(0, gap)
    while at < place.duration:
        queue.append({"at": int(at), "tasks": size, "seconds": seconds})
        at += gap * rng.uniform(0, 2)
    return queue


def thin_trickle(place: Place, rng: random.Random) -> list[Data]:
    """Single tasks, for a third of a VM to two VMs."""
    return _trickle(place, rng, rng.uniform(0.3, 2.0), 1)


def trickle(place: Place, rng: random.Random) -> list[Data]:
    """Small batches, for a tenth of the VMs or less."""
    return _trickle(place, rng, max(0.5, place.vms * rng.uniform(0.02, 0.1)), rng.choice([1, 1, 2, 4]))


def broad_trickle(place: Place, rng: random.Random) -> list[Data]:
    """Batches that keep a fifth to nine tenths of the VMs at work."""
    busy = max(1.0, place.vms * rng.uniform(0.2, 0.9))
    return _trickle(place, rng, busy, rng.choice([1, 2, max(1, int(busy / 4))]))


def one_or_two(place: Place, rng: random.Random) -> list[Data]:
    """Tasks for one or two VMs, again and again as they end."""
    vms, seconds = rng.choice([1, 2]), even(rng, SHORTEST, 2 * HOUR)
    begins = range(0, place.duration, seconds)
    return [{"at": at, "tasks": vms, "seconds": [seconds, seconds]} for at in begins]


def fair_share(place: Place, rng: random.Random) -> list[Data]:
    """Tasks for about its share of the pool."""
    return _trickle(place, rng, max(1.0, place.fair * rng.uniform(0.6, 1.3)), max(1, place.fair // 8))


def diurnal(place: Place, rng: random.Random) -> list[Data]:
    """Work that rises and falls with the day."""
    seconds, gap, noon = place.seconds(rng), rng.choice([10, 20, 30]) * MINUTE, rng.uniform(0, DAY)
    most = place.vms * rng.uniform(0.2, 1.2)
    queue = []
    for at in range(0, place.duration, gap):
        apart = abs((at - noon) % DAY - DAY / 2) / (DAY / 2)  # 1 at noon, 0 at midnight
        queue.append({"at": at, "tasks": int(most * apart * gap / _mean(seconds) + rng.random()), "seconds": seconds})
    return queue


DEMANDS: dict[str, Callable[[Place, random.Random], list[Data]]] = {
    each.__name__: each
    for each in (
        none, plenty, late, ends, bursts, flapping, thin_trickle, trickle, broad_trickle, one_or_two, fair_share,
        diurnal,
    )
}  # fmt: skip
WEIGHTS = {name: 1 for name in DEMANDS} | {"none": 2, "plenty": 2, "bursts": 2}
