# SPDX-License-Identifier: GPL-3.0-or-later
"""The oracle: what it gets is what the pool holds, and no policy gets more."""

from __future__ import annotations

from typing import Any

import pytest

from condor_vac.simulate.play import POLICIES, compare, play
from condor_vac.simulate.scenario import from_mapping
from tests.unit.condor_vac.simulate.pools import changed, scenario

FIRST = 62.0  # submitted at 0, matched at 2 s, up 60 s later


def work(data: dict[str, Any] | None = None, **keys: Any) -> float:
    return play(scenario(data, **keys), "oracle").meter.work


def test_every_task_starts_when_it_arrives_or_a_slot_is_free() -> None:
    queue = [{"at": 0, "tasks": 4, "seconds": [600, 600]}, {"at": 1000, "tasks": 6, "seconds": [500, 500]}]
    world = play(scenario(queue=queue, max_machines=4), "oracle")
    assert world.meter.work == 4 * 600 + 6 * 500
    assert world.meter.first_reached == [FIRST] * 4
    working = {row[0]: row[4] for row in world.meter.timeline}
    assert [working[at] for at in (60.0, 120.0, 660.0, 720.0, 1020.0, 1500.0, 1560.0, 1980.0, 2040.0)] == [
        0, 4, 4, 0, 4, 2, 2, 2, 0,
    ]  # fmt: skip
    assert (world.meter.wasted, world.meter.wasted_starts, world.meter.cap_violations) == (0, 0, 0)
    assert (world.meter.peak_machines, world.meter.vm_starts) == (4, 8)


def test_work_that_runs_at_the_end_counts_and_slots_are_all_there_is() -> None:
    queue = [{"at": 0, "tasks": 99, "seconds": [7000, 9000]}]
    assert work(queue=queue, max_machines=99) == 8 * (7200 - FIRST)


def test_slots_are_shared_by_share() -> None:
    data = changed("machinetypes", 0, "queue", value=[{"at": 0, "tasks": 99, "seconds": [7200, 7200]}])
    data["machinetypes"].append({**data["machinetypes"][0], "name": "two", "share": 3})
    for kind in data["machinetypes"]:
        kind["max_machines"] = 8
    world = play(from_mapping(data, "x"), "oracle")
    assert [kind.phases["working"] for kind in world.kinds] == [2, 6]


def test_a_vm_of_several_processors_needs_them_on_one_host() -> None:
    queue = [{"at": 0, "tasks": 9, "seconds": [7200, 7200]}]
    assert work(queue=queue, processors=3, max_machines=9) == 2 * 3 * (7200 - FIRST)


BUSY = [{"at": 0, "tasks": 400, "seconds": [100, 100]}]


@pytest.mark.parametrize(
    ("fault", "lost"),
    [
        # VMs boot for 60 s and work for 400 s: those that end from 1,000 s on are not replaced until 3,060 s.
        ({"kind": "error", "from": 1000, "until": 3000, "message": "600 x"}, (1400, 1500)),
        ({"kind": "hold", "from": 1000, "until": 3000}, (1400, 1500)),
        ({"kind": "schedd_unreachable", "from": 1000, "until": 3000}, (1400, 1500)),
        ({"kind": "error", "from": 1000, "until": 3000, "share": 0.9}, (0, 0)),
        # One VM (max_idle) may wait in the queue.
        ({"kind": "no_submissions", "from": 1000, "until": 3000}, (1200, 1300)),
        ({"kind": "factory_down", "from": 1000, "until": 3000}, (1200, 1300)),
        ({"kind": "factory_killed", "at": 1000}, (0, 0)),
        ({"kind": "black_hole", "host": 0, "from": 1000, "until": 3000, "share": 0.5}, (0, 0)),
        # One host of two.
        ({"kind": "black_hole", "host": 0, "from": 1000, "until": 3000}, (700, 750)),
        ({"kind": "refuse", "host": 0, "from": 1000, "until": 3000}, (700, 750)),
        ({"kind": "hosts_lost", "hosts": [0], "from": 1000, "until": 3000}, (850, 950)),
    ],
)
def test_what_binds_every_policy_binds_the_oracle(fault: dict[str, Any], lost: tuple[float, float]) -> None:
    """The seconds of the two slots' work that a fault costs, for each of the slots."""
    keys = {"queue": BUSY, "max_machines": 2, "max_idle": 1, "tasks_per_vm": 4}
    data = changed("hosts", value={"count": 2, "slots": 1})
    whole = work(data, **keys)
    data["faults"] = [fault]
    assert lost[0] <= (whole - work(data, **keys)) / 2 <= lost[1]


def test_a_vm_that_may_not_be_replaced_waits_for_the_next_task() -> None:
    queue = [{"at": 0, "tasks": 1, "seconds": [900, 900]}, {"at": 1050, "tasks": 1, "seconds": [500, 500]}]
    fault = {"kind": "error", "from": 1000, "until": 7000, "message": "600 x"}
    assert work(changed("faults", value=[fault]), queue=queue) == 1400
    fault["from"] = 900
    assert work(changed("faults", value=[fault]), queue=queue) == 1400
    queue[1]["at"] = 1100
    assert work(changed("faults", value=[fault]), queue=queue) == 900 + 140, "its agent gives up at 1,082 s"


@pytest.mark.parametrize(("at", "starts"), [(690, 1), (781, 1), (783, 2)])
def test_a_vm_waits_for_the_next_task_and_another_is_there_when_its_agent_has_given_up(at: int, starts: int) -> None:
    queue = [{"at": 0, "tasks": 1, "seconds": [600, 600]}, {"at": at, "tasks": 1, "seconds": [10, 10]}]
    world = play(scenario(queue=queue), "oracle")
    assert (world.meter.vm_starts, world.meter.waited) == (starts, FIRST)


@pytest.mark.parametrize(("boot", "number"), [(10, 14), (60, 10), (500, 2)])
def test_each_vm_boots_on_its_slot(boot: int, number: int) -> None:
    """One task a VM, one slot: what a boot costs no policy can save."""
    data = changed("hosts", value={"count": 1, "slots": 1})
    data["start_seconds"], data["duration"] = [boot, boot + 50], 1550
    queue = [{"at": 0, "tasks": 99, "seconds": [100, 100]}]
    world = play(scenario(data, queue=queue, tasks_per_vm=1), "oracle")
    assert world.meter.vm_starts == number
    assert world.meter.first_reached == [2.0 + boot]


@pytest.mark.parametrize(("at", "waited"), [(1022, 0), (1000, 22)])
def test_a_vm_that_waits_makes_room_for_the_work_of_another_machinetype(at: int, waited: int) -> None:
    """The first works until 962 s: from 1,022 s on another could have booted."""
    data = changed("hosts", value={"count": 1, "slots": 1})
    first = {**data["machinetypes"][0], "queue": [{"at": 0, "tasks": 1, "seconds": [900, 900]}]}
    second = {**first, "name": "two", "queue": [{"at": at, "tasks": 1, "seconds": [100, 100]}]}
    data["machinetypes"] = [first, second]
    data["faults"] = [{"kind": "error", "machinetype": "one", "from": 500, "message": "600 x"}]
    world = play(from_mapping(data, "x"), "oracle")
    assert world.kinds[1].meter.waited == waited
    assert world.kinds[1].meter.work == 100


def test_a_task_that_a_wall_clock_ended_is_begun_again() -> None:
    queue = [{"at": 0, "tasks": 1, "seconds": [500, 500]}]
    assert work(queue=queue, max_wallclock_seconds=400) == 7200 - FIRST - 17 * 400


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("message", ["300 none", None])
def test_no_policy_gets_more_in_a_small_pool(seed: int, message: str | None) -> None:
    queue = [{"at": at, "tasks": 1 + at % 5, "seconds": [100, 1500]} for at in range(0, 7200, 600 + 77 * seed)]
    played = scenario({**changed("seed", value=seed), "duration": 7200}, queue=queue, no_work_message=message)
    found = compare(played, POLICIES, timeline=False)["policies"]
    assert (found["oracle"]["net"], found["oracle"]["efficiency"]) == (1.0, 1.0)
    assert max(figures["efficiency"] for figures in found.values()) <= 1.0
    assert found["vac"]["efficiency"] > 0.1, "and they do work"


def test_of_a_shared_pool_the_bound_is_the_division_with_the_most_work() -> None:
    """The second machinetype loses most of its work with its wall clocks, and by share it gets most of the slots."""
    data = changed("machinetypes", 0, "queue", value=[{"at": 0, "tasks": 99, "seconds": [1000, 1000]}])
    lossy = {**data["machinetypes"][0], "name": "two", "share": 7, "max_wallclock_seconds": 1900}
    data["machinetypes"].append(lossy)
    for kind in data["machinetypes"]:
        kind["max_machines"] = 8
    played = from_mapping(data, "x")
    found = compare(played, ["vac", "oracle"], timeline=False)["policies"]
    by_share = play(played, "oracle")
    assert found["oracle"]["work_slot_seconds"] == 8 * (7200 - FIRST)
    assert by_share.meter.work < 0.7 * found["oracle"]["work_slot_seconds"]
    assert found["vac"]["oracle_work_slot_seconds"] == found["oracle"]["work_slot_seconds"]
    kinds = [found["oracle"]["per_machinetype"][name]["work_slot_seconds"] for name in ("one", "two")]
    assert kinds == [kind.meter.work for kind in by_share.kinds]
