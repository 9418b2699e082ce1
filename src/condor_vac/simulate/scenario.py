# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenario files: what pool there is, which experiments offer which work, and what goes wrong.

The format is described in docs/simulator.md. Everything is checked here, so that the world need not doubt it:
an error names the file, the key and what to write instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from condor_vac.base.errors import UsageError
from condor_vac.base.shared import one_line
from condor_vac.model.machinetype_keys import BY_NAME, CHECKS, POLICY, with_defaults
from condor_vac.policy.observation import Limits

Pair = tuple[float, float]
FAULT_KINDS = ("error", "black_hole", "factory_killed", "factory_down", "schedd_unreachable", "hosts_lost")


@dataclass(frozen=True)
class Batch:
    """Tasks that arrive together: ``tasks`` of them at ``at``, each lasting uniformly ``seconds``."""

    at: float
    tasks: int
    seconds: Pair


@dataclass(frozen=True)
class MachineType:
    """One machinetype and the world its VMs live in (times in seconds)."""

    name: str
    share: float
    processors: int
    limits: Limits
    queue: tuple[Batch, ...]
    idle_seconds: Pair
    evidence_seconds: Pair | None
    no_work_message: str | None


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong from ``start`` until ``end``; which fields count depends on ``kind``."""

    kind: str
    start: float
    end: float
    machinetype: str | None = None
    hosts: tuple[int, ...] = ()
    message: str | None = None
    after: float = 0.0

    def covers(self, now: float) -> bool:
        """Whether the fault is on at ``now``; the end is no longer part of it."""
        return self.start <= now < self.end


@dataclass(frozen=True)
class Scenario:
    """A pool, its machinetypes and its faults, for ``duration`` seconds of virtual time."""

    name: str
    seed: int
    duration: float
    hosts: int
    slots: int
    negotiation_interval: float
    start_seconds: Pair
    machinetypes: tuple[MachineType, ...]
    cycle_seconds: float
    faults: tuple[Fault, ...] = ()
    by_name: Mapping[str, MachineType] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {kind.name: kind for kind in self.machinetypes})


class Reader:
    """Takes keys out of one mapping of the file, checks them, and in the end refuses what is left."""

    def __init__(self, data: Any, where: str) -> None:
        if not isinstance(data, Mapping):
            raise UsageError(f"{where}: expected keys and values, found {type(data).__name__}")
        self.where = where
        self.left = dict(data)

    def fail(self, key: str, remedy: str) -> UsageError:
        """The error to raise about ``key``."""
        return UsageError(f"{self.where}: {key}: {remedy}")

    def take(self, key: str, convert: Callable[[Any, str], Any], *default: Any) -> Any:
        """The checked value of ``key``; without a default the key must be there."""
        if key not in self.left:
            if default:
                return default[0]
            raise self.fail(key, "is missing; add it")
        value = self.left.pop(key)
        try:
            return convert(value, f"{self.where}: {key}")
        except (TypeError, ValueError) as error:
            raise self.fail(key, str(error)) from error

    def done(self) -> None:
        """Refuse unknown keys: a misspelt one would otherwise be a silent default."""
        for key in self.left:
            raise self.fail(str(key), "is not a key of this part; remove it or correct its spelling")


def number(value: Any, where: str) -> float:  # noqa: ARG001 - every converter has the same signature
    """A finite number of 0 or more."""
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not real or not math.isfinite(value) or value < 0:
        raise ValueError(f"is {value!r}; give a number of 0 or more")
    return float(value)


def positive(value: Any, where: str) -> float:
    """A finite number above 0."""
    if number(value, where) <= 0:
        raise ValueError(f"is {value!r}; give a number above 0")
    return float(value)


def count(value: Any, where: str) -> int:
    """A whole number of 0 or more."""
    if number(value, where) != int(value):
        raise ValueError(f"is {value!r}; give a whole number")
    return int(value)


def some(value: Any, where: str) -> int:
    """A whole number of 1 or more."""
    if count(value, where) < 1:
        raise ValueError(f"is {value!r}; give a whole number of 1 or more")
    return int(value)


def text(value: Any, where: str) -> str:  # noqa: ARG001
    """Text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"is {value!r}; give text")
    return value


def optional_text(value: Any, where: str) -> str | None:
    """Text, or null."""
    return None if value is None else text(value, where)


def pair(value: Any, where: str) -> Pair:
    """``[low, high]`` with low not above high."""
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"is {value!r}; give two numbers, [low, high]")
    low, high = number(value[0], where), number(value[1], where)
    if low > high:
        raise ValueError(f"is {value!r}; give the lower number first")
    return low, high


def optional_pair(value: Any, where: str) -> Pair | None:
    """``[low, high]``, or null."""
    return None if value is None else pair(value, where)


def items(value: Any, where: str) -> list[Any]:  # noqa: ARG001
    """A list; null stands for an empty one."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"is {value!r}; give a list")
    return value


def _batch(data: Any, where: str) -> Batch:
    reader = Reader(data, where)
    batch = Batch(reader.take("at", number), reader.take("tasks", count), reader.take("seconds", pair))
    reader.done()
    return batch


def _key(name: str) -> Callable[[Any, str], Any]:
    """The converter of a key that machinetypes have as well."""
    return lambda value, _where: CHECKS[name](value)


def _limits(reader: Reader) -> Limits:
    given = {name: reader.take(name, _key(name)) for name in POLICY if name in reader.left}
    return Limits(**with_defaults(given, POLICY))


def _machinetype(data: Any, where: str, slots: int) -> MachineType:
    reader = Reader(data, where)
    found = MachineType(
        name=reader.take("name", text),
        share=reader.take("share", positive, 1.0),
        processors=reader.take("processors", _key("processors"), BY_NAME["processors"].default),
        limits=_limits(reader),
        queue=tuple(
            _batch(batch, f"{where}: queue[{index}]") for index, batch in enumerate(reader.take("queue", items, []))
        ),
        idle_seconds=reader.take("idle_seconds", pair),
        evidence_seconds=reader.take("evidence_seconds", optional_pair),
        no_work_message=reader.take("no_work_message", optional_text),
    )
    if found.processors > slots:
        raise reader.fail("processors", f"is {found.processors}, but a host has {slots} slots; give less")
    reader.done()
    return found


def _host_numbers(reader: Reader, kind: str, hosts: int) -> tuple[int, ...]:
    if kind == "black_hole":
        numbers = [reader.take("host", count)]
    elif kind == "hosts_lost":
        numbers = [count(value, reader.where) for value in reader.take("hosts", items)]
    else:
        return ()
    for value in numbers:
        if value >= hosts:
            raise reader.fail("host", f"{value} does not exist; hosts are numbered 0 to {hosts - 1}")
    return tuple(numbers)


def _fault(data: Any, where: str, hosts: int, names: list[str], duration: float) -> Fault:
    reader = Reader(data, where)
    kind = reader.take("kind", text)
    if kind not in FAULT_KINDS:
        raise reader.fail("kind", f"is {kind!r}; give one of {', '.join(FAULT_KINDS)}")
    if kind == "factory_killed":
        start = end = reader.take("at", number)
    else:
        start, end = reader.take("from", number, 0.0), reader.take("until", number, duration)
    strikes = kind in ("error", "black_hole")
    name = reader.take("machinetype", optional_text, None) if kind in ("error", "factory_killed") else None
    if name is not None and name not in names:
        raise reader.fail("machinetype", f"is {name!r}; give one of {', '.join(names)}")
    fault = Fault(
        kind=kind,
        start=start,
        end=end,
        machinetype=name,
        hosts=_host_numbers(reader, kind, hosts),
        message=reader.take("message", optional_text, None) if strikes else None,
        after=reader.take("after", number, 0.0) if strikes else 0.0,
    )
    reader.done()
    return fault


def from_mapping(data: Any, where: str) -> Scenario:
    """The scenario in ``data``; ``where`` names its source in errors. Raises UsageError."""
    reader = Reader(data, where)
    pool = Reader(reader.take("hosts", lambda value, _: value), f"{where}: hosts")
    hosts, slots = pool.take("count", some), pool.take("slots", some)
    pool.done()
    duration = reader.take("duration", positive)
    kinds = tuple(
        _machinetype(entry, f"{where}: machinetypes[{index}]", slots)
        for index, entry in enumerate(reader.take("machinetypes", items))
    )
    names = [kind.name for kind in kinds]
    if not names or len(set(names)) != len(names):
        raise reader.fail("machinetypes", "give at least one, each with a name of its own")
    faults = tuple(
        _fault(entry, f"{where}: faults[{index}]", hosts, names, duration)
        for index, entry in enumerate(reader.take("faults", items, []))
    )
    scenario = Scenario(
        name=reader.take("name", text),
        seed=reader.take("seed", count, 0),
        duration=duration,
        hosts=hosts,
        slots=slots,
        negotiation_interval=reader.take("negotiation_interval", positive, 60.0),
        start_seconds=reader.take("start_seconds", pair),
        machinetypes=kinds,
        faults=faults,
        cycle_seconds=float(reader.take("cycle_seconds", _key("cycle_seconds"), BY_NAME["cycle_seconds"].default)),
    )
    reader.done()
    return scenario


def load(path: str) -> Scenario:
    """The scenario in a YAML file. Raises UsageError naming file, key and remedy."""
    try:
        import yaml  # noqa: PLC0415 - worker nodes do not have it, and only the simulator needs it
    except ImportError as error:
        raise UsageError(f"{path}: PyYAML is missing; install python3-yaml (Debian) or python3-pyyaml (EL)") from error
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot read: {error}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: is not YAML: {one_line(str(error))}") from error
    return from_mapping(data, path)
