# SPDX-License-Identifier: GPL-3.0-or-later
"""Starters that do not answer: what they cost a run has one bound, the others come first, and once is no error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from condor_vac.worker.programs import watch
from condor_vac.worker.watch import chores, rules
from condor_vac.worker.watch.rules import Sample
from tests.unit.condor_vac.worker.conftest import Node, Time
from tests.unit.condor_vac.worker.starter import Starter
from tests.unit.condor_vac.worker.watched import crowd, ended, look, run_all

# Many cases, or cases that wait: too much for `make check`.
pytestmark = pytest.mark.slow


@pytest.fixture
def silent(node: Node) -> Starter:
    """A starter whose access point is away."""
    starter = Starter()
    starter.answer = None
    return starter


def failures(node: Node, uuid: str) -> int:
    text = (node.base / "run" / "watch" / f"{uuid}.json").read_text()
    return int(json.loads(text)["failures"])


def test_many_silent_starters(
    node: Node, clock: Time, silent: Starter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dozen of them: limits hold, the others are published, all in the time of a few answers that do not come."""
    monkeypatch.setattr(watch, "_CHIRP_SECONDS", 0.3)
    monkeypatch.setattr(chores, "BUDGET_SECONDS", 1.0)
    leases = crowd(node, clock, 14)
    over, good = leases[12], leases[13]
    for lease in leases[:12]:
        Path(lease.chirp_config).write_text(silent.config)
    node.change(over, max_wallclock_seconds=200)
    run_all(node, leases)
    assert look(node) == []
    waited = []
    for number in range(1, 9):
        clock.now += 30
        run_all(node, leases, cpu=10.0 * number)
        before = silent.connections
        errors = look(node)
        waited.append(silent.connections - before)
        assert all("no answer within" in error for error in errors), errors
    assert max(waited) <= 6
    assert over.uuid in ended(node)
    assert failures(node, good.uuid) == 0
    assert node.recorded()["VacCpuFraction"] == "0.333"
    assert "put off to the next run" in capsys.readouterr().out
    silent.answer = "0"
    silent.silent.set()
    monkeypatch.setattr(chores, "BUDGET_SECONDS", 60.0)
    clock.now += rules.LAST_DELAY_SECONDS
    for step in range(2):
        clock.now += 30
        run_all(node, leases, cpu=200.0 + 10 * step)
        assert look(node) == []
    silent.stop()
    assert {failures(node, lease.uuid) for lease in leases} == {0}


def test_a_starter_that_is_late_once_is_no_error(
    node: Node, clock: Time, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As at the start of nearly every VM."""
    monkeypatch.setattr(watch, "_CHIRP_SECONDS", 0.2)
    [lease] = crowd(node, clock, 1)
    assert look(node) == []
    clock.now += 30
    node.starter.answer = None
    assert look(node) == []
    assert "no answer within 0.2 s; it is tried again in the next run" in capsys.readouterr().out
    clock.now += 30
    assert ["no answer within" in error for error in look(node)] == [True]
    node.starter.answer = "0"
    node.starter.silent.set()
    clock.now += 30
    assert look(node) == []
    assert failures(node, lease.uuid) == 0
    assert "VacEvidenceTime" in node.recorded()


def test_each_failure_more_doubles_the_wait() -> None:
    sample = Sample(1000.0, 1.0, 800.0, None, 800.0)
    waits = []
    for _ in range(9):
        sample = rules.after_try(sample, 1000.0, failed=True)
        waits.append(sample.retry_at - 1000.0)
    assert waits == [0, 0, 30, 60, 120, 240, 480, 900, 900]
    assert rules.after_try(sample, 1000.0, failed=False) == Sample(1000.0, 1.0, 800.0, None, 800.0)


def test_the_wait_outlives_a_look_and_a_pause(node: Node, clock: Time) -> None:
    [lease] = crowd(node, clock, 1)
    sample = rules.after_try(Sample(990.0, 1.0, 900.0, None, 900.0), 990.0, failed=True)
    for after in (
        rules.look(lease, sample, 1000.0, (2.0, 1), None),
        rules.look(lease, sample, 9000.0, (2.0, 1), None),
        rules.paused(sample, 1000.0, 2.0, None),
    ):
        assert (after.failures, after.retry_at) == (1, 990.0)
