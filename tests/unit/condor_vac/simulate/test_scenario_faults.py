# SPDX-License-Identifier: GPL-3.0-or-later
"""Refused and held jobs, failed submissions and steps of the clock: what the factory sees of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from condor_vac.base.errors import UsageError
from condor_vac.factory import stuck_jobs
from condor_vac.policy.observation import HELD, IDLE, Observation
from condor_vac.simulate import world as world_module
from condor_vac.simulate.play import POLICIES, Factory, play
from condor_vac.simulate.scenario import from_mapping
from condor_vac.simulate.world import World
from tests.unit.condor_vac.simulate.pools import Once, changed, ends, scenario, watched


def faulty(*faults: dict[str, Any], **machinetype: Any) -> Any:
    return scenario(changed("faults", value=list(faults)), **machinetype)


def at(seen: list[Observation], now: float) -> Counter[str]:
    """How many VMs of each state were seen then."""
    return Counter(vm.state for one in seen if one.now == now for vm in one.machines)


def test_a_refused_job_waits_again_and_is_an_end_by_run() -> None:
    world, seen = watched(faulty({"kind": "refuse", "hosts": [0, 1], "until": 100, "after": 20}), 2)
    assert [(end.id, end.kind, end.started, end.ended, end.abort) for end in ends(seen)[:4]] == [
        ("1.1:1", "refused", 2.0, 22.0, False),
        ("1.2:1", "refused", 2.0, 22.0, False),
        ("1.1:2", "refused", 62.0, 82.0, False),
        ("1.2:2", "refused", 62.0, 82.0, False),
    ]
    assert {end.host for end in ends(seen)[:4]} <= {"wn-0", "wn-1"}
    again = [vm for one in seen if one.now == 60.0 for vm in one.machines]
    assert [(vm.state, vm.started, vm.measured) for vm in again] == [(IDLE, None, False)] * 2
    assert [(end.id, end.kind) for end in ends(seen)[4:]] == [("1.1", "success"), ("1.2", "success")]
    assert (world.meter.vm_starts, world.meter.wasted_starts, world.meter.wasted) == (6, 4, 80.0)


@pytest.mark.parametrize(
    ("where", "refused"),
    [({"host": 1}, {"wn-1"}), ({"hosts": [0]}, {"wn-0"}), ({"host": 0, "machinetype": "one"}, {"wn-0"})],
)
def test_only_the_hosts_of_the_fault_refuse(where: dict[str, Any], refused: set[str]) -> None:
    _, seen = watched(faulty({"kind": "refuse", "until": 40, **where}, max_machines=8, max_idle=8), 8)
    found = [end.host for end in ends(seen) if end.kind == "refused"]
    assert set(found) == refused


def test_another_machinetype_is_not_refused() -> None:
    data = changed("faults", value=[{"kind": "refuse", "hosts": [0, 1], "machinetype": "two"}])
    data["machinetypes"].append({**data["machinetypes"][0], "name": "two"})
    world, _ = watched(from_mapping(data, "x"), 0)
    for kind in world.kinds:
        world = World(from_mapping(data, "x"))
        player = Once(2)
        Factory(world, world.kinds[kind.index], "vacuum").player = player
        world.run()
        assert ("refused" in {end.kind for end in ends(player.seen)}) is (kind.spec.name == "two")


def test_a_job_that_is_refused_five_times_is_removed() -> None:
    world, seen = watched(faulty({"kind": "refuse", "hosts": [0, 1]}), 1)
    assert Counter(end.kind for end in ends(seen)) == {"refused": 5, "withdrawn": 1}
    assert world.kinds[0].in_queue == 0


def test_the_wall_clock_of_a_job_that_was_refused_is_that_of_its_last_run() -> None:
    fault = {"kind": "refuse", "hosts": [0, 1], "until": 100}
    _, seen = watched(faulty(fault, max_wallclock_seconds=400), 1)
    assert [(end.started, end.life) for end in ends(seen)][-1] == (122.0, 400.0)


def test_a_run_that_was_refused_is_not_seen_in_the_next() -> None:
    """The first run is refused at 3 s and would be seen at 12 s, the second is matched at 7 s and seen at 17 s."""
    data = changed("faults", value=[{"kind": "refuse", "hosts": [0, 1], "until": 5, "after": 1}])
    data["negotiation_interval"], data["cycle_seconds"] = 5, 1
    _, seen = watched(scenario(data), 1)
    states = {one.now: vm.state for one in seen for vm in one.machines}
    assert [states[at] for at in (11.0, 13.0, 16.0, 18.0)] == [IDLE, IDLE, IDLE, "running"]


def test_the_rules_for_stuck_jobs_are_the_factorys() -> None:
    assert (world_module.MAX_STARTS, world_module.HELD_SECONDS) == (stuck_jobs.MAX_STARTS, stuck_jobs.HELD_SECONDS)


def test_a_refused_job_goes_before_those_that_came_later() -> None:
    data = changed("faults", value=[{"kind": "refuse", "host": 0, "until": 40}])
    data["hosts"] = {"count": 1, "slots": 1}
    _, seen = watched(scenario(data), 3)
    started = [(vm.id, vm.started) for one in seen if one.now == 120.0 for vm in one.machines if vm.started]
    assert started == [("1.1", 62.0)]


@pytest.mark.parametrize(("share", "held"), [(1.0, 40), (0.0, 0), (0.5, 20)])
def test_a_share_of_the_jobs_is_held_for_an_hour_and_then_removed(share: float, held: int) -> None:
    data = changed("hosts", value={"count": 10, "slots": 4})
    data["faults"] = [{"kind": "hold", "machinetype": "one", "until": 40, "share": share}]
    world, seen = watched(scenario(data, max_machines=40, max_idle=40), 40)
    assert at(seen, 60.0)[HELD] == held
    assert at(seen, 3600.0)[HELD] == held
    assert at(seen, 3720.0)[HELD] == 0
    assert Counter(end.kind for end in ends(seen))["withdrawn"] == held
    assert world.hosts.free == [4] * 10
    one = [vm for one in seen if one.now == 60.0 for vm in one.machines if vm.state == HELD]
    assert {vm.started for vm in one} <= {2.0}
    assert world.meter.wasted_starts >= held


@pytest.mark.parametrize("fault", [{"kind": "error"}, {"kind": "black_hole", "hosts": [0, 1]}])
@pytest.mark.parametrize(("share", "struck"), [(1, 8), (0, 0), (0.4, 3)])
def test_errors_and_black_holes_strike_their_share(fault: dict[str, Any], share: float, struck: int) -> None:
    fault = {**fault, "share": share, "message": "600 down", "after": 20, "until": 40}
    queue = [{"at": 0, "tasks": 8, "seconds": [600, 600]}]
    _, seen = watched(faulty(fault, max_machines=8, max_idle=8, queue=queue), 8)
    found = Counter(end.kind for end in ends(seen))
    assert (found["experiment"], found["success"]) == (struck, 8 - struck)


@pytest.mark.parametrize("policy", [name for name in POLICIES if name != "oracle"])
def test_no_vm_is_submitted_while_the_proxy_is_expired(policy: str) -> None:
    fault = {"kind": "no_submissions", "from": 0, "until": 3000}
    world = play(faulty(fault), policy)
    assert min(vm.submitted for vm in _all(world)) >= 3000
    assert world.meter.vm_starts
    other = play(faulty({**fault, "from": 7000}), policy)
    assert min(vm.submitted for vm in _all(other)) == 0


def _all(world: World) -> list[Any]:
    kind = world.kinds[0]
    return [*kind.alive.values(), *kind.view.observe(world.stamp, since_start=True).ended]


def test_a_decision_that_cannot_be_carried_out_is_taken_again() -> None:
    """As the factory does: its policy does not count VMs that were not submitted, and sees all ends once more."""
    world = World(faulty({"kind": "no_submissions", "until": 200}))
    factory = Factory(world, world.kinds[0], "vacuum")
    world.at(199.0, lambda: states.append(factory.player.state()))  # type: ignore[attr-defined]
    states: list[dict[str, Any]] = []
    world.run()
    fresh = Factory(World(scenario()), world.kinds[0], "vacuum").player
    assert states == [fresh.state()]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("slots", "again"), [(1, True), (4, False)])
def test_without_a_proxy_vms_that_wait_stop_the_cycle_as_well(slots: int, again: bool) -> None:
    """The proxies of VMs that wait are renewed: with one slot three of four VMs wait, with four none does."""
    data = changed("hosts", value={"count": 1, "slots": slots})
    data["faults"] = [{"kind": "no_submissions", "from": 50, "until": 400}]
    world = World(scenario(data, max_machines=4, first_machines=4))
    factory = Factory(world, world.kinds[0], "vacuum")
    fresh: list[bool] = []
    world.at(200.0, lambda: fresh.append(factory.fresh))
    world.run()
    assert len(world.kinds[0].alive) < 4
    assert fresh == [again]


@pytest.mark.parametrize("seconds", [3600.0, -500.0])
def test_after_a_clock_step_all_stamps_are_the_new_clocks(seconds: float) -> None:
    _, seen = watched(faulty({"kind": "clock_step", "at": 100, "seconds": seconds}), 4)
    assert [one.now for one in seen[:4]] == [0.0, 60.0, 120 + seconds, 180 + seconds]
    assert {(vm.submitted, vm.started) for vm in seen[2].machines} == {(0.0, 2.0)}
    assert {(end.started, end.ended) for end in ends(seen)} == {(2.0, 782 + seconds)}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"kind": "refuse", "host": 2}, "host: 2 does not exist; hosts are numbered 0 to 1"),
        ({"kind": "refuse", "hosts": [0, 5]}, "hosts: 5 does not exist"),
        ({"kind": "refuse", "hosts": []}, "hosts: is empty"),
        ({"kind": "refuse", "hosts": ["a"]}, "hosts: is 'a'; give a number of 0 or more"),
        ({"kind": "refuse"}, "hosts: is missing; add it"),
        ({"kind": "refuse", "host": 0, "hosts": [1]}, "host: is there beside hosts; remove one of them"),
        ({"kind": "refuse", "host": 0, "message": "x"}, "message: is not a key of this part"),
        ({"kind": "refuse", "host": 0, "machinetype": "two"}, "machinetype: is 'two'; give one of one"),
        ({"kind": "hold", "share": 1.5}, "share: is 1.5; give a number from 0 to 1"),
        ({"kind": "hold", "share": -0.5}, "share: is -0.5; give a number of 0 or more"),
        ({"kind": "error", "share": "all"}, "share: is 'all'"),
        ({"kind": "no_submissions", "at": 5}, "at: is not a key of this part"),
        ({"kind": "clock_step", "at": 5}, "seconds: is missing; add it"),
        ({"kind": "clock_step", "at": 5, "seconds": 0}, "seconds: is 0; give a number of seconds above or below 0"),
        ({"kind": "clock_step", "at": 5, "seconds": float("inf")}, "seconds: is inf"),
        ({"kind": "clock_step", "from": 5, "seconds": 5}, "at: is missing"),
    ],
)
def test_a_wrong_fault_is_refused_by_key(fault: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_mapping(changed("faults", value=[fault]), "test.yml")
    assert str(caught.value).startswith(f"test.yml: faults[0]: {message}")


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("fault", "least", "most"),
    [
        # Two or four VMs have a task each, and the others are withdrawn.
        ({"kind": "queue_emptied", "at": 300}, 2, 4),
        ({"kind": "queue_emptied", "at": 300, "machinetype": "one"}, 2, 4),
        ({"kind": "queue_emptied", "at": 7200}, 5, 40),
    ],
)
def test_a_queue_that_is_emptied_has_no_task_left_but_those_that_run(
    policy: str, fault: dict[str, Any], least: int, most: int
) -> None:
    tasks = [{"at": 0, "tasks": 40, "seconds": [600, 600]}]
    world = play(faulty(fault, queue=tasks, max_machines=4, max_idle=4, first_machines=4), policy)
    assert 600 * least <= world.meter.work <= 600 * most
    assert world.meter.killed_working == 0


def test_another_machinetypes_queue_is_not_emptied() -> None:
    data = changed("faults", value=[{"kind": "queue_emptied", "at": 0, "machinetype": "two"}])
    data["machinetypes"].append({**data["machinetypes"][0], "name": "two"})
    world = World(from_mapping(data, "x"))
    world.pass_until(0.0)
    assert [len(kind.tasks) for kind in world.kinds] == [4, 0]
