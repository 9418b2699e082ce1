# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of hosts and machinetypes: what each does to the virtual pool, and which values are refused."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from condor_vac.base.errors import UsageError
from condor_vac.policy.observation import Observation
from condor_vac.simulate.scenario import from_mapping
from tests.unit.condor_vac.simulate.pools import changed, ends, scenario, watched


def running(seen: list[Observation], now: float) -> int:
    return sum(vm.state == "running" for one in seen if one.now == now for vm in one.machines)


@pytest.mark.parametrize(
    ("hosts", "counts"),
    [
        ({"count": 2, "slots": 20}, [16, 32, 40, 40]),
        ({"count": 2, "slots": 20, "starts_per_cycle": 3}, [6, 12, 18, 24]),
        ({"count": 2, "slots": 20, "starts_per_cycle": 0}, [40, 40, 40, 40]),
        ({"count": 2, "slots": 20, "starts_per_cycle": 50}, [40, 40, 40, 40]),
        ({"kinds": [{"count": 1, "slots": 30}, {"count": 3, "slots": 2}]}, [14, 22, 30, 36]),
    ],
)
def test_a_node_takes_so_many_vms_in_a_cycle(hosts: dict[str, Any], counts: list[int]) -> None:
    queue = [{"at": 0, "tasks": 40, "seconds": [600, 600]}]
    _, seen = watched(scenario(changed("hosts", value=hosts), max_machines=40, max_idle=40, queue=queue), 40)
    assert [running(seen, now) for now in (60.0, 120.0, 180.0, 240.0)] == counts


def test_hosts_of_several_kinds_have_their_own_slots() -> None:
    hosts = {"kinds": [{"count": 2, "slots": 1}, {"count": 1, "slots": 6}]}
    played = scenario(changed("hosts", value=hosts), max_machines=20, max_idle=20)
    assert (played.nodes.slots, played.nodes.total) == ((1, 1, 6), 8)
    _, seen = watched(played, 20)
    assert Counter(vm.host for one in seen if one.now == 300.0 for vm in one.machines if vm.host) == {
        "wn-0": 1, "wn-1": 1, "wn-2": 6,
    }  # fmt: skip


def test_the_first_vm_of_a_host_waits_for_the_image_and_so_do_those_beside_it() -> None:
    hosts = {"count": 1, "slots": 2, "starts_per_cycle": 1, "first_start_seconds": [500, 500]}
    data = changed("hosts", value=hosts)
    _, seen = watched(scenario(data, queue=[], max_machines=4), 4)
    lives = [(end.started, end.life) for end in ends(seen)]
    assert lives[:2] == [(2.0, 500 + 60 + 120.0), (62.0, 440 + 60 + 120.0)]
    assert {life for _, life in lives[2:]} == {60 + 120.0}


def test_each_machinetype_has_an_image_of_its_own_on_each_host() -> None:
    data = changed("hosts", value={"count": 2, "slots": 1, "first_start_seconds": [100, 900]})
    world, seen = watched(scenario(data, queue=[], max_machines=6), 4)
    extra = [(end.host, end.life - 180) for end in sorted(ends(seen), key=lambda end: end.started or 0.0)]
    assert {host for host, _ in extra[:2]} == {"wn-0", "wn-1"}
    assert all(100 <= seconds <= 900 for _, seconds in extra[:2])
    assert extra[0][1] != extra[1][1]
    assert [seconds for _, seconds in extra[2:]] == [0.0, 0.0]
    assert set(world.kinds[0].image_at) == {0, 1}


@pytest.mark.parametrize(
    ("keys", "works", "measured"),
    [
        ({}, 40, 40),
        ({"evidence_share": 0}, 0, 40),
        ({"evidence_share": 0.5}, 19, 40),
        ({"unmeasured_share": 1}, 0, 0),
        ({"unmeasured_share": 0.25}, 29, 29),
        ({"unmeasured_share": 0.5, "evidence_share": 0.5}, 11, 21),
        ({"evidence_seconds": None, "evidence_share": 1}, 0, 0),
    ],
)
def test_a_share_of_the_vms_shows_work_and_a_share_is_measured(keys: dict[str, Any], works: int, measured: int) -> None:
    data = changed("hosts", value={"count": 10, "slots": 4})
    queue = [{"at": 0, "tasks": 40, "seconds": [2000, 2000]}]
    world, seen = watched(scenario(data, max_machines=40, max_idle=40, queue=queue, **keys), 40)
    vms = [vm for one in seen if one.now == 600.0 for vm in one.machines]
    assert (sum(vm.works for vm in vms), sum(vm.measured for vm in vms)) == (works, measured)
    assert world.meter.work == 40 * 2000, "what is seen changes nothing of what is done"
    assert Counter(end.works for end in ends(seen))[True] == works


@pytest.mark.parametrize(
    ("message", "kind"),
    [("200 Success", "success"), (None, "none"), ("300 No more work", "no_work"), ("201 ok", "success")],
)
def test_a_vm_that_did_tasks_ends_with_its_own_message(message: str | None, kind: str) -> None:
    _, seen = watched(scenario(success_message=message), 4)
    assert [(end.kind, end.works) for end in ends(seen)] == [(kind, True)] * 4


def test_a_silent_success_before_fizzle_seconds_is_a_fizzle() -> None:
    queue = [{"at": 0, "tasks": 1, "seconds": [30, 30]}]
    _, seen = watched(scenario(success_message=None, queue=queue), 1)
    assert [(end.kind, end.life) for end in ends(seen)] == [("fizzle", 60 + 30 + 120.0)]


@pytest.mark.parametrize(("tasks", "lives"), [(None, [60 + 5 * 100 + 120.0]), (1, [160.0]), (3, [360.0])])
def test_an_agent_ends_after_so_many_tasks(tasks: int | None, lives: list[float]) -> None:
    queue = [{"at": 0, "tasks": 5, "seconds": [100, 100]}]
    world, seen = watched(scenario(tasks_per_vm=tasks, queue=queue), 1)
    assert [(end.kind, end.life) for end in ends(seen)] == [("success", life) for life in lives]
    assert len(world.kinds[0].tasks) == (0 if tasks is None else 5 - tasks)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("hosts",), {"slots": 4}, "hosts: count: is missing; add it"),
        (("hosts",), {"count": 2, "slots": 4, "starts_per_cycle": -1}, "hosts: starts_per_cycle: is -1"),
        (("hosts",), {"count": 2, "slots": 4, "starts_per_cycle": 1.5}, "hosts: starts_per_cycle: is 1.5"),
        (("hosts",), {"count": 2, "slots": 4, "first_start_seconds": 5}, "hosts: first_start_seconds: is 5; give two"),
        (("hosts",), {"kinds": []}, "hosts: kinds: makes 0 hosts; give 1 to 100000"),
        (("hosts",), {"count": 100001, "slots": 1}, "hosts: count: makes 100001 hosts; give 1 to 100000"),
        (("hosts",), {"kinds": [{"count": 99999, "slots": 1}] * 2}, "hosts: kinds: makes 199998 hosts"),
        (("hosts",), {"kinds": [{"count": 1}]}, "hosts: kinds[0]: slots: is missing; add it"),
        (("hosts",), {"kinds": [{"count": 1, "slots": 2, "x": 1}]}, "hosts: kinds[0]: x: is not a key of this part"),
        (("hosts",), {"kinds": [{"count": 1, "slots": 2}], "slots": 2}, "hosts: slots: is not a key of this part"),
        (("machinetypes", 0, "evidence_share"), 1.01, "evidence_share: is 1.01; give a number from 0 to 1"),
        (("machinetypes", 0, "unmeasured_share"), None, "unmeasured_share: is None; give a number of 0 or more"),
        (("machinetypes", 0, "success_message"), "", "success_message: is ''; give text"),
        (("machinetypes", 0, "success_message"), 200, "success_message: is 200; give text"),
        (("machinetypes", 0, "tasks_per_vm"), 0, "tasks_per_vm: is 0; give a whole number of 1 or more"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_key(path: tuple[Any, ...], value: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_mapping(changed(*path, value=value), "test.yml")
    assert str(caught.value).startswith("test.yml: ")
    assert message in str(caught.value)


def test_the_largest_host_bounds_the_processors() -> None:
    data = changed("hosts", value={"kinds": [{"count": 5, "slots": 2}, {"count": 1, "slots": 8}]})
    assert scenario(data, processors=8).machinetypes[0].processors == 8
    with pytest.raises(UsageError, match=r"processors: is 9, but a host has 8 slots"):
        scenario(data, processors=9)
