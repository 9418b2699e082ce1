# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a pool is from what was predicted, and what the simulator predicts."""

from __future__ import annotations

import pytest

from condor_vac.simulate.scenario import Scenario, from_mapping
from tests.predict import course, curves, report, scenario_file
from tests.predict.curves import IN_USE, WORK, Difference, Predicted
from tests.predict.record import Look
from tests.predict.times import Times

TIMES = Times((60.0, 110.0), 40.0, (20.0, 40.0), (180.0, 240.0), 170.0, 110.0, 60.0)
PREDICTED = Predicted(
    (0.0, 50.0, 100.0, 200.0), {IN_USE: (0.0, 10.0, 20.0, 20.0), WORK: (0.0, 0.0, 10.0, 20.0)}, 4.0, 240.0
)


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return from_mapping(scenario_file.content(TIMES, 390.0), "x")


@pytest.fixture(scope="module")
def predicted(scenario: Scenario) -> Predicted:
    return curves.predict(scenario, course.HOLE, plays=4)


@pytest.mark.parametrize(
    ("seconds", "in_use", "work"), [(0, 0, 0), (25, 5, 0), (50, 10, 0), (75, 15, 5), (150, 20, 15), (900, 20, 20)]
)
def test_between_samples_the_prediction_is_a_line(seconds: float, in_use: float, work: float) -> None:
    assert (PREDICTED.at(IN_USE, seconds), PREDICTED.at(WORK, seconds)) == (in_use, work)


def test_each_look_after_the_first_minute_is_compared_in_both_curves() -> None:
    looks = [Look(59, 0, 26, 26), Look(75, 3, 19, 4), Look(150, 0, 20, 9), Look(201, 0, 0, 0)]
    assert curves.differences(looks, PREDICTED) == [
        Difference(IN_USE, 75, 19, 15.0),
        Difference(WORK, 75, 4, 5.0),
        Difference(IN_USE, 150, 20, 20.0),
        Difference(WORK, 150, 9, 15.0),
    ]


def test_a_fifth_of_the_pool_is_too_far_in_either_direction() -> None:
    inside, more, less = (Difference(IN_USE, 75, seen, 10.0) for seen in (15, 16, 4))
    assert [round(each.share(26), 3) for each in (inside, more, less)] == [0.192, 0.231, 0.231]
    assert report.too_far([inside, more, less]) == [more, less]
    assert curves.greatest([inside, more, Difference(WORK, 80, 26, 0.0)], IN_USE, 26) == more


def test_when_the_slots_work() -> None:
    looks = [Look(60, 0, 26, 20), Look(70, 0, 26, 23), Look(80, 0, 26, 24)]
    assert (curves.seconds_to(looks, 23.4), curves.seconds_to(looks, 25)) == (80, None)
    assert (curves.predicted_to(PREDICTED, 9), curves.predicted_to(PREDICTED, 21)) == (100.0, None)


def test_the_simulator_fills_the_pool_and_avoids_the_black_hole(predicted: Predicted) -> None:
    assert predicted.seconds[:3] == (0.0, 10.0, 20.0)
    assert predicted.seconds[-1] == course.DURATION_SECONDS
    assert predicted.at(IN_USE, 60) == course.TOTAL
    # Without the black hole's.
    assert predicted.at(WORK, 300) == course.TOTAL - course.SLOTS[course.HOLE]
    assert predicted.avoided is not None
    assert 170 <= predicted.avoided <= 300
    assert predicted.lost >= course.SLOTS[course.HOLE]
    assert predicted.at(IN_USE, course.DURATION_SECONDS) <= 2


def test_without_a_black_hole_all_slots_work(scenario: Scenario) -> None:
    data = scenario_file.content(TIMES, 390.0)
    data["faults"] = [fault for fault in data["faults"] if fault["kind"] != "black_hole"]
    found = curves.predict(from_mapping(data, "x"), course.HOLE, plays=2)
    assert (found.at(WORK, 300), found.avoided) == (course.TOTAL, None)


def test_the_mean_of_several_plays_has_the_seeds_chance(scenario: Scenario) -> None:
    one, other = (curves.predict(scenario, course.HOLE, plays=number) for number in (1, 3))
    assert one.slots != other.slots
    assert other == curves.predict(scenario, course.HOLE, plays=3)
