# SPDX-License-Identifier: GPL-3.0-or-later
"""What the other policies make of a life, kept on disk: a change of our policy does not change them."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from condor_vac.simulate.play import OURS, POLICIES, play
from condor_vac.simulate.vm import Kind
from condor_vac.simulate.world import World
from tests.lives.generator import Life

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "lives"
SOURCES = ROOT / "src" / "condor_vac"
RIVALS = tuple(name for name in POLICIES if name != OURS)


@dataclass(frozen=True)
class Net:
    """What one policy made of a life, in slot-seconds: work, work - wasted, and the latter of each machinetype."""

    work: float
    whole: float
    kinds: Sequence[float]


def net(world: World) -> Net:
    """What the policy of this world made of it."""
    return Net(world.meter.work, _net(world), [_net(kind) for kind in world.kinds])


def _net(of: World | Kind) -> float:
    return of.meter.work - of.meter.wasted


def rivals(played: Life) -> dict[str, Net]:
    """Each of `RIVALS` in this life, played now or from the disk."""
    kept = CACHE / f"{_key(played)}.json"
    try:
        return {name: Net(**figures) for name, figures in json.loads(kept.read_text("utf-8")).items()}
    except FileNotFoundError:
        pass
    scenario = played.scenario()
    found = {name: net(play(scenario, name)) for name in RIVALS}
    CACHE.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(".part")
    part.write_text(json.dumps({name: vars(each) for name, each in found.items()}), "utf-8")
    part.replace(kept)
    return found


def _key(played: Life) -> str:
    """Changes with the scenario and with the code that plays it."""
    data = json.dumps(played.data, sort_keys=True)
    return hashlib.sha256(f"{_code()}{data}".encode()).hexdigest()


@functools.lru_cache(maxsize=1)
def _code() -> str:
    """A digest of the programs' sources but for our policy, of which the others use the observation only."""
    files = sorted(
        path for path in SOURCES.rglob("*.py") if path.parent != SOURCES / "policy" or path.name == "observation.py"
    )
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()
