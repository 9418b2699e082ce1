# SPDX-License-Identifier: GPL-3.0-or-later
"""The times of a pool are measured from what became of its VMs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from condor_vac.simulate.scenario import from_mapping
from tests.predict import course, scenario_file
from tests.predict.record import Life, Record
from tests.predict.times import NotSeenError, measure

HOLE = course.HOLE
# Twenty VMs that boot at once, 100 to 119 s, and then work until they find nothing more; four later ones that boot in
# 60 to 66 s and find nothing; two generations on the black hole.
FIRST = [Life(n % 3, 5, 105 + n, 105 + n, 320 + n, 500 + n, 530 + n, 200) for n in range(20)]
LATER = [Life(n % 3, 540 + n, 600 + 3 * n, None, None, 600 + 3 * n, 630 + 3 * n, 300) for n in range(4)]
LOST = [Life(HOLE, 6, ended=166, code=700), Life(HOLE, 6, ended=176, code=700), Life(HOLE, 170, ended=260, code=700)]
RECORD = Record(390.0, (), (*FIRST, *LATER, *LOST), (-30, 5, 25, 85, 145, 165, 225))


def test_what_is_measured() -> None:
    times = measure(RECORD, HOLE)
    # 109.5 on average against 63, and 3 s more to wait for the negotiator than the simulator's 2.
    assert times.first_start_seconds == 49.5
    assert times.start_seconds == (53.8, 72.2)
    assert times.end_seconds == (30.0, 30.0)
    assert times.evidence_seconds == (215.0, 215.0)
    assert (times.first_hole_seconds, times.hole_seconds) == (168.0, 90.0)
    assert times.negotiation_interval == 60.0


def test_a_vm_that_works_on_the_black_hole_is_not_measured() -> None:
    odd = Life(HOLE, 600, 1000, 1000, 1900, 1950, 2050, 200)
    times = measure(replace(RECORD, lives=(*RECORD.lives, odd)), HOLE)
    assert replace(times, hole_seconds=90.0) == measure(RECORD, HOLE)


def test_the_pair_is_the_nearest_even_distribution() -> None:
    """Of ten even boots from 100 to 190 s, those between which an even distribution has them: 95 to 195 s."""
    even = tuple(Life(0, 2, 102 + 10 * n, 102 + 10 * n, None, 400, 430, 200) for n in range(10))
    assert measure(replace(RECORD, lives=(*even, *LOST)), HOLE).start_seconds == (95.0, 195.0)
    slow = replace(even[0], asked=402.0)
    low, high = measure(replace(RECORD, lives=(*even[1:], slow, *LOST)), HOLE).start_seconds
    assert low < 95
    assert 195 < high < 300


def test_without_later_vms_the_first_ones_are_the_measure() -> None:
    times = measure(replace(RECORD, lives=(*FIRST, *LATER[:2], *LOST)), HOLE)
    assert times.first_start_seconds == 3.0
    assert times.start_seconds[0] < 100
    assert times.start_seconds[1] > 110


def test_work_that_was_never_seen_has_no_time() -> None:
    lives = tuple(replace(life, shown=None) for life in RECORD.lives)
    times = measure(replace(RECORD, lives=lives), HOLE)
    assert times.evidence_seconds is None
    (kind,) = from_mapping(scenario_file.content(times, 390.0), "x").machinetypes
    assert kind.watched


@pytest.mark.parametrize(
    ("record", "missing"),
    [
        (replace(RECORD, lives=(*FIRST, *LATER)), "black hole"),
        (replace(RECORD, lives=tuple(LOST)), "asked for a task"),
        (replace(RECORD, lives=(*(replace(life, vain=None) for life in FIRST), *LOST)), "found no task"),
        (replace(RECORD, cycles=(5,)), "negotiation cycles"),
    ],
)
def test_what_was_not_seen_is_named(record: Record, missing: str) -> None:
    with pytest.raises(NotSeenError, match=missing):
        measure(record, HOLE)


def test_the_scenario_has_the_measured_times() -> None:
    played = from_mapping(scenario_file.content(measure(RECORD, HOLE), 391.5), "x")
    assert played.start_seconds == (53.8, 72.2)
    assert played.nodes.first_start_seconds == (49.5, 49.5)
    assert (played.nodes.slots, played.nodes.total) == (course.SLOTS, course.TOTAL)
    assert [(fault.kind, fault.start, fault.end, fault.after) for fault in played.faults] == [
        ("black_hole", 0.0, 30.0, 168.0),
        ("black_hole", 30.0, course.DURATION_SECONDS, 90.0),
        ("queue_emptied", 391.5, 391.5, 0.0),
    ]
    (kind,) = played.machinetypes
    assert [batch.seconds[0] for batch in kind.queue] == list(course.TASKS)
    assert (kind.idle_seconds, kind.evidence_seconds, kind.watched) == ((30.0, 30.0), (215.0, 215.0), False)
