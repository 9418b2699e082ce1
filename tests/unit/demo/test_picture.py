# SPDX-License-Identifier: GPL-3.0-or-later
"""What the picture is made of, and that it is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.demo import picture
from tests.unit.demo import story

# Many cases, or cases that wait: too much for `make check`.
pytestmark = pytest.mark.slow


def test_a_life_has_the_times_of_its_job_and_of_its_vm() -> None:
    found = picture.lives(story.RECORDS, story.BEGAN)
    assert [life.started for life in found] == sorted(life.started for life in found)
    first = found[0]
    assert (first.label, first.name, first.code) == ("alpha 3.0 on node2", "alpha", "200 success")
    assert (first.submitted, first.started, first.on, first.off, first.over) == (62, 66, 68, 178, 196)
    assert {life.code for life in found} == {"200 success", "300 no work"}


def test_a_job_whose_vm_never_published_its_times_is_a_life_as_well() -> None:
    ad = {
        key: value for key, value in story.RECORDS[0].items() if key not in {"VacStarted", "VacEnded", "ShutdownCode"}
    }
    (life,) = picture.lives([ad], story.BEGAN)
    assert (life.on, life.off, life.code) == (66, 196, "?")


@pytest.mark.parametrize("lost", ["QDate", "JobStartDate", "CompletionDate"])
def test_a_job_that_never_ran_or_ended_is_none(lost: str) -> None:
    ad = {key: value for key, value in story.RECORDS[0].items() if key != lost}
    assert picture.lives([ad], story.BEGAN) == []


def test_curves_have_a_value_for_each_sample() -> None:
    samples = story.samples()
    times, values = picture.curves(samples)
    assert times == [sample.seconds for sample in samples]
    assert list(values) == ["alpha", "beta"]
    assert {len(numbers) for each in values.values() for numbers in each.values()} == {len(times)}
    assert max(values["alpha"]["alive"]) == 5
    assert values["beta"]["at_work"][times.index(170)] == 2


@pytest.mark.parametrize(
    ("number", "records", "work_ended"),
    [(None, story.RECORDS, 176.0), (None, (), None), (1, story.RECORDS[:1], None), (0, (), None)],
)
def test_there_is_a_picture_of_whatever_was_seen(
    tmp_path: Path, number: int | None, records: tuple[dict[str, object], ...], work_ended: float | None
) -> None:
    path = tmp_path / "new" / "vms.png"
    picture.draw(path, story.samples()[:number], records, story.BEGAN, work_ended)
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 10_000
