# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual pool's negotiator: shares, the order in which hosts fill, its cycles, and claims that are used again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from condor_vac.policy.observation import Decision, Observation
from condor_vac.simulate.negotiator import Hosts, matches
from condor_vac.simulate.play import Factory
from condor_vac.simulate.world import World
from tests.unit.condor_vac.simulate.pools import Once, changed, ends, scenario


@dataclass
class Group:
    share: float
    processors: int = 1
    used: int = 0
    avoid: frozenset[int] = field(default_factory=frozenset)


def negotiated(groups: list[Group], idle: list[int], hosts: Hosts) -> list[tuple[int, int]]:
    """The matches of one cycle: (group, host)."""
    got = []

    def take(index: int, host: int) -> None:
        got.append((index, host))
        groups[index].used += groups[index].processors
        hosts.take(host, groups[index].processors)

    matches(list(zip(groups, idle)), hosts, take)
    assert min(hosts.free) >= 0
    return got


@pytest.mark.parametrize(
    ("groups", "idle", "got"),
    [
        ([Group(1), Group(1)], [100, 100], [10, 10]),
        ([Group(3), Group(1)], [100, 100], [15, 5]),
        ([Group(3), Group(1)], [2, 100], [2, 18]),
        ([Group(1), Group(1)], [0, 100], [0, 20]),
        ([Group(1, processors=4), Group(1)], [100, 0], [4, 0]),
        ([Group(1, avoid=frozenset({0, 1})), Group(1)], [100, 0], [10, 0]),
        ([Group(1, processors=6), Group(1)], [100, 0], [0, 0]),
    ],
)
def test_slots_are_shared_as_between_accounting_groups(groups: list[Group], idle: list[int], got: list[int]) -> None:
    found = negotiated(groups, idle, Hosts([5, 5, 5, 5]))
    assert [sum(index == each for index, _ in found) for each in range(2)] == got


def test_whole_cycles_go_to_the_group_that_is_behind_if_nodes_take_few_vms() -> None:
    """As it was measured: 40 slots, 8 VMs a cycle, shares 2 : 1, one group alone in the first cycle: 27 : 13."""
    hosts, groups = Hosts([40], 8), [Group(2), Group(1)]
    cycles = [negotiated(groups, idle, hosts) for idle in ([0, 60], [60, 52], [52, 52], [44, 52], [36, 52])]
    got = [[sum(index == each for index, _ in cycle) for each in range(2)] for cycle in cycles]
    assert got == [[0, 8], [8, 0], [8, 0], [8, 0], [3, 5]]


def test_the_fullest_host_with_room_is_filled_first() -> None:
    hosts = Hosts([8, 8, 4, 8])
    hosts.take(1, 5)
    assert [host for _, host in negotiated([Group(1)], [7], hosts)] == [1] * 3 + [2] * 4
    assert [host for _, host in negotiated([Group(1, processors=8)], [9], hosts)] == sorted(
        [0, 3], key=hosts.order.index
    )


def test_equal_hosts_fill_in_an_order_of_the_seed() -> None:
    firsts = {negotiated([Group(1)], [1], Hosts([4] * 9, 0, seed))[0][1] for seed in range(20)}
    assert len(firsts) > 4
    assert Hosts([4] * 9, 0, 3).order == Hosts([4] * 9, 0, 3).order


@pytest.mark.parametrize(
    ("most", "cycles"), [(1, [4, 4, 4]), (2, [8, 4, 0]), (3, [12, 0, 0]), (0, [12, 0, 0]), (9, [12, 0, 0])]
)
def test_a_host_takes_so_many_vms_of_all_groups_in_a_cycle(most: int, cycles: list[int]) -> None:
    hosts, groups = Hosts([3, 3, 3, 3], most), [Group(1), Group(1)]
    for expected in cycles:
        found = negotiated(groups, [6, 6], hosts)
        assert len(found) == expected
        assert max((sum(host == each for _, host in found) for each in range(4)), default=0) <= (most or 99)


def test_nothing_is_matched_on_a_lost_host() -> None:
    hosts = Hosts([2, 2])
    hosts.lost.add(0)
    assert [host for _, host in negotiated([Group(1)], [5], hosts)] == [1, 1]
    assert hosts.total() == 2


class Submits:
    """Submits so many VMs at these times."""

    def __init__(self, at: dict[float, int]) -> None:
        self.at = at
        self.seen: list[Observation] = []

    def decide(self, seen: Observation) -> Decision:
        self.seen.append(seen)
        return Decision(submit=self.at.get(seen.now, 0))


def started(data: dict[str, Any], at: dict[float, int], **keys: Any) -> tuple[World, list[Observation], list[float]]:
    """The world, what was seen, and when VMs started."""
    world, player = World(scenario(data, **keys)), Submits(at)
    Factory(world, world.kinds[0], "vacuum").player = player
    world.run()
    found = {(vm.id, vm.started) for one in player.seen for vm in one.machines if vm.started is not None}
    return world, player.seen, sorted(start for _, start in found)


@pytest.mark.parametrize(
    ("interval", "at", "starts"),
    [
        (60, {0.0: 1}, [2.0]),
        (60, {0.0: 2}, [2.0, 62.0]),
        (300, {0.0: 3}, [2.0, 302.0, 602.0]),
        (300, {0.0: 2, 60.0: 1}, [2.0, 62.0, 362.0]),
        (15, {0.0: 4}, [2.0, 17.0, 32.0, 47.0]),
    ],
)
def test_a_submission_asks_for_a_cycle_and_others_come_at_the_interval(
    interval: int, at: dict[float, int], starts: list[float]
) -> None:
    data = changed("hosts", value={"count": 1, "slots": 8, "starts_per_cycle": 1})
    data["negotiation_interval"] = interval
    assert started(data, at, max_idle=9, max_machines=9)[2] == starts


def test_a_cycle_that_is_asked_for_comes_20_seconds_after_the_last() -> None:
    """The cycle of the interval comes at 50 s: the submission of 60 s finds the negotiator at 70 s."""
    data = changed("negotiation_interval", value=100)
    assert started(data, {60.0: 1}, max_idle=9)[2] == [70.0]
    data["negotiation_interval"] = 20
    assert started(data, {60.0: 1}, max_idle=9)[2] == [70.0], "the interval's own cycle, 10 + 20 n"


@pytest.mark.parametrize(("task", "again"), [(300, True), (1020, True), (1021, False), (3000, False)])
def test_a_young_claim_is_used_again_without_the_negotiator(task: int, again: bool) -> None:
    """The VM asks after 60 s and gives up 120 s after its task: its claim is then up to 1,200 s old, or older."""
    data = changed("hosts", value={"count": 1, "slots": 1})
    data["negotiation_interval"] = 9000
    queue = [{"at": 0, "tasks": 1, "seconds": [task, task]}]
    found = started(data, {0.0: 2}, queue=queue, max_idle=9)[2]
    assert found == ([2.0, 2.0 + 60 + task + 120] if again else [2.0])


@pytest.mark.parametrize(("until", "second"), [(100, 182.0), (200, None)])
def test_no_claim_is_used_again_while_the_schedd_does_not_answer(until: int, second: float | None) -> None:
    data = changed("hosts", value={"count": 1, "slots": 1})
    data["negotiation_interval"] = 9000
    data["faults"] = [{"kind": "schedd_unreachable", "from": 90, "until": until}]
    found = started(data, {0.0: 2}, queue=[], max_idle=9)[2]
    assert found == [2.0] + ([second] if second else [])


def test_a_claim_is_as_old_as_its_first_vm() -> None:
    """VMs of 180 s each: at 1,262 s the claim is older than 1,200 s, and the next VM waits for the negotiator."""
    data = changed("hosts", value={"count": 1, "slots": 1})
    data["negotiation_interval"] = 9000
    found = started(data, {0.0: 9}, queue=[], max_idle=9, max_machines=9)[2]
    assert found == [2.0 + 180 * each for each in range(7)]


def test_a_host_that_is_avoided_is_not_used_again_by_its_claim() -> None:
    data = changed("hosts", value={"count": 1, "slots": 1})
    data["negotiation_interval"] = 9000
    world, player = World(scenario(data, queue=[])), Once(2)
    Factory(world, world.kinds[0], "vacuum").player = player
    avoiding = player.decide
    player.decide = lambda seen: Decision(  # type: ignore[method-assign]
        submit=avoiding(seen).submit, avoid_hosts=("wn-0",) if seen.now > 60 else ()
    )
    world.run()
    assert [end.started for end in ends(player.seen)] == [2.0]


def test_a_pool_of_nodes_fills_as_fast_as_they_start_vms() -> None:
    """40 slots a node, 8 in a cycle of 60 s: full in the fifth."""
    data = changed("hosts", value={"count": 5, "slots": 40})
    queue = [{"at": 0, "tasks": 500, "seconds": [5000, 5000]}]
    starts = started(data, {0.0: 200}, queue=queue, max_machines=200, max_idle=200)[2]
    assert [starts.count(at) for at in sorted(set(starts))] == [40] * 5
    assert sorted(set(starts)) == [2.0 + 60 * cycle for cycle in range(5)]
