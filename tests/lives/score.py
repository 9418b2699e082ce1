# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays a life with every policy and scores ours against the best of its peers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from condor_vac.simulate.play import ORACLE, OURS
from tests.lives import pools
from tests.lives.generator import Life, life
from tests.lives.rivals import RIVALS, Net, net, rivals
from tests.lives.watched import Watched, play_ours

PEERS = tuple(name for name in RIVALS if name != ORACLE)
# Share of the pool's slot time: with less work than this the difference is not given as a share of the work.
SOME_WORK = 0.01


@dataclass(frozen=True)
class Part:
    """One machinetype's part of the score, and what it comes from."""

    name: str
    character: str
    demand: str
    score: float
    runaway: int  # VMs without any work beyond those that probes may be


@dataclass(frozen=True)
class Score:
    """One life. ``score``: (work - wasted) of ours less that of the best peer, as a share of the pool's slot time.

    ``of_work`` is the same as a share of the oracle's work, None where that is below `SOME_WORK` of the pool.
    ``nets`` are (work - wasted) as shares of the pool's slot time, by policy, the oracle's too.
    """

    seed: int
    line: str
    score: float
    of_work: float | None
    best: str
    nets: dict[str, float]
    parts: tuple[Part, ...]
    pool: tuple[str, ...]
    limits: str
    troubles: tuple[str, ...]
    cap_violations: int
    killed_working: int

    @property
    def runaway(self) -> int:
        """VMs without any work beyond those that probes may be."""
        return sum(part.runaway for part in self.parts)

    @property
    def breaks_a_rule(self) -> bool:
        """Whether a cap was exceeded, a working VM was removed, or VMs without any work ran away."""
        return bool(self.cap_violations or self.killed_working or self.runaway)

    def as_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        return asdict(self)


def score(seed: int) -> Score:
    """Play the life of this seed. Raises RuntimeError that names the seed if it cannot be played."""
    try:
        return score_of(life(seed))
    except Exception as error:
        raise RuntimeError(f"life {seed}: {type(error).__name__}: {error}") from error


def score_of(played: Life) -> Score:
    """Play this life with every policy."""
    scenario = played.scenario()
    world = play_ours(scenario)
    others = rivals(played)
    ours, best = net(world), max(PEERS, key=lambda policy: others[policy].whole)
    slot_time = pools.slots(played.data) * scenario.duration
    difference, work = (ours.whole - others[best].whole) / slot_time, others[ORACLE].work / slot_time
    return Score(
        seed=played.seed,
        line=played.line(),
        score=difference,
        of_work=difference / work if work >= SOME_WORK else None,
        best=best,
        nets={policy: each.whole / slot_time for policy, each in {OURS: ours, **others}.items()},
        parts=_parts(played, world, ours, others[best], slot_time),
        pool=played.pool,
        limits=played.limits,
        troubles=played.troubles,
        cap_violations=world.meter.cap_violations,
        killed_working=world.meter.killed_working,
    )


def _parts(played: Life, world: Watched, ours: Net, best: Net, slot_time: float) -> tuple[Part, ...]:
    return tuple(
        Part(each.name, each.character, each.demand, (own - other) / slot_time, world.runaway(kind))
        for each, kind, own, other in zip(played.experiments, world.kinds, ours.kinds, best.kinds)
    )
