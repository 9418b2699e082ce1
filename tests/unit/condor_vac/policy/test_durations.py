# SPDX-License-Identifier: GPL-3.0-or-later
"""Measured durations and the ages that follow from them."""

from __future__ import annotations

import math

import pytest

from condor_vac.policy.durations import Durations, Learned


def test_a_duration_is_learned_from_its_last_fifty_measurements() -> None:
    learned = Learned(float(number) for number in range(100))
    assert (learned.low, learned.high, learned.middle(7.0), len(learned)) == (50.0, 99.0, 75.0, 50)
    learned.add(1.0)
    assert (learned.low, learned.high) == (1.0, 99.0)
    assert Learned().middle(7.0) == 7.0


def durations(
    no_work: tuple[float, ...] = (),
    evidence: tuple[float, ...] = (),
    doubtful: tuple[float, ...] = (),
    failed: tuple[float, ...] = (),
) -> Durations:
    made = Durations(600.0)
    made.restore({"no_work": no_work, "doubtful": doubtful, "failed": failed, "evidence": evidence})
    return made


@pytest.mark.parametrize(
    ("no_work", "evidence", "doubtful", "proof", "late"),
    [
        ((), (), (), 600, math.inf),
        ((300, 310), (200, 210), (), 600, math.inf),
        ((900,), (), (), 1.25 * 900 + 60, math.inf),
        ((300, 303, 301), (200, 210, 190), (), 600, 2 * 210 + 60),
        ((900, 900, 900), (), (), 1.25 * 900 + 60, math.inf),
        ((), (), (4000,), 1.25 * 4000 + 60, math.inf),
        ((300, 310), (), (4000,), 1.25 * 4000 + 60, math.inf),
        ((700, 710, 703), (), (4000,), 1.25 * 710 + 60, math.inf),
    ],
)
def test_ages_follow_what_was_measured(
    no_work: tuple[float, ...], evidence: tuple[float, ...], doubtful: tuple[float, ...], proof: float, late: float
) -> None:
    learned = durations(no_work, evidence, doubtful)
    assert (learned.proof_seconds, learned.late_seconds) == (proof, late)


QUICK, SLOW = (200.0, 210.0, 190.0), (3000.0, 5000.0, 4000.0)
LIVES = (700.0, 703.0, 701.0)


@pytest.mark.parametrize(
    ("evidence", "measured", "others_show", "age"),
    [
        ((), True, False, 1.25 * 703 + 60),
        (QUICK, False, False, 1.25 * 703 + 60),
        (QUICK, True, True, 1.25 * 703 + 60),
        (QUICK, True, False, 2 * (1.25 * 703 + 60)),
        (SLOW, True, False, 1.25 * 703 + 60),
    ],
    ids=["none shows", "not measured", "some show", "all show", "evidence is slow"],
)
def test_silence_counts_against_a_vm_only_where_the_others_are_not_silent(
    evidence: tuple[float, ...], measured: bool, others_show: bool, age: float
) -> None:
    assert durations(LIVES, evidence).assumed_seconds(measured, others_show) == age


def test_the_usual_life_is_that_of_vms_without_work() -> None:
    assert durations().usual_life(7.0) == 7.0
    assert durations(doubtful=(4000, 5000)).usual_life(7.0) == 5000
    assert durations(LIVES, doubtful=(4000, 5000)).usual_life(7.0) == 701


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


@pytest.mark.parametrize(
    ("failed", "proof"), [((100,), 600), ((900,), 1.25 * 900 + 60), ((900, 1000), 1.25 * 1000 + 60)]
)
def test_a_vm_must_outlive_those_that_failed_as_well(failed: tuple[float, ...], proof: float) -> None:
    assert durations(failed=failed).proof_seconds == proof
    assert durations(LIVES, failed=failed).proof_seconds == max(1.25 * 703 + 60, 1.25 * max(failed) + 60)
