# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual pool keeps to the rules of its scenarios, and refuses scenarios that are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import UsageError
from condor_vac.policy.observation import Decision, Observation
from condor_vac.simulate.play import Factory, play
from condor_vac.simulate.scenario import from_mapping, load
from condor_vac.simulate.vm import Kind
from condor_vac.simulate.world import World
from tests.unit.condor_vac.simulate.pools import BASE, Once, changed, scenario, watched


def test_a_vm_is_matched_boots_works_and_ends_as_the_scenario_defines() -> None:
    world, seen = watched(scenario(), 4)
    states = {one.now: [vm.state for vm in one.machines] for one in seen}
    assert states[60.0] == ["running"] * 4, "matched at 2 s, seen at 12 s"
    works = {one.now: sum(vm.works for vm in one.machines) for one in seen}
    assert (works[120.0], works[180.0]) == (0, 4), "asks at 62 s, works, is seen to at 122 s"
    ends = [end for one in seen for end in one.ended]
    assert [(end.kind, end.started, end.ended) for end in ends] == [("success", 2.0, 62.0 + 600 + 120)] * 4
    assert world.meter.work == 4 * 600
    assert (world.meter.wasted, world.meter.wasted_starts) == (0, 0)


def test_a_vm_without_work_wastes_its_life_and_reports_it() -> None:
    world, seen = watched(scenario(queue=[]), 2)
    ends = [end for one in seen for end in one.ended]
    assert [(end.kind, end.abort, end.life) for end in ends] == [("no_work", True, 180.0)] * 2
    assert (world.meter.wasted, world.meter.wasted_starts) == (360.0, 2)


def test_a_silent_vm_fizzles_and_unseen_work_is_not_measured() -> None:
    _, seen = watched(scenario(queue=[], no_work_message=None, evidence_seconds=None), 1)
    assert [end.kind for one in seen for end in one.ended] == ["fizzle"]
    assert not any(vm.measured for one in seen for vm in one.machines)


def test_an_agent_that_waits_takes_what_arrives() -> None:
    world, _ = watched(scenario(queue=[{"at": 150, "tasks": 1, "seconds": [100, 100]}]), 1)
    assert (world.meter.work, world.meter.wasted_starts) == (100.0, 0)


def test_the_wall_clock_ends_a_vm_and_its_task_returns_to_the_queue() -> None:
    world, seen = watched(scenario(max_wallclock_seconds=400), 1)
    ends = [end for one in seen for end in one.ended]
    assert [(end.kind, end.life) for end in ends] == [("success", 400.0)]
    assert (world.meter.work, len(world.kinds[0].tasks)) == (0, 4)


class Reckless(Once):
    """Submits more than it may, and removes what works."""

    def decide(self, seen: Observation) -> Decision:
        remove = tuple(vm.id for vm in seen.machines if vm.works)
        return Decision(submit=super().decide(seen).submit, remove=remove)


@pytest.mark.parametrize(("player", "violations", "killed"), [(Once, False, 0), (Reckless, True, 5)])
def test_what_no_policy_may_do_is_counted(player: type[Once], violations: bool, killed: int) -> None:
    """Without this a count of 0 would prove nothing."""
    world = World(scenario())
    Factory(world, world.kinds[0], "vacuum").player = player(5 if violations else 4)
    world.run()
    assert (world.meter.cap_violations > 0, world.meter.killed_working) == (violations, killed)


FAULTS = [
    ({"kind": "error", "from": 0, "until": 100, "message": "600 down", "after": 20}, [("experiment", 20.0)] * 4),
    ({"kind": "error", "machinetype": "one", "until": 100, "message": None, "after": 20}, [("fizzle", 20.0)] * 4),
    ({"kind": "error", "from": 100, "until": 200, "message": "600 down", "after": 20}, [("success", 780.0)] * 4),
]


@pytest.mark.parametrize(("fault", "ends"), FAULTS)
def test_errors_strike_the_vms_that_start_in_their_window(fault: dict[str, Any], ends: list[tuple[str, float]]) -> None:
    _, seen = watched(scenario(changed("faults", value=[fault])), 4)
    assert [(end.kind, end.life) for one in seen for end in one.ended] == ends


def test_a_black_hole_strikes_on_its_host_only() -> None:
    fault = {"kind": "black_hole", "host": 1, "message": "500 no disk", "after": 10}
    _, seen = watched(scenario(changed("faults", value=[fault]), max_machines=8, max_idle=8), 8)
    ends = [end for one in seen for end in one.ended]
    assert {end.kind for end in ends if end.host == "wn-1"} == {"site"}
    assert {end.kind for end in ends if end.host == "wn-0"} == {"success"}


def test_vms_of_a_lost_host_stay_in_the_queue_for_their_lease() -> None:
    fault = {"kind": "hosts_lost", "hosts": [0, 1], "from": 300, "until": 400}
    world, seen = watched(scenario(changed("faults", value=[fault])), 4)
    queued = {one.now: len(one.machines) for one in seen}
    assert (queued[1440.0], queued[1560.0]) == (4, 0)
    assert [end.kind for one in seen for end in one.ended] == ["lost"] * 4
    assert world.meter.work == 0


@pytest.mark.parametrize(
    ("fault", "silent"),
    [
        ({"kind": "schedd_unreachable", "from": 600, "until": 1200}, range(600, 1200, 60)),
        ({"kind": "factory_down", "from": 600, "until": 1200}, range(600, 1200, 60)),
        ({"kind": "factory_killed", "at": 600}, [600]),
    ],
)
def test_nothing_is_decided_while_the_factory_cannot(fault: dict[str, Any], silent: Any) -> None:
    world = World(scenario(changed("faults", value=[fault])))
    factory = Factory(world, world.kinds[0], "htcondorvms")
    cycles: list[float] = []
    observe = world.observe

    def noted(kind: Any, fresh: bool) -> Observation:
        cycles.append(world.now)
        return observe(kind, fresh)

    world.observe = noted  # type: ignore[method-assign,assignment]
    world.run()
    assert set(range(0, 7201, 60)) - {int(at) for at in cycles} == set(silent)
    assert factory.player is not None


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("duration",), -5, "duration: is -5; give a number of 0 or more"),
        (("duration",), 0, "duration: is 0; give a number above 0"),
        (("hosts",), 5, "hosts: expected keys and values, found int"),
        (("hosts", "slots"), 1.5, "slots: is 1.5; give a whole number"),
        (("machinetypes",), [], "machinetypes: give at least one"),
        (("machinetypes", 0, "max_idel"), 5, "max_idel: is not a key of this part"),
        (("machinetypes", 0, "idle_seconds"), [5, 1], "idle_seconds: is [5, 1]; give the lower number first"),
        (("machinetypes", 0, "processors"), 5, "processors: is 5, but a host has 4 slots"),
        (("machinetypes", 0, "queue", 0, "tasks"), True, "tasks: is True"),
        (("faults",), [{"kind": "fire"}], "kind: is 'fire'; give one of error"),
        (("faults",), [{"kind": "black_hole", "host": 2}], "host: 2 does not exist; hosts are numbered 0 to 1"),
        (("faults",), [{"kind": "error", "machinetype": "two"}], "machinetype: is 'two'; give one of one"),
    ],
)
def test_a_wrong_scenario_is_refused_by_key(path: tuple[Any, ...], value: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_mapping(changed(*path, value=value), "test.yml")
    assert str(caught.value).startswith("test.yml: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a: [", b"- 1\n"])
def test_a_file_that_is_not_a_scenario_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.yml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"bad\.yml"):
        load(str(path))


@pytest.mark.parametrize("policy", ["vacuum", "htcondorvms", "vac", "vcycle", "cobald", "oracle"])
def test_the_same_seed_gives_the_same_run(policy: str) -> None:
    first, second = (play(scenario(), policy).meter for _ in range(2))
    assert first.result(first, timeline=True) == second.result(second, timeline=True)


@pytest.mark.parametrize(("most", "cycle"), [(1, 60), (2, 20), (3, 150), (None, 60)])
def test_a_scenario_may_cap_starts_a_minute(most: int | None, cycle: int, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted: list[float] = []
    submit = World.submit

    def recorded(world: World, kind: Kind, number: int) -> None:
        submitted.extend([world.now] * number)
        submit(world, kind, number)

    monkeypatch.setattr(World, "submit", recorded)
    work = [{"at": 0, "tasks": 40, "seconds": [600, 600]}]
    keys: dict[str, Any] = {} if most is None else {"max_starts_per_minute": most}
    data = {**BASE, "cycle_seconds": cycle}
    play(scenario(data, max_machines=8, max_idle=8, queue=work, **keys), "vacuum")
    in_a_minute = [sum(at <= other < at + 60 for other in submitted) for at in submitted]
    if most is None:
        assert max(in_a_minute) > 3, "more would start without the cap"
    else:
        assert max(in_a_minute) == most
