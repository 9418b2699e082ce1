# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool's own times, which a scenario must have, from what became of its VMs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from condor_vac.simulate.world import REQUEST_SECONDS

from .record import Life, Record

Pair = tuple[float, float]
# Seconds: VMs that were matched within so long of the first one are the first of their nodes, and boot all at once.
TOGETHER_SECONDS = 30.0
# Of later VMs so many must have booted before their times say anything.
FEW = 3


class NotSeenError(Exception):
    """What a scenario needs was not seen in the pool; the message says what."""


@dataclass(frozen=True)
class Times:
    """In seconds, pairs are [low, high].

    ``start_seconds``: from match to first question, of VMs that start while others run. The first ones, which all boot
    at once, take ``first_start_seconds`` longer, with what they waited for the negotiator longer than in the simulator:
    its last cycle may have been less than 20 s before. ``end_seconds``: from the answer that there is no task to the
    end of the VM's job. ``evidence_seconds``: from the first task to the moment that the factory has seen work (None:
    never). ``first_hole_seconds`` and ``hole_seconds``: from match to end of the black hole's first VMs, and of later
    ones.
    """

    start_seconds: Pair
    first_start_seconds: float
    end_seconds: Pair
    evidence_seconds: Pair | None
    first_hole_seconds: float
    hole_seconds: float
    negotiation_interval: float

    def hole_windows(self, duration: float) -> list[tuple[float, float, float]]:
        """For VMs matched from the second to the third of each: how long they live on the black hole."""
        return [(self.first_hole_seconds, 0.0, TOGETHER_SECONDS), (self.hole_seconds, TOGETHER_SECONDS, duration)]


def measure(record: Record, hole: int) -> Times:
    """The times of a pool whose host ``hole`` is the black hole. Raises NotSeenError."""
    good = [life for life in record.lives if life.host != hole]
    boots = [(life, life.asked - life.matched) for life in good if life.asked is not None]
    first = {id(life) for life in _first(record.lives)}
    waited = min((life.matched for life in record.lives), default=0.0) - REQUEST_SECONDS
    early = [seconds for life, seconds in boots if id(life) in first]
    later = [seconds for life, seconds in boots if id(life) not in first]
    longer = max(0.0, statistics.fmean(early) - statistics.fmean(later)) if early and len(later) >= FEW else 0.0
    shown = [life.shown - life.task for life in good if life.shown is not None and life.task is not None]
    lost = [(life, life.ended - life.matched) for life in record.lives if life.host == hole and life.ended is not None]
    first_lost = [seconds for life, seconds in lost if id(life) in first]
    later_lost = [seconds for life, seconds in lost if id(life) not in first] or first_lost
    return Times(
        start_seconds=_pair([seconds - longer for seconds in early] + later, "a VM that asked for a task"),
        first_start_seconds=round(longer + max(0.0, waited), 1),
        end_seconds=_pair(
            [life.ended - life.vain for life in good if life.ended is not None and life.vain is not None],
            "a VM that found no task",
        ),
        evidence_seconds=_pair([max(0.0, each) for each in shown], "") if shown else None,
        first_hole_seconds=_middle([each + max(0.0, waited) for each in first_lost], "a VM that the black hole lost"),
        hole_seconds=_middle(later_lost, "a VM that the black hole lost"),
        negotiation_interval=_interval(record.cycles),
    )


def _first(lives: Sequence[Life]) -> list[Life]:
    begin = min((life.matched for life in lives), default=0.0)
    return [life for life in lives if life.matched <= begin + TOGETHER_SECONDS]


def _pair(seconds: Iterable[float], what: str) -> Pair:
    """The ends of the even distribution that is nearest: of the line through the sorted figures."""
    found = sorted(seconds)
    if not found:
        raise NotSeenError(f"not seen: {what}")
    if found[0] == found[-1]:
        return found[0], found[0]
    places = [(place + 0.5) / len(found) for place in range(len(found))]
    slope, low = statistics.linear_regression(places, found)
    return round(max(0.0, low), 1), round(low + slope, 1)


def _middle(seconds: Sequence[float], what: str) -> float:
    if not seconds:
        raise NotSeenError(f"not seen: {what}")
    return round(statistics.median(seconds), 1)


def _interval(cycles: Sequence[float]) -> float:
    """From one negotiation cycle to the next where none was asked for: the usual one of the longer half."""
    gaps = sorted(later - earlier for earlier, later in zip(cycles, cycles[1:]))
    if not gaps:
        raise NotSeenError("not seen: two negotiation cycles")
    return round(statistics.median(gaps[len(gaps) // 2 :]), 1)
