# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools, from 8 to 2,000 slots, and the limits that their administrators set."""

from __future__ import annotations

import math
import random

from tests.lives.draws import DAY, HOUR, MINUTE, Data, even, pick, span

SMALLEST, LARGEST = 8, 2000  # slots, up to a node more of each kind
# Slots. Larger pools live for half a day, so that a life costs few seconds to play.
DAY_LONG = 400
NODE_SLOTS = (2, 4, 8, 8, 16, 24, 32, 40, 64)
# Seconds from match to an agent's first question, by the label of the pool.
STARTS = {"quick": [30, 60], "usual": [60, 150], "slow": [120, 400], "very_slow": [300, 900]}
START_WEIGHTS = {"quick": 1, "usual": 3, "slow": 1, "very_slow": 1}
# Nodes may have a limit of VMs that they start in a negotiation cycle; 0: none; None: as the worker role sets it.
STARTS_PER_CYCLE = (None, None, None, None, 1, 2, 4, 20, 0)
LIMITS = {"defaults": 3, "own_max_idle": 3, "cautious": 1, "bold": 1, "own_times": 2}
# The most slots of the pools with this label.
SIZES = {"to_40_slots": 40.0, "to_400_slots": DAY_LONG, "more_slots": math.inf}
MIXED_NODES, SLOW_IMAGES, ONE_START = "mixed_nodes", "slow_images", "one_start_per_cycle"
LABELS = (*LIMITS, *SIZES, *(f"start_{start}" for start in STARTS), MIXED_NODES, SLOW_IMAGES, ONE_START)


def pool(rng: random.Random) -> tuple[Data, list[str]]:
    """The keys of the scenario that say what pool it is, and its labels."""
    wanted = even(rng, SMALLEST, LARGEST)
    start = pick(rng, START_WEIGHTS)
    hosts, special = _hosts(rng, wanted)
    data: Data = {
        "duration": DAY,
        "hosts": hosts,
        "negotiation_interval": rng.choice([20, 60, 60, 60, 120, 300]),
        "start_seconds": list(STARTS[start]),
    }
    if slots(data) > DAY_LONG:
        data["duration"] = DAY // 2
    label = next(name for name, most in SIZES.items() if slots(data) <= most)
    return data, [label, f"start_{start}", *special]


def _hosts(rng: random.Random, wanted: int) -> tuple[Data, list[str]]:
    """Nodes with about so many slots together, and what is special about them."""
    labels = []
    if rng.random() < 0.3:
        parts = rng.choice([2, 3])
        found: Data = {"kinds": [_nodes(rng, -(-wanted // parts)) for _ in range(parts)]}
        labels.append(MIXED_NODES)
    else:
        found = _nodes(rng, wanted)
    starts = rng.choice(STARTS_PER_CYCLE)
    if starts is not None:
        found["starts_per_cycle"] = starts
    if starts == 1:
        labels.append(ONE_START)
    if rng.random() < 0.2:
        found["first_start_seconds"] = span(rng, 5 * MINUTE, 40 * MINUTE)
        labels.append(SLOW_IMAGES)
    return found, labels


def _nodes(rng: random.Random, wanted: int) -> Data:
    size = min(rng.choice(NODE_SLOTS), wanted)
    return {"count": -(-wanted // size), "slots": size}


def _groups(data: Data) -> list[tuple[int, int]]:
    """How many nodes have how many slots each."""
    hosts = data["hosts"]
    return [(each["count"], each["slots"]) for each in hosts.get("kinds", [hosts])]


def hosts(data: Data) -> int:
    """The nodes of the pool."""
    return sum(count for count, _ in _groups(data))


def slots(data: Data) -> int:
    """The slots of the pool."""
    return sum(count * size for count, size in _groups(data))


def largest(data: Data) -> int:
    """Slots of the pool's largest node."""
    return max(size for _, size in _groups(data))


def room(data: Data, processors: int) -> int:
    """How many VMs of so many processors the pool can run at once."""
    return sum(count * (size // processors) for count, size in _groups(data))


def limits(rng: random.Random, style: str, vms: int) -> Data:
    """The limits of a machinetype in the style (one of `LIMITS`) of a site where ``vms`` of its VMs have room."""
    found: Data = {"max_machines": rng.choice([vms, vms, max(1, vms * 3 // 4)])}
    if style == "own_max_idle":
        found["max_idle"] = max(2, vms // rng.choice([8, 10, 20]))
    elif style == "cautious":
        found["max_idle"] = rng.randint(2, 5)
        found["max_starting"] = rng.randint(5, 20)
    elif style == "bold":
        found["max_idle"] = max(2, vms // 4)
        found["first_machines"] = max(2, vms // rng.choice([2, 4]))
    elif style == "own_times":
        found["backoff_seconds"] = rng.choice([10 * MINUTE, 20 * MINUTE, HOUR])
        found["fizzle_seconds"] = rng.choice([5 * MINUTE, 15 * MINUTE, 20 * MINUTE])
    if rng.random() < 0.5:
        found["max_wallclock_seconds"] = rng.choice([4 * HOUR, 6 * HOUR, 12 * HOUR])
    return found
