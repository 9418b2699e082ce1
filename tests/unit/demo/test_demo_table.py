# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of the demo's table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.demo import table
from tests.demo.sample import Sample
from tests.unit.demo import story

SAMPLE = next(sample for sample in story.samples() if sample.seconds == 196)


def test_each_experiment_has_a_row_and_all_of_them_a_total() -> None:
    lines = table.block(SAMPLE, "Decline", 100)
    rows = {line.split()[0]: line.split()[1:] for line in lines if not line.startswith(table.INDENT)}
    assert rows["alpha"] == ["0", "0", "33", "0", "2", "0", "2x200", "1x300"]
    assert rows["beta"] == ["0", "0", "16", "0", "2", "0", "1x300"]
    assert rows["all"] == ["0", "0", "49", "0", "4", "0"]


@pytest.mark.parametrize("width", [40, 79, 200])
def test_reasons_are_below_their_row_and_wrapped(width: int) -> None:
    reason = "The last VM found no work (4 still working): starting 1 scout every 15 min. " * 3
    experiments = {**SAMPLE.experiments, "beta": replace(SAMPLE.experiments["beta"], reasons=(reason,))}
    lines = table.block(Sample(1, experiments), "Decline: " * 20, width)
    start = next(number for number, line in enumerate(lines) if line.startswith("beta"))
    below = lines[start + 1 : -1]
    assert " ".join(line.strip() for line in below) == reason.strip()
    assert all(line.startswith(table.INDENT) and len(line) <= width for line in below)
    assert all(len(line) <= max(width, 72) for line in lines)


def test_numbers_stand_under_their_headings() -> None:
    lines = table.block(SAMPLE, "Decline", 100)
    heading = next(line for line in lines if line.startswith("for "))
    row = next(line for line in lines if line.startswith("alpha"))
    for word, number in (("left", "0"), ("done", "33"), ("running", "2"), ("works", "0")):
        end = heading.index(word) + len(word)
        assert row[:end].split()[-1] == number
        assert row[end : end + 1] == " "


def test_one_line_has_it_all_where_nothing_is_redrawn() -> None:
    assert table.line("alpha", SAMPLE.experiments["alpha"]) == (
        "alpha: tasks 0 left, 0 at work, 33 done; VMs 0 idle, 2 running, 0 works; ended 2x200 1x300"
    )
    assert "4 VMs running" in table.brief(SAMPLE)
    assert "49 done" in table.brief(SAMPLE)
