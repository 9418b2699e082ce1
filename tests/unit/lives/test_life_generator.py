# SPDX-License-Identifier: GPL-3.0-or-later
"""Lives: a seed always gives the same one, all kinds occur, and each is a scenario that can be played."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from condor_vac.model.machinetype_keys import with_defaults
from condor_vac.simulate.scenario import load
from tests.lives import characters, demands, pools, troubles
from tests.lives.__main__ import as_yaml
from tests.lives.demands import Place
from tests.lives.draws import DAY, HOUR, Data, even, numbers, pick, span
from tests.lives.generator import LABELS, Life, life

LIVES = [life(seed) for seed in range(1, 201)]
EXPERIMENTS = [each for drawn in LIVES for each in drawn.experiments]
DIGEST = "827575e922fc01b7"


def test_a_seed_gives_the_same_life_on_every_python() -> None:
    """Whoever changes how lives are drawn changes the digest, and makes figures of earlier lives incomparable."""
    text = json.dumps([drawn.data for drawn in LIVES[:20]], sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == DIGEST
    assert life(7) == life(7) != life(8)


@pytest.mark.parametrize(
    ("kinds", "found"),
    [
        (characters.CHARACTERS, [each.character for each in EXPERIMENTS]),
        (demands.DEMANDS, [each.demand for each in EXPERIMENTS]),
        (troubles.TROUBLES, [name for drawn in LIVES for name in drawn.troubles]),
        (pools.LIMITS, [drawn.limits for drawn in LIVES]),
        (pools.SIZES, [drawn.pool[0] for drawn in LIVES]),
        (pools.STARTS, [drawn.pool[1].removeprefix("start_") for drawn in LIVES]),
        ((1, 2, 3, 4), [len(drawn.experiments) for drawn in LIVES]),
    ],
    ids=["characters", "demands", "troubles", "limits", "sizes", "starts", "experiments"],
)
def test_all_kinds_occur_in_200_lives(kinds: list[object], found: list[object]) -> None:
    counted = Counter(found)
    assert set(counted) == set(kinds)
    assert min(counted.values()) >= 3


def test_labels_are_those_that_lives_have() -> None:
    assert {label for drawn in LIVES for label in drawn.labels} == LABELS


@pytest.mark.slow
@pytest.mark.parametrize("drawn", LIVES[:20], ids=lambda drawn: str(drawn.seed))
def test_a_life_is_a_scenario_file_that_can_be_read(drawn: Life, tmp_path: Path) -> None:
    path = tmp_path / "life.yml"
    path.write_text(as_yaml(drawn), "utf-8")
    assert load(str(path)) == drawn.scenario()
    assert drawn.line() in path.read_text("utf-8")


@pytest.mark.parametrize("drawn", LIVES, ids=lambda drawn: str(drawn.seed))
def test_pools_and_limits_are_within_their_bounds(drawn: Life) -> None:
    scenario = drawn.scenario()
    assert len(scenario.nodes.slots) == pools.hosts(drawn.data)
    assert pools.slots(drawn.data) == scenario.nodes.total
    assert pools.SMALLEST <= scenario.nodes.total <= pools.LARGEST + 3 * 64
    assert max(scenario.nodes.slots) == pools.largest(drawn.data) <= 64
    assert scenario.duration == (DAY if scenario.nodes.total <= pools.DAY_LONG else DAY // 2)
    for kind in scenario.machinetypes:
        room = pools.room(drawn.data, kind.processors)
        assert room == sum(slots // kind.processors for slots in scenario.nodes.slots)
        assert room * 3 // 4 <= kind.limits.max_machines <= room


def test_pools_of_all_sizes_are_as_likely() -> None:
    small = sum(pools.slots(drawn.data) < 126 for drawn in LIVES)
    assert 70 <= small <= 130
    assert any("kinds" in drawn.data["hosts"] for drawn in LIVES)


def test_the_administrator_s_limits_differ_and_the_defaults_are_the_defaults() -> None:
    for drawn in LIVES:
        for kind in drawn.scenario().machinetypes:
            if drawn.limits == "defaults":
                own = with_defaults({"max_machines": kind.limits.max_machines}, ["max_idle"])
                assert kind.limits.max_idle == own["max_idle"]
                assert kind.limits.max_starting is None
            if drawn.limits == "cautious":
                assert kind.limits.max_starting is not None


@pytest.mark.parametrize("name", characters.CHARACTERS)
def test_a_character_has_keys_of_its_own(name: str) -> None:
    usual = characters.usual(numbers("usual"))
    kind = dict(usual)
    characters.CHARACTERS[name](kind, numbers(name))
    assert (kind == usual) is (name in {"says_300", "multi_processor"})


@pytest.mark.parametrize("fizzle", [300, 1200])
@pytest.mark.parametrize("name", [name for name in characters.CHARACTERS if name.startswith("patient")])
def test_patient_agents_ask_for_longer_than_fizzle_seconds(name: str, fizzle: int) -> None:
    kind: Data = {"fizzle_seconds": fizzle}
    characters.CHARACTERS[name](kind, numbers(name))
    assert fizzle < kind["idle_seconds"][0] <= kind["idle_seconds"][1] <= 45 * 60


def test_processors_fit_into_the_largest_node() -> None:
    rng = numbers("processors")
    assert {characters.processors("multi_processor", rng, 4) for _ in range(50)} == {2, 4}
    assert characters.processors("says_300", rng, 4) == 1


def offered(queue: list[Data], until: float = DAY) -> float:
    """Seconds of work that arrive until then."""
    return float(sum(batch["tasks"] * sum(batch["seconds"]) / 2 for batch in queue if batch["at"] < until))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("none", 0, 0),
        ("plenty", 100, 300),
        ("late", 50, 250),
        ("ends", 19, 80),
        ("thin_trickle", 0.1, 2.5),
        ("one_or_two", 0.99, 2.2),
        ("trickle", 0.5, 12),
        ("broad_trickle", 15, 100),
        ("fair_share", 10, 40),
        ("diurnal", 5, 70),
        ("flapping", 10, 100),
        ("bursts", 1, 400),
    ],
)
def test_a_demand_keeps_so_many_of_100_vms_at_work(name: str, seed: int, least: float, most: float) -> None:
    queue = demands.DEMANDS[name](Place(DAY, 100, 25), numbers(name, seed))
    assert least <= offered(queue) / DAY <= most
    assert all(0 <= batch["at"] < DAY for batch in queue)


def test_late_work_comes_late_and_other_work_ends() -> None:
    place = Place(DAY, 100, 25)
    for seed in range(10):
        assert offered(demands.late(place, numbers(seed)), HOUR) == 0
        whole = offered(demands.ends(place, numbers(seed)))
        assert whole == offered(demands.ends(place, numbers(seed)), 1) <= 0.8 * 100 * DAY


def test_a_day_has_a_noon_and_a_night() -> None:
    queue = demands.diurnal(Place(DAY, 1000, 1000), numbers("day"))
    tasks = [batch["tasks"] for batch in queue]
    assert max(tasks) > 10 * min(tasks)


@pytest.mark.parametrize("name", troubles.TROUBLES)
def test_a_trouble_makes_faults(name: str) -> None:
    site = troubles.Site(DAY, 30, ("atlas", "lhcb"))
    drawn = [troubles.TROUBLES[name](site, numbers(name, seed)) for seed in range(5)]
    assert all(drawn)
    assert len({json.dumps(faults) for faults in drawn}) > 1


def test_parts_have_numbers_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    before = life(11)
    monkeypatch.setattr(demands, "WEIGHTS", {"none": 1})
    after = life(11)
    assert {each.demand for each in after.experiments} == {"none"}
    assert (before.pool, before.limits, before.troubles) == (after.pool, after.limits, after.troubles)
    assert [each.character for each in before.experiments] == [each.character for each in after.experiments]


def test_draws() -> None:
    rng = numbers("draws", 1)
    assert all(8 <= even(rng, 8, 2000) <= 2000 for _ in range(200))
    assert 70 <= sum(even(rng, 8, 2048) < 128 for _ in range(200)) <= 130
    for _ in range(200):
        low, high = span(rng, 60, 600)
        assert 60 <= low <= high <= min(600, 2 * low)
    assert Counter(pick(rng, {"often": 9, "rarely": 1}) for _ in range(200))["often"] > 150
