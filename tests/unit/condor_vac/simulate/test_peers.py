# SPDX-License-Identifier: GPL-3.0-or-later
"""Vac and Vcycle by their laws: back-off, one VM until fizzle_seconds have passed, and what an abort is to each."""

from __future__ import annotations

from typing import Any

import pytest

from condor_vac.policy.observation import HELD, IDLE, RUNNING, Ended, Machine, Observation
from condor_vac.simulate.peers import Seat, Vac, Vcycle
from condor_vac.simulate.world import World
from tests.unit.condor_vac.simulate.pools import changed, scenario

BACKOFF, FIZZLE = 1800, 600


def player(law: type[Any], hosts: int = 12, slots: int = 5, **keys: Any) -> Any:
    data = changed("hosts", value={"count": hosts, "slots": slots})
    limits = {"max_machines": 60, "max_idle": 50, "backoff_seconds": BACKOFF, "fizzle_seconds": FIZZLE}
    world = World(scenario(data, **{**limits, **keys}))
    return law(Seat(world.kinds[0], world))


def end(kind: str, ended: float, life: float = 1000.0, host: str = "wn-0", name: str = "x") -> Ended:
    return Ended(name, ended - life, ended, kind, False, host, ended - life)


def vm(state: str, age: float, now: float, name: str = "1") -> Machine:
    return Machine(name, state, now - age, None if state == IDLE else now - age, "wn-1")


def submits(law: Any, now: float, *ended: Ended, vms: tuple[Machine, ...] = ()) -> int:
    found: int = law.decide(Observation(now, vms, ended)).submit
    return found


@pytest.mark.parametrize("law", [Vac, Vcycle])
@pytest.mark.parametrize(
    ("since", "vms", "number"),
    [
        (0, (), 0),
        (BACKOFF, (), 0),
        (BACKOFF + 1, (), 1),
        (BACKOFF + FIZZLE - 1, (), 1),
        (BACKOFF + 1, ((IDLE, 5.0),), 0),
        (BACKOFF + 1, ((RUNNING, FIZZLE - 1),), 0),
        (BACKOFF + 1, ((RUNNING, FIZZLE),), 1),
        (BACKOFF + 1, ((RUNNING, 9000.0), (RUNNING, FIZZLE - 1)), 0),
        (BACKOFF + 1, ((HELD, 5.0),), 1),
        (BACKOFF + FIZZLE + 1, (), None),
        (BACKOFF + FIZZLE + 1, ((RUNNING, 5.0),), None),
    ],
)
def test_after_a_backoff_one_vm_until_fizzle_has_passed(
    law: type[Any], since: float, vms: tuple[tuple[str, float], ...], number: int | None
) -> None:
    now = 50000.0
    seen = tuple(vm(state, age, now, str(place)) for place, (state, age) in enumerate(vms))
    all_of_them = {Vac: 12, Vcycle: 6}[law]
    assert submits(player(law), now, end("no_work", now - since), vms=seen) == (
        all_of_them if number is None else number
    )


@pytest.mark.parametrize(
    ("kind", "life", "vac", "vcycle"),
    [
        ("success", 1000, False, False),
        ("success", 599, False, True),
        ("success", 600, False, False),
        ("host_request", 300, False, True),
        ("no_work", 1000, True, True),
        ("banned", 5000, True, True),
        ("site", 10, True, True),
        ("experiment", 5000, True, True),
        ("agent", 5000, True, False),
        ("agent", 500, True, True),
        ("fizzle", 300, False, True),
        ("none", 5000, False, False),
        ("lost", 300, False, True),
        ("refused", 300, False, False),
        ("withdrawn", 300, False, False),
    ],
)
def test_what_an_abort_is(kind: str, life: float, vac: bool, vcycle: bool) -> None:
    for law, aborts in ((Vac, vac), (Vcycle, vcycle)):
        assert (submits(player(law), 50000.0, end(kind, 49990.0, life)) == 0) is aborts, law


def test_a_backoff_is_remembered_after_the_end_is_no_longer_seen() -> None:
    for law in (player(Vac), player(Vcycle)):
        assert submits(law, 10000.0, end("no_work", 9990.0)) == 0
        assert submits(law, 10000.0 + BACKOFF - 20) == 0
        assert submits(law, 10000.0 + BACKOFF) == 1


def test_of_a_host_vac_knows_the_end_of_its_youngest_vm_only() -> None:
    """A success hides the abort before it on the same host, and not on another; Vcycle remembers the abort."""
    abort, young = end("no_work", 9000.0, 1000.0, "wn-3"), end("success", 9500.0, 900.0, "wn-3")
    assert submits(player(Vac), 9600.0, abort, young) == 12
    assert submits(player(Vac), 9600.0, young, abort) == 12
    assert submits(player(Vac), 9600.0, abort, end("success", 9500.0, 900.0, "wn-4")) == 0
    assert submits(player(Vcycle), 9600.0, abort, young) == 0


@pytest.mark.parametrize(
    ("keys", "number"),
    [({}, 6), ({"max_machines": 55}, 6), ({"max_machines": 60, "max_idle": 4}, 4), ({"max_machines": 3}, 1)],
)
def test_vcycle_makes_a_tenth_of_its_limit_a_cycle_however_many_wait(keys: dict[str, Any], number: int) -> None:
    assert submits(player(Vcycle, **keys), 5000.0) == number
    waiting = tuple(vm(IDLE, 5.0, 5000.0, str(place)) for place in range(2))
    left = min(number, keys.get("max_machines", 60) - 2, keys.get("max_idle", 50) - 2)
    assert submits(player(Vcycle, **keys), 5000.0, vms=waiting) == left


def test_vcycle_counts_in_processors() -> None:
    """5 VMs of 4 processors: a tenth of 20 is 2, which one VM exceeds."""
    assert submits(player(Vcycle, processors=4, max_machines=5), 5000.0) == 1
    assert submits(player(Vcycle, processors=4, max_machines=13), 5000.0) == 2


def test_vac_makes_one_vm_on_each_host_with_room() -> None:
    law = player(Vac, hosts=4)
    assert submits(law, 5000.0) == 4
    law.world.hosts.take(2, 5)
    assert submits(law, 5060.0) == 3
    assert submits(law, 5120.0, vms=(vm(IDLE, 5.0, 5120.0),)) == 2
