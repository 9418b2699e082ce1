# SPDX-License-Identifier: GPL-3.0-or-later
"""The mean wait of work while slots did none, and the places that such work could have had."""

from __future__ import annotations

import random
from typing import Any

import pytest

from condor_vac.simulate.places import Places
from condor_vac.simulate.play import play
from condor_vac.simulate.scenario import from_mapping
from tests.unit.condor_vac.simulate.pools import changed, scenario, watched


def waited(vms: int, data: dict[str, Any] | None = None, **keys: Any) -> float | None:
    world, _ = watched(scenario(data, **keys), vms)
    found = world.meter.result(world.meter, timeline=False)["mean_wait_seconds"]
    assert found == world.kinds[0].meter.result(world.meter, timeline=False)["mean_wait_seconds"]
    return float(found) if found is not None else None


@pytest.mark.parametrize(
    ("vms", "keys", "wait"),
    [
        # VMs ask at 62 s.
        (4, {}, 62.0),
        (2, {}, (4 * 62 + 2 * 600) / 4),
        (1, {}, (4 * 62 + 3 * 600 + 2 * 600 + 600) / 4),
        (0, {}, 7200.0),
        (4, {"queue": []}, None),
        (2, {"queue": [{"at": 100, "tasks": 2, "seconds": [50, 50]}]}, 0.0),
        # Two may work at once by max_machines: two wait for the first two, which is nobody's fault.
        (2, {"max_machines": 2, "max_idle": 2}, (2 * 62 + 0) / 4),
    ],
)
def test_work_waits_while_slots_do_none(vms: int, keys: dict[str, Any], wait: float | None) -> None:
    assert waited(vms, **keys) == wait


def test_while_every_slot_works_nothing_waits() -> None:
    queue = [{"at": 0, "tasks": 40, "seconds": [600, 600]}]
    assert waited(8, queue=queue, max_machines=40, max_idle=40) == pytest.approx(8 * 62 / 40, abs=0.05)


def test_slots_of_a_lost_host_are_not_there() -> None:
    data = changed("faults", value=[{"kind": "hosts_lost", "hosts": [0, 1], "from": 0, "until": 7100}])
    assert waited(0, data) == 100.0


def test_a_vm_of_several_processors_needs_places_on_one_host() -> None:
    """Of two hosts with 4 slots each, VMs of one processor leave 2 and 3: no place for one of 4."""
    data = changed("machinetypes", 0, "queue", value=[{"at": 0, "tasks": 1, "seconds": [7200, 7200]}])
    data["machinetypes"].append({**data["machinetypes"][0], "name": "four", "processors": 4})
    data["hosts"] = {"count": 1, "slots": 4}
    world = play(from_mapping(data, "x"), "oracle")
    assert [kind.meter.waited for kind in world.kinds] == [62.0, 62.0]


@pytest.mark.parametrize("seed", range(20))
def test_places_are_those_of_a_count_anew(seed: int) -> None:
    rng = random.Random(seed)
    slots = [rng.randint(1, 20) for _ in range(8)]
    places, room, lost = Places(slots, {1, 3, 8}), list(slots), set()
    for _ in range(300):
        host = rng.randrange(8)
        if host in lost:
            places.find(host)
            lost.discard(host)
        elif rng.random() < 0.1 and room[host] == slots[host]:
            places.lose(host)
            lost.add(host)
        else:
            change = rng.randint(-room[host], slots[host] - room[host])
            places.change(host, change)
            room[host] += change
        for size in (1, 3, 8):
            assert places.of(size) == sum(room[at] // size for at in range(8) if at not in lost)
