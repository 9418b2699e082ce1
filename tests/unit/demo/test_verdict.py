# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo promises, and each way in which it can fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.demo import verdict
from tests.demo.sample import Sample
from tests.unit.demo import story


def failing(samples: list[Sample], records: list[dict[str, Any]]) -> list[str]:
    return [check.text for check in verdict.checks(samples, records) if not check.good]


def changed(name: str, **change: Any) -> list[Sample]:
    """The story, one experiment's samples changed as far as they have as much or more."""
    found = []
    for sample in story.samples():
        each = sample.experiments[name]
        capped = {key: min(getattr(each, key), value) for key, value in change.items()}
        found.append(replace(sample, experiments={**sample.experiments, name: replace(each, **capped)}))
    return found


def ended(name: str, **change: Any) -> list[Sample]:
    """The story with another last sample."""
    *before, last = story.samples()
    each = replace(last.experiments[name], **change)
    return [*before, replace(last, experiments={**last.experiments, name: each})]


def test_a_demo_as_it_should_go_keeps_all_promises() -> None:
    checks = verdict.checks(story.samples(), story.RECORDS)
    assert all(check.good for check in checks)
    assert len(checks) == 1 + 2 * 5
    assert str(checks[0]) == "  yes  8 VMs ran at once, 6 of them at work (at least 6)"


def test_vms_made_before_the_first_look_are_those_that_a_factory_began_with() -> None:
    late = [sample for sample in story.samples() if sample.seconds >= 68]
    texts = [check.text for check in verdict.checks(late, story.RECORDS)]
    assert "alpha: its factory began with 2 VMs and went up to 5" in texts
    assert "beta: its factory began with 1 VM and went up to 3" in texts


@pytest.mark.parametrize(
    ("samples", "broken"),
    [
        (changed("alpha", at_work=3), "5 of them at work"),
        (changed("alpha", running=2), "5 VMs ran at once, 5 of them"),
        (changed("beta", idle=1, running=0), "beta: its factory began with 1 VM and went up to 1"),
        (changed("beta", submitted=0), "beta: its factory began with 0 VMs"),
        (changed("alpha", done=0), "alpha: 0 of 0 tasks are done"),
        (ended("alpha", left=1), "alpha: 33 of 34 tasks are done"),
        (ended("beta", at_work=2), "beta: 16 of 18 tasks are done"),
        (ended("alpha", idle=1), "alpha: since then its factory has made no VM"),
        (ended("beta", running=1), "beta: since then its factory has made no VM"),
    ],
)
def test_what_was_seen_can_break_a_promise(samples: list[Sample], broken: str) -> None:
    assert any(broken in text for text in failing(samples, list(story.RECORDS)))


@pytest.mark.parametrize(
    ("name", "code", "broken"),
    [
        ("alpha", 300, "alpha: 0 VMs found no work"),
        ("beta", 300, "beta: 0 VMs found no work"),
        ("alpha", 200, "alpha: 0 VMs did tasks"),
        ("beta", 200, "beta: 0 VMs did tasks"),
    ],
)
def test_what_htcondor_recorded_can_break_a_promise(name: str, code: int, broken: str) -> None:
    others = [ad for ad in story.RECORDS if (ad["VacMachinetype"], ad["ShutdownCode"]) != (name, code)]
    assert len(failing(story.samples(), others)) == 1
    assert broken in failing(story.samples(), others)[0]


def test_nothing_seen_is_not_good() -> None:
    assert not all(check.good for check in verdict.checks([], []))


def test_the_table_has_a_row_for_each_vm() -> None:
    lines = verdict.table(story.RECORDS, story.BEGAN)
    assert len(lines) == 1 + len(story.RECORDS)
    assert lines[1].split() == ["3.0", "alpha", "200", "success", "node2", "66", "s", "110", "s", "Success"]
    assert lines[6].split()[:4] == ["8.0", "alpha", "300", "no_work"]


@pytest.mark.parametrize(
    "lost", [("ShutdownCode", "ShutdownMessage", "VacKind", "VacRuntime"), ("JobStartDate",), ("LastRemoteHost",)]
)
def test_a_record_may_lack_what_was_not_published(
    lost: tuple[str, ...],
) -> None:
    ad = {key: value for key, value in story.RECORDS[0].items() if key not in lost}
    assert "?" in verdict.table([ad], story.BEGAN)[1]
