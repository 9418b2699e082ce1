# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold for the policy in every life: no cap exceeded, no working VM removed, no runaway without work."""

from __future__ import annotations

import pytest

from tests.lives.generator import life
from tests.lives.watched import play_ours

# Lives with a machinetype that has no work: small ones that have all the characters, troubles and limits together.
SEEDS = (14, 22, 40, 51, 57, 61, 65, 83, 106, 113, 118, 127, 128, 144, 165, 171, 173, 175, 194, 196)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_life_breaks_no_rule(seed: int) -> None:
    played = life(seed)
    world = play_ours(played.scenario())
    assert world.meter.vm_starts > 0, "VMs ask for work"
    assert world.meter.cap_violations == 0, played.line()
    assert world.meter.killed_working == 0, played.line()
    runaways = {kind.spec.name: world.runaway(kind) for kind in world.kinds}
    assert not any(runaways.values()), f"{runaways}: {played.line()}"


def test_the_lives_have_what_the_rules_are_about() -> None:
    drawn = [life(seed) for seed in SEEDS]
    demands = [each.demand for played in drawn for each in played.experiments]
    assert demands.count("none") >= len(SEEDS)
    assert len(demands) - demands.count("none") >= len(SEEDS)
    assert len({name for played in drawn for name in played.troubles}) >= 10
