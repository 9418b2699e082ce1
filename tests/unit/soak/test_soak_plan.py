# SPDX-License-Identifier: GPL-3.0-or-later
"""How the soak's faults are drawn, and that each of them is a script that a shell can read."""

from __future__ import annotations

import subprocess

import pytest

from tests.soak import faults, plan
from tests.soak.plan import Fault

PLACES = ("node1", "node2")
SHORT = [Fault(f"short {number}", PLACES, "true", "all") for number in range(5)]
LONG = Fault("long", ("node1",), "true", "all", "true", 150)


def test_a_seed_draws_one_plan_and_another_seed_another() -> None:
    drawn = [plan.draw(SHORT, 20, seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert [each.at for each in drawn[0]] == [60 * minute for minute in range(20)]
    assert {each.node for each in drawn[0]} == set(PLACES)


@pytest.mark.parametrize("seed", range(20))
def test_each_fault_comes_once_before_any_comes_again(seed: int) -> None:
    names = [each.fault.name for each in plan.draw(SHORT, 10, seed)]
    assert sorted(names[:5]) == sorted(names[5:]) == sorted(each.name for each in SHORT)


@pytest.mark.parametrize("seed", range(20))
def test_no_fault_comes_to_a_node_that_has_another(seed: int) -> None:
    drawn = plan.draw([*SHORT, LONG], 30, seed)
    assert any(each.fault == LONG for each in drawn)
    for node in PLACES:
        mine = [each for each in drawn if each.node == node]
        assert all(first.until < then.at for first, then in zip(mine, mine[1:]))


def test_all_faults_fit_into_a_minute_each() -> None:
    drawn = plan.draw(faults.FAULTS, len(faults.FAULTS), 7)
    assert sorted(each.fault.name for each in drawn) == sorted(each.name for each in faults.FAULTS)
    assert all(each.node in each.fault.place for each in drawn)


def test_faults_by_words_of_their_names() -> None:
    assert [each.name for each in plan.chosen(SHORT, ["3", "short 1"])] == ["short 1", "short 3"]
    assert plan.chosen(SHORT, []) == SHORT
    with pytest.raises(ValueError, match="no fault is named like none"):
        plan.chosen(SHORT, ["none"])


@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: str(fault.name))
def test_a_fault_is_well_formed(fault: Fault) -> None:
    assert bool(fault.undo) == bool(fault.seconds)
    assert fault.place
    assert fault.recovers
    for script in filter(None, (fault.make, fault.undo)):
        if script not in faults.ACTIONS:
            subprocess.run(["sh", "-n"], input=script, text=True, check=True)


def test_the_names_of_faults_are_different() -> None:
    names = [fault.name for fault in faults.FAULTS]
    assert len(names) == len(set(names))


def test_a_script_waits_for_what_it_is_to_hit_and_says_if_nothing_comes() -> None:
    there = subprocess.run(
        ["sh", "-c", faults.one_of("echo 5 6", "echo hit $1", 1)], capture_output=True, text=True, check=False
    )
    assert (there.returncode, there.stdout.split()) == (0, ["5", "hit", "5"])
    nothing = subprocess.run(
        ["sh", "-c", faults.one_of("true", "echo hit", 1)], capture_output=True, text=True, check=False
    )
    assert (nothing.returncode, nothing.stdout) == (3, "")


def test_a_pattern_does_not_find_the_script_that_has_it() -> None:
    script = faults.killed("no-such-program-of-the-soak").replace(f"seq {faults.WAIT_SECONDS * 5}", "seq 1")
    assert subprocess.run(["sh", "-c", script], check=False).returncode == 3
