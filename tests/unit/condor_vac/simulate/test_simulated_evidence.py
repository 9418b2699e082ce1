# SPDX-License-Identifier: GPL-3.0-or-later
"""When the simulated factory sees that a VM works: as production does, or as the scenario has it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from condor_vac.model.machinetype_keys import BY_NAME
from condor_vac.policy.observation import Observation
from condor_vac.simulate import starts
from condor_vac.simulate.scenario import STARTS_PER_CYCLE, Scenario, from_mapping
from tests.unit.condor_vac.simulate.pools import BASE, scenario, watched

DEFAULTS = Path(__file__).parents[4] / "roles/worker/defaults/main.yml"


def unset(start: int, *batches: tuple[int, int, int], **keys: Any) -> Scenario:
    """A scenario that does not set evidence_seconds; batches are (at, tasks, seconds)."""
    data = copy.deepcopy(BASE)
    del data["machinetypes"][0]["evidence_seconds"]
    data["start_seconds"], data["cycle_seconds"] = [start, start], 1
    queue = [{"at": at, "tasks": tasks, "seconds": [seconds, seconds]} for at, tasks, seconds in batches]
    data["machinetypes"][0].update(queue=queue, **keys)
    return from_mapping(data, "x")


def first_seen(seen: list[Observation]) -> float | None:
    """The age at which the first VM is first seen to work."""
    return next((one.now - (vm.started or 0) for one in seen for vm in one.machines if vm.works), None)


@pytest.mark.parametrize(
    ("start", "batches", "low", "high"),
    [
        # A task from 60 s on, long enough: the age of 300 s decides.
        (60, [(0, 1, 3000)], 300, 301),
        (20, [(0, 4, 900)], 300, 301),
        # It begins late: the watch's pass in whose 30 s it worked for 9 s.
        (400, [(0, 1, 3000)], 409, 440),
        (295, [(0, 1, 3000)], 304, 335),
        # Tasks of 100 s, one after another: the one that runs then.
        (60, [(0, 60, 100)], 300, 331),
    ],
)
def test_work_is_seen_from_300_seconds_after_the_start(
    start: int, batches: list[tuple[int, int, int]], low: float, high: float
) -> None:
    age = first_seen(watched(unset(start, *batches), 1)[1])
    assert age is not None
    assert low <= age <= high


@pytest.mark.parametrize("batches", [[(0, 1, 100)], [], [(0, 1, 235)]])
def test_work_that_ends_before_is_never_seen(batches: list[tuple[int, int, int]]) -> None:
    _, seen = watched(unset(60, *batches, idle_seconds=[600, 600]), 1)
    assert first_seen(seen) is None
    assert any(vm.measured for one in seen for vm in one.machines)


def test_a_later_task_is_seen_although_the_first_was_not() -> None:
    played = unset(60, (0, 1, 100), (500, 1, 1000), idle_seconds=[600, 600])
    age = first_seen(watched(played, 1)[1])
    assert age is not None
    assert 498 + 9 <= age <= 498 + 40


def test_the_passes_of_the_watch_differ_from_vm_to_vm() -> None:
    _, seen = watched(unset(400, (0, 4, 3000)), 4)
    ages: dict[str, float] = {}
    for one in seen:
        for vm in one.machines:
            if vm.works:
                ages.setdefault(vm.id, one.now)
    assert len(set(ages.values())) == 4


@pytest.mark.parametrize(("keys", "seen"), [({}, 4), ({"evidence_share": 0}, 0), ({"unmeasured_share": 1}, 0)])
def test_shares_hold_there_as_well(keys: dict[str, Any], seen: int) -> None:
    _, observed = watched(unset(60, (0, 4, 3000), **keys), 4)
    assert len({vm.id for one in observed for vm in one.machines if vm.works}) == seen


def test_a_scenario_that_sets_it_or_sets_it_to_null_keeps_its_meaning() -> None:
    assert (scenario().machinetypes[0].watched, scenario().machinetypes[0].evidence_seconds) == (False, (60, 60))
    dark = scenario(evidence_seconds=None)
    assert (dark.machinetypes[0].watched, dark.machinetypes[0].evidence_seconds) == (False, None)
    assert not any(vm.measured for one in watched(dark, 2)[1] for vm in one.machines)


def test_production_is_the_key_table_and_the_worker_role() -> None:
    role = yaml.safe_load(DEFAULTS.read_text("utf-8"))
    assert role["worker_watch_interval"] == starts.WATCH_SECONDS
    assert role.get("worker_starts_per_cycle", STARTS_PER_CYCLE) == STARTS_PER_CYCLE
    keys = ("evidence_seconds", "evidence_cpu_fraction")
    assert [BY_NAME[key].default for key in keys] == [starts.EVIDENCE_AGE, starts.EVIDENCE_FRACTION]
