# SPDX-License-Identifier: GPL-3.0-or-later
"""Measured durations and the ages that follow from them."""

from __future__ import annotations

import pytest

from condor_vac.policy.durations import Durations, Learned


def test_a_duration_is_learned_from_its_last_fifty_measurements() -> None:
    learned = Learned(float(number) for number in range(100))
    assert (learned.low, learned.high, learned.middle(7.0), len(learned)) == (50.0, 99.0, 75.0, 50)
    learned.add(1.0)
    assert (learned.low, learned.high) == (1.0, 99.0)
    assert Learned().middle(7.0) == 7.0


def durations(no_work: tuple[float, ...] = (), evidence: tuple[float, ...] = ()) -> Durations:
    made = Durations(600.0)
    made.restore({"no_work": no_work, "evidence": evidence})
    return made


@pytest.mark.parametrize(
    ("no_work", "evidence", "proof", "late"),
    [
        ((), (), 600, 1800),
        ((300, 310), (200, 210), 600, 1800),
        ((300, 303, 301), (200, 210, 190), 1.25 * 303 + 60, 2 * 210 + 60),
        ((900, 900, 900), (), 1.25 * 900 + 60, 3 * (1.25 * 900 + 60)),
    ],
)
def test_ages_follow_three_measurements_or_more(
    no_work: tuple[float, ...], evidence: tuple[float, ...], proof: float, late: float
) -> None:
    learned = durations(no_work, evidence)
    assert (learned.proof_seconds, learned.late_seconds) == (proof, late)


@pytest.mark.parametrize(
    ("no_work", "evidence", "life", "short"),
    [
        ((), (), 1, False),
        ((300, 300), (), 1, False),
        ((300, 300, 400), (), 149, True),
        ((300, 300, 400), (), 150, False),
        ((300, 300, 400), (100, 120, 110), 149, False),
        ((300, 300, 400), (100, 120, 110), 49, True),
    ],
)
def test_a_life_is_too_short_by_half_of_the_shortest_known(
    no_work: tuple[float, ...], evidence: tuple[float, ...], life: float, short: bool
) -> None:
    assert durations(no_work, evidence).too_short(life) is short


def test_a_question_lies_half_way_to_the_usual_evidence_and_costs_the_usual_life() -> None:
    assert durations().asked(1000.0, 400.0) == 1200.0
    assert durations(evidence=(100, 200, 300)).asked(1000.0, 400.0) == 1100.0
    assert durations().price_seconds == 300.0
    assert durations((10, 20, 30)).price_seconds == 60.0
    assert durations((100, 200, 300)).price_seconds == 200.0
