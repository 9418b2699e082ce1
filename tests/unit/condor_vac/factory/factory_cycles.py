# SPDX-License-Identifier: GPL-3.0-or-later
"""A factory and its queue, on a stand-in for the pool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from condor_vac.factory.cycle import Cycle
from tests.unit.condor_vac.standins import NOW, OWN_JOB, StandInPool, factory_ad, machinetype

M = machinetype(max_machines=6, max_idle=4)


def cycle(pool: StandInPool, directory: Path, own_job: str | None = OWN_JOB, now: float = NOW) -> Cycle:
    """A factory that has just started."""
    made = Cycle(pool, str(directory), own_job, print, lambda: now)  # type: ignore[arg-type]
    made.load()
    return made


def with_factory(*ads: dict[str, Any]) -> StandInPool:
    """A queue with the factory's own job and these."""
    return StandInPool([factory_ad(), *ads])
