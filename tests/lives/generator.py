# SPDX-License-Identifier: GPL-3.0-or-later
"""One site's life from a seed: a scenario as its YAML file would have it, and what is special about it."""

from __future__ import annotations

from dataclasses import dataclass

from condor_vac.simulate.scenario import Scenario, from_mapping
from tests.lives import characters, demands, pools, troubles
from tests.lives.draws import HOUR, Data, numbers, pick

NAMES = ("atlas", "lhcb", "gridpp", "alice")
# How many experiments a site has: each number is as likely as the others of this list.
EXPERIMENTS = (1, 1, 1, 1, 2, 2, 2, 3, 3, 4)
LARGEST_SHARE = 5
LABELS = frozenset({*characters.CHARACTERS, *demands.DEMANDS, *troubles.TROUBLES, *pools.LABELS})


@dataclass(frozen=True)
class Experiment:
    """One machinetype of a life, with its character and its demand."""

    name: str
    character: str
    demand: str


@dataclass(frozen=True)
class Life:
    """A scenario (``data``, as its YAML file has it) and what it was made of."""

    seed: int
    data: Data
    experiments: tuple[Experiment, ...]
    pool: tuple[str, ...]
    limits: str
    troubles: tuple[str, ...]

    def scenario(self) -> Scenario:
        """The scenario to play. Raises UsageError where the generator is wrong."""
        return from_mapping(self.data, f"life {self.seed}")

    @property
    def labels(self) -> set[str]:
        """All its labels."""
        named = {word for each in self.experiments for word in (each.character, each.demand)}
        return {*named, *self.pool, self.limits, *self.troubles}

    def line(self) -> str:
        """What it is, in one line."""
        slots, hosts = pools.slots(self.data), pools.hosts(self.data)
        pool = f"{slots} slots on {hosts} hosts for {self.data['duration'] // HOUR} h ({', '.join(self.pool[1:])})"
        experiments = "; ".join(f"{each.name} {each.character}, {each.demand}" for each in self.experiments)
        return f"{pool}, limits {self.limits}; {experiments}; troubles: {', '.join(self.troubles) or 'none'}"


def life(seed: int) -> Life:
    """The life of this seed, the same on every machine and Python."""
    data, labels = pools.pool(numbers(seed, "pool"))
    style = pick(numbers(seed, "limits"), pools.LIMITS)
    rng = numbers(seed, "experiments")
    names = NAMES[: rng.choice(EXPERIMENTS)]
    shares = [rng.randint(1, LARGEST_SHARE) for _ in names]
    experiments, kinds = [], []
    for name, share in zip(names, shares):
        experiment, kind = _experiment(seed, name, data, style, share / sum(shares))
        experiments.append(experiment)
        kinds.append({**kind, "share": share})
    drawn, faults = _troubles(seed, data, names)
    whole = {"name": f"life {seed}", "seed": seed, **data, "machinetypes": kinds, "faults": faults}
    return Life(seed, whole, tuple(experiments), tuple(labels), style, drawn)


def _experiment(seed: int, name: str, data: Data, style: str, share: float) -> tuple[Experiment, Data]:
    """One experiment and its machinetype; ``share`` is its part of the pool."""
    character = pick(numbers(seed, name, "character"), characters.WEIGHTS)
    demand = pick(numbers(seed, name, "demand"), demands.WEIGHTS)
    processors = characters.processors(character, numbers(seed, name, "processors"), pools.largest(data))
    vms = pools.room(data, processors)
    limits = pools.limits(numbers(seed, name, "limits"), style, vms)
    kind = {"name": name, "processors": processors, **limits, **characters.usual(numbers(seed, name, "usual"))}
    characters.CHARACTERS[character](kind, numbers(seed, name, "changes"))
    place = demands.Place(data["duration"], vms, max(1, round(share * vms)))
    kind["queue"] = demands.DEMANDS[demand](place, numbers(seed, name, "queue"))
    return Experiment(name, character, demand), kind


def _troubles(seed: int, data: Data, names: tuple[str, ...]) -> tuple[tuple[str, ...], list[Data]]:
    rng = numbers(seed, "troubles")
    drawn = tuple(sorted(rng.sample(sorted(troubles.TROUBLES), rng.choice(troubles.NUMBERS))))
    site = troubles.Site(data["duration"], pools.hosts(data), names)
    return drawn, [fault for each in drawn for fault in troubles.TROUBLES[each](site, numbers(seed, each))]
