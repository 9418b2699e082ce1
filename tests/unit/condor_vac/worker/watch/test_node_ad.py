# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pretended node's watch gives its startd's ad: the planned shutdown, which is taken back, and its images."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from condor_vac.worker import shutdown_plan
from condor_vac.worker.checks import remembered
from tests.unit.condor_vac.worker.conftest import Node, Time
from tests.unit.condor_vac.worker.watched import look

WHEN = 4_000_000_000
SET = f"VacShutdownTime = {WHEN}"
GONE = "VacShutdownTime = undefined"


def plan(node: Node, text: str | None = str(WHEN)) -> None:
    """What ``condor_vac shutdowntime`` leaves, or nothing."""
    path = Path(node.store.run_directory, shutdown_plan.NAME)
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    if text is not None:
        path.write_text(f"{text}\n")


def published(node: Node, attribute: str = "VacShutdownTime") -> list[str]:
    """What the startd's ad was given."""
    return [line for line in node.called("condor_update_machine_ad") if line.startswith(attribute)]


def age(node: Node, seconds: float) -> None:
    """The last time was so long ago."""
    when = time.time() - seconds
    os.utime(f"{node.store.run_directory}/shutdowntime_published", (when, when))


def test_a_plan_is_published_once_and_taken_back_once(node: Node, clock: Time) -> None:
    for _ in range(3):
        assert look(node) == []
    assert published(node) == []
    plan(node)
    for _ in range(3):
        assert look(node) == []
    assert published(node) == [SET]
    plan(node, str(WHEN + 60))
    assert look(node) == []
    assert published(node)[1:] == [f"VacShutdownTime = {WHEN + 60}"]
    plan(node, None)
    for _ in range(3):
        assert look(node) == []
    assert published(node)[2:] == [GONE]


@pytest.mark.parametrize(("seconds", "times"), [(0, 1), (290, 1), (310, 2), (-3600, 2)])
def test_a_startd_that_was_restarted_is_told_again_while_there_is_a_plan(
    node: Node, clock: Time, seconds: float, times: int
) -> None:
    plan(node)
    look(node)
    age(node, seconds)
    look(node)
    assert published(node) == [SET] * times
    plan(node, None)
    look(node)
    age(node, 10**6)
    look(node)
    assert published(node) == [*[SET] * times, GONE]


def test_a_plan_that_cannot_be_read_changes_nothing(node: Node, clock: Time) -> None:
    plan(node)
    look(node)
    plan(node, "tomorrow")
    age(node, 10**6)
    assert any("holds no Unix time" in error for error in look(node))
    assert published(node) == [SET]
    plan(node)
    assert look(node) == []
    assert published(node) == [SET, SET]


def test_a_startd_that_refuses_is_reported_and_asked_again(node: Node, clock: Time) -> None:
    plan(node)
    node.fail("condor_update_machine_ad")
    assert any("Unable to update machine ad" in error for error in look(node))
    node.mend("condor_update_machine_ad")
    assert look(node) == []
    assert published(node) == [SET]


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"x" * 1000, None])
def test_what_is_remembered_of_it_may_be_damaged(node: Node, clock: Time, damage: bytes | None) -> None:
    plan(node)
    look(node)
    path = Path(node.store.run_directory, "shutdowntime_published")
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
    assert look(node) == []
    assert published(node) == [SET, SET]
    assert path.read_text() == str(WHEN)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("#!/bin/sh\nprintf 'MASTER = \"Alive\"\\n'\n", ""),
        ("#!/bin/sh\necho 'condor_who: no' >&2\nexit 1\n", "cannot publish VacShutdownTime"),
    ],
)
def test_while_the_startd_is_off_nothing_is_wrong_and_the_next_one_is_told(
    node: Node, clock: Time, capsys: pytest.CaptureFixture[str], answer: str, words: str
) -> None:
    """A drained node: its startd is switched off, and the plan is still there."""
    plan(node)
    path = node.base / "bin" / "condor_who"
    there = path.read_text()
    path.write_text(answer)
    assert look(node) == []
    assert published(node) == []
    assert words in capsys.readouterr().out
    path.write_text(there)
    if not words:
        age(node, 310)
    assert look(node) == []
    assert published(node) == [SET]


def test_the_names_of_the_images_are_published_when_they_change(node: Node, clock: Time) -> None:
    versions = node.base / "images" / ".versions"
    look(node)
    assert published(node, "VacImages") == []
    versions.mkdir(parents=True, exist_ok=True)
    for name in ("b.iso", "a.iso", 'no"name'):
        (versions / f"{name}.json").write_text("{}")
    look(node)
    look(node)
    assert published(node, "VacImages") == ['VacImages = "a.iso,b.iso"']
    os.utime(f"{node.store.run_directory}/images_published", (0, 0))
    look(node)
    (versions / "a.iso.json").unlink()
    (versions / "b.iso.json").unlink()
    for number in range(150):
        (versions / f"many{number:03}.json").write_text("{}")
    look(node)
    first = ",".join(f"many{number:03}" for number in range(100))
    assert published(node, "VacImages")[1:] == ['VacImages = "a.iso,b.iso"', f'VacImages = "{first}"']
    for path in versions.iterdir():
        path.unlink()
    look(node)
    assert published(node, "VacImages")[3:] == ["VacImages = undefined"]


def test_a_startd_that_does_not_answer_is_asked_no_more_for_two_values_than_for_one(node: Node, clock: Time) -> None:
    asked = node.base / "asked"
    path = node.base / "bin" / "condor_who"
    path.write_text(f"#!/bin/sh\necho >> {asked}\necho 'condor_who: no' >&2\nexit 1\n")
    versions = node.base / "images" / ".versions"
    versions.mkdir(parents=True, exist_ok=True)
    plan(node)
    times = []
    for names in ((), (), ("a.iso",)):
        for name in names:
            (versions / f"{name}.json").write_text("{}")
        assert look(node) == []
        times.append(len(asked.read_text()))
        asked.unlink()
    # In the first run the VM universe is looked at as well.
    assert times == [2, 1, 1]


def test_images_that_cannot_be_read_keep_no_plan_back(node: Node, clock: Time) -> None:
    versions = node.base / "images" / ".versions"
    versions.parent.mkdir(exist_ok=True)
    versions.write_text("in its place")
    plan(node)
    (error,) = look(node)
    assert "images/.versions: cannot be read" in error
    assert published(node) == [SET]
    assert published(node, "VacImages") == []


def test_findings_are_published_until_the_doctor_finds_nothing(node: Node, clock: Time) -> None:
    run = node.store.run_directory
    for number in (0, 3, 3, 1, 0, 0):
        remembered.leave(run, number)
        assert look(node) == []
    assert published(node, "VacFindings") == ["VacFindings = 3", "VacFindings = 1", "VacFindings = undefined"]


def test_findings_that_cannot_be_read_keep_no_plan_back(node: Node, clock: Time) -> None:
    remembered.leave(node.store.run_directory, 2)
    look(node)
    Path(node.store.run_directory, remembered.NAME).write_text("many")
    plan(node)
    (error,) = look(node)
    assert "doctor_findings: 'many' is not a number" in error
    assert published(node) == [SET]
    assert published(node, "VacFindings") == ["VacFindings = 2"]
