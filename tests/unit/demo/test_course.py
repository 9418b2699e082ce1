# SPDX-License-Identifier: GPL-3.0-or-later
"""The phases of the demo follow from what happens, however long that takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.demo.course import DECLINE, GROWTH, OVER, Course
from tests.demo.sample import Sample
from tests.unit.demo import story


def phases(samples: list[Sample]) -> list[tuple[float, str]]:
    """When which phase began."""
    course, found = Course(story.WORK_FOR), [(0.0, GROWTH)]
    for sample in samples:
        course.take(sample)
        if course.phase != found[-1][1]:
            found.append((sample.seconds, course.phase))
    return found


@pytest.mark.parametrize("slowness", [1, 30])
def test_growth_ends_when_all_are_at_work_and_decline_when_nothing_is_left(slowness: int) -> None:
    looks = [Sample(sample.seconds * slowness, sample.experiments) for sample in story.samples()]
    assert phases(looks) == [(0.0, GROWTH), (168 * slowness, DECLINE), (220 * slowness, OVER)]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("alpha", {"at_work": 3}),
        ("beta", {"at_work": 1}),
        ("beta", {"at_work": 0, "running": 9}),
        ("alpha", {"ended": (("200", 3),)}),
    ],
)
def test_work_goes_on_until_each_experiment_has_its_vms_at_work_and_one_that_found_none(
    name: str, change: dict[str, Any]
) -> None:
    def changed(sample: Sample) -> Sample:
        return replace(sample, experiments={**sample.experiments, name: replace(sample.experiments[name], **change)})

    assert phases([changed(sample) for sample in story.samples()]) == [(0.0, GROWTH)]


@pytest.mark.parametrize(
    "change",
    [{"left": 1}, {"at_work": 1}, {"idle": 1}, {"running": 1}, {"ended": (("200", 5),)}, {"decided": 12.0}],
)
def test_it_is_not_over_while_anything_is_left_or_the_factory_has_not_decided_again(change: dict[str, Any]) -> None:
    course = Course(story.WORK_FOR)
    looks = story.samples()
    for sample in (sample for sample in looks if sample.seconds < 214):
        course.take(sample)
    assert course.phase == DECLINE
    last = looks[-1].experiments
    for turn in range(10):
        changes: dict[str, Any] = {"decided": 100.0 + turn, **change}
        alpha, beta = replace(last["alpha"], **changes), replace(last["beta"], decided=100.0 + turn)
        course.take(Sample(300.0 + turn, {"alpha": alpha, "beta": beta}))
    assert course.phase == DECLINE


def test_a_vm_that_appears_once_more_begins_the_quiet_anew() -> None:
    course = Course(story.WORK_FOR)
    looks = story.samples()
    last = looks[-1]
    for sample in (sample for sample in looks if sample.seconds < 214):
        course.take(sample)

    def take(decided: float, idle: int = 0) -> str:
        course.take(
            replace(
                last,
                experiments={
                    name: replace(each, decided=decided, idle=idle) for name, each in last.experiments.items()
                },
            )
        )
        return course.phase

    assert [take(50), take(50), take(52, idle=1), take(53), take(53)] == [DECLINE] * 5
    assert take(54) == OVER


def test_each_phase_has_words() -> None:
    course, words = Course(story.WORK_FOR), set()
    for sample in story.samples():
        course.take(sample)
        words.add(course.describe(sample).partition(":")[0])
    assert words == {"Growth", "Decline", "Over"}
