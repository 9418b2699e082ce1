# SPDX-License-Identifier: GPL-3.0-or-later
"""What a look at the pool becomes, and which changes of it are news."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.demo.sample import Experiment, Made, Sample, made

TASKS = {"queued": 3, "kept": 2, "taken": 4, "done": 17, "vms": {}}
FACTORY = {
    "factory": "running", "idle": 1, "running": 5, "works": 4, "held": 0, "ended": {"300": 1, "200": 2},
    "last": {"time": 100.5, "submit": 2, "error": None, "reasons": ["2 VMs found work.", "Submitting 2."]},
    "problems": [],
}  # fmt: skip


def test_an_experiment_is_its_queue_and_its_factory() -> None:
    each = Experiment.of(TASKS, FACTORY)
    assert (each.left, each.at_work, each.done) == (1, 6, 17)
    assert (each.idle, each.running, each.works, each.alive) == (1, 5, 4, 6)
    assert each.ended == (("200", 2), ("300", 1))
    assert (each.decided, each.submitted, each.why) == (100.5, 2, "2 VMs found work. Submitting 2.")


@pytest.mark.parametrize("factory", [{}, {"last": None, "ended": None, "idle": 0}])
def test_a_factory_that_has_not_decided_yet(factory: dict[str, Any]) -> None:
    each = Experiment.of(TASKS, factory)
    assert (each.alive, each.works, each.ended, each.decided, each.submitted) == (0, 0, (), None, 0)
    assert each.why == "It has not decided yet."


def test_a_problem_is_shown_with_the_reasons() -> None:
    each = Experiment.of(TASKS, {**FACTORY, "problems": ["its last cycle was 3m ago"]})
    assert each.why.endswith("Submitting 2. its last cycle was 3m ago")


BASE = Experiment.of(TASKS, FACTORY)


@pytest.mark.parametrize(
    ("change", "news"),
    [
        ({"done": 18}, False),
        ({"decided": 200.0}, False),
        ({"reasons": ("3 VMs found work.", "Submitting 0.")}, False),
        ({"reasons": ("The latest VM to ask found no work.",)}, True),
        ({"at_work": 5}, True),
        ({"left": 0}, True),
        ({"idle": 0}, True),
        ({"running": 6}, True),
        ({"works": 5}, True),
        ({"ended": (("200", 3), ("300", 1))}, True),
    ],
)
def test_it_is_news_that_something_happened_and_not_that_time_passed(change: dict[str, Any], news: bool) -> None:
    before = Sample(10, {"alpha": BASE, "beta": BASE})
    after = Sample(12, {"alpha": BASE, "beta": replace(BASE, **change)})
    assert (after.news != before.news) is news


def test_totals() -> None:
    sample = Sample(1, {"alpha": BASE, "beta": replace(BASE, running=2, at_work=0)})
    assert [sample.total(what) for what in ("running", "at_work", "done")] == [7, 6, 34]


def test_each_decision_to_make_vms_counts_once() -> None:
    def sample(seconds: float, decided: float | None, submitted: int) -> Sample:
        return Sample(seconds, {"alpha": replace(BASE, decided=decided, submitted=submitted, reasons=("why",))})

    looks = [(0, None, 0), (2, 1.0, 2), (4, 1.0, 2), (6, 6.0, 0), (8, 8.0, 2), (10, 10.0, 3), (12, 10.0, 3)]
    found = made(sample(*look) for look in looks)
    assert found == [Made(2, "alpha", 2, "why"), Made(8, "alpha", 2, "why"), Made(10, "alpha", 3, "why")]
