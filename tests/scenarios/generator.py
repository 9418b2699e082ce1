# SPDX-License-Identifier: GPL-3.0-or-later
"""Random scenarios of the kinds that a site meets, so that the policy is not tuned to the ones in the files.

`scenario` makes one of a kind from a seed: the pool's size, the caps, the times and the work are drawn, the
kind says what is special about it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from condor_vac.simulate.scenario import Scenario, from_mapping

Mapping = dict[str, Any]
DAY, HOUR = 86400, 3600


def scenario(kind: str, seed: int) -> Scenario:
    """The scenario of this kind (one of `KINDS`) that belongs to the seed."""
    rng = random.Random(f"{kind}/{seed}")
    data = _pool(rng)
    KINDS[kind](data, rng)
    data["name"], data["seed"] = f"{kind} {seed}", seed
    return from_mapping(data, f"{kind} {seed}")


def _pool(rng: random.Random) -> Mapping:
    """A pool of 100 to 1,000 slots with one experiment that has no work yet."""
    hosts, slots = rng.choice([(10, 10), (20, 16), (25, 20), (50, 20)])
    start = rng.choice([(30, 60), (60, 150), (60, 150), (120, 400)])
    return {
        "duration": rng.choice([DAY // 2, DAY]),
        "hosts": {"count": hosts, "slots": slots},
        "negotiation_interval": rng.choice([60, 60, 120, 300]),
        "start_seconds": list(start),
        "machinetypes": [_machinetype(rng, "gridpp", hosts * slots)],
        "faults": [],
    }


def _machinetype(rng: random.Random, name: str, slots: int) -> Mapping:
    return {
        "name": name,
        "share": 1,
        "max_machines": rng.choice([slots, slots, slots * 3 // 4]),
        "max_idle": max(5, rng.choice([slots // 20, slots // 10, slots // 8])),
        "fizzle_seconds": 600,
        "backoff_seconds": rng.choice([1200, 1800, 1800, 3600]),
        "max_wallclock_seconds": rng.choice([DAY, DAY, DAY // 2, DAY // 6]),
        "queue": [],
        "idle_seconds": rng.choice([[60, 120], [120, 300], [120, 300], [300, 600]]),
        "evidence_seconds": rng.choice([[30, 60], [60, 180], [60, 180], [200, 400]]),
        "no_work_message": rng.choice(["300 No more work", "300 No more work", None]),
    }


def _seconds(rng: random.Random, low: int = 600, high: int = 7200) -> list[int]:
    first = rng.randint(low, high // 2)
    return [first, rng.randint(first, min(high, 2 * first))]


def _plenty(data: Mapping, rng: random.Random, machinetype: Mapping, at: int = 0) -> None:
    """Work for the whole pool until the end."""
    seconds = _seconds(rng)
    slots = data["hosts"]["count"] * data["hosts"]["slots"]
    tasks = int(1.5 * slots * data["duration"] / seconds[0])
    machinetype["queue"].append({"at": at, "tasks": tasks, "seconds": seconds})


def _trickle(data: Mapping, rng: random.Random, machinetype: Mapping, busy: float) -> None:
    """Batches that keep ``busy`` VMs at work on average, at random times."""
    seconds = _seconds(rng)
    size = rng.choice([1, 1, 2, max(1, int(busy / 2))])
    gap = size * sum(seconds) / 2 / busy
    at = rng.uniform(0, 2 * HOUR)
    while at < data["duration"]:
        machinetype["queue"].append({"at": int(at), "tasks": size, "seconds": seconds})
        at += rng.expovariate(1 / gap)


def _flap(data: Mapping, rng: random.Random, machinetype: Mapping) -> None:
    """Batches that take the whole pool for part of each period."""
    seconds, period = _seconds(rng, 600, 3600), rng.randint(HOUR, 5 * HOUR)
    tasks = int(machinetype["max_machines"] * period / sum(seconds) * 2 * rng.uniform(0.2, 0.9))
    for at in range(rng.randint(0, period), data["duration"], period):
        machinetype["queue"].append({"at": at, "tasks": tasks, "seconds": seconds})


def cold(data: Mapping, rng: random.Random) -> None:
    """Plenty of work from the beginning."""
    _plenty(data, rng, data["machinetypes"][0])


def late(data: Mapping, rng: random.Random) -> None:
    """Nothing for hours, then plenty."""
    _plenty(data, rng, data["machinetypes"][0], rng.randint(HOUR, data["duration"] // 2))


def thin(data: Mapping, rng: random.Random) -> None:
    """A trickle for one or two VMs."""
    _trickle(data, rng, data["machinetypes"][0], rng.uniform(0.3, 2.0))


def trickle(data: Mapping, rng: random.Random) -> None:
    """A trickle for a part of the pool."""
    slots = data["machinetypes"][0]["max_machines"]
    _trickle(data, rng, data["machinetypes"][0], slots * rng.choice([0.03, 0.1, 0.3, 0.6, 0.8]))


def flapping(data: Mapping, rng: random.Random) -> None:
    """Work that comes and goes."""
    _flap(data, rng, data["machinetypes"][0])


def nothing(data: Mapping, rng: random.Random) -> None:
    """No work at all, visible or not."""
    if rng.random() < 0.5:
        data["machinetypes"][0]["evidence_seconds"] = None


def invisible(data: Mapping, rng: random.Random) -> None:
    """Work whose evidence cannot be seen."""
    rng.choice([cold, late, flapping, flapping])(data, rng)
    data["machinetypes"][0]["evidence_seconds"] = None


def several(data: Mapping, rng: random.Random) -> None:
    """Three experiments with shares."""
    slots = data["hosts"]["count"] * data["hosts"]["slots"]
    data["machinetypes"] = [_machinetype(rng, name, slots) for name in ("atlas", "lhcb", "gridpp")]
    for machinetype in data["machinetypes"]:
        machinetype["share"] = rng.randint(1, 5)
        how = rng.choice(["plenty", "flap", "trickle", "late"])
        if how == "trickle":
            _trickle(data, rng, machinetype, slots * rng.choice([0.02, 0.1]))
        elif how == "flap":
            _flap(data, rng, machinetype)
        else:
            _plenty(data, rng, machinetype, 0 if how == "plenty" else rng.randint(HOUR, data["duration"] // 2))


def black_holes(data: Mapping, rng: random.Random) -> None:
    """Hosts that fail every VM, while VMs end and start."""
    rng.choice([cold, flapping])(data, rng)
    data["machinetypes"][0]["max_wallclock_seconds"] = rng.choice([2 * HOUR, 4 * HOUR])
    for host in rng.sample(range(data["hosts"]["count"]), rng.randint(1, 3)):
        begin = rng.randint(0, data["duration"] // 2)
        message, after = rng.choice([("500 No CVMFS", 45), (None, 30), ("700 Agent died", 200), ("500 Disk full", 200)])
        data["faults"].append(
            {
                "kind": "black_hole",
                "host": host,
                "from": begin,
                "until": begin + rng.randint(HOUR, 12 * HOUR),
                "message": message,
                "after": after,
            }
        )


def errors(data: Mapping, rng: random.Random) -> None:
    """The experiment's services fail now and then."""
    rng.choice([cold, flapping])(data, rng)
    data["machinetypes"][0]["max_wallclock_seconds"] = rng.choice([2 * HOUR, 6 * HOUR])
    for _ in range(rng.randint(1, 3)):
        begin = rng.randint(0, data["duration"])
        data["faults"].append(
            {
                "kind": "error",
                "machinetype": "gridpp",
                "from": begin,
                "until": begin + rng.randint(HOUR // 2, 4 * HOUR),
                "message": rng.choice(["600 Task queue unreachable", "400 Banned", None]),
                "after": rng.choice([60, 120, 300]),
            }
        )


def kills(data: Mapping, rng: random.Random) -> None:
    """The factory is killed again and again, and pauses."""
    rng.choice([cold, late, flapping, trickle])(data, rng)
    every = rng.randint(HOUR // 2, 3 * HOUR)
    data["faults"] = [
        {"kind": "factory_killed", "at": at} for at in range(rng.randint(60, every), data["duration"], every)
    ]


def outages(data: Mapping, rng: random.Random) -> None:
    """Hosts are lost, the schedd does not answer, the factory is down."""
    rng.choice([cold, flapping])(data, rng)
    for kind in rng.choices(["hosts_lost", "schedd_unreachable", "factory_down"], k=3):
        begin = rng.randint(0, data["duration"])
        fault: Mapping = {"kind": kind, "from": begin, "until": begin + rng.randint(600, HOUR)}
        if kind == "hosts_lost":
            fault["hosts"] = rng.sample(range(data["hosts"]["count"]), rng.randint(1, 5))
        data["faults"].append(fault)


KINDS: dict[str, Callable[[Mapping, random.Random], None]] = {
    "cold": cold,
    "late": late,
    "thin": thin,
    "trickle": trickle,
    "flapping": flapping,
    "nothing": nothing,
    "invisible": invisible,
    "several": several,
    "black_holes": black_holes,
    "errors": errors,
    "kills": kills,
    "outages": outages,
}
