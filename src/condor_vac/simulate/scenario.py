# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenario files: what pool there is, which experiments offer which work, and what goes wrong.

The format is described in docs/simulator.md. Everything is checked here, so that the world need not doubt it:
an error names the file, the key and what to write instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from condor_vac.base import atomic, json_text
from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.shared import one_line
from condor_vac.model.machinetype_keys import BY_NAME, CHECKS, POLICY, with_defaults
from condor_vac.policy.observation import Limits
from condor_vac.simulate import faults
from condor_vac.simulate.faults import Fault
from condor_vac.simulate.values import (
    Pair,
    Reader,
    count,
    items,
    maybe,
    name,
    number,
    pair,
    part,
    period,
    positive,
    some,
    text,
)

FILE_LIMIT = 1 << 20
# Columns before a line's first value.
INDENT_LIMIT = 100
HOST_LIMIT = 100_000
# Of all hosts: each slot has its place in the oracle's memory.
SLOT_LIMIT = 10_000_000
# Of all machinetypes: each task is in memory.
TASK_LIMIT = 5_000_000
# Each minute of the duration is a row of the result.
LONGEST_SECONDS = 366 * 86400
# What the worker role configures (worker_starts_per_cycle).
STARTS_PER_CYCLE = 8


@dataclass(frozen=True)
class Batch:
    """Tasks that arrive together: ``tasks`` of them at ``at``, each lasting uniformly ``seconds``."""

    at: float
    tasks: int
    seconds: Pair


@dataclass(frozen=True)
class MachineType:
    """One machinetype and the world its VMs live in (times in seconds).

    ``watched``: its VMs' work is seen as production sees it. Else ``evidence_seconds`` None: nothing can be seen.
    ``unmeasured_share`` of the VMs publish no figure at all, and of the others only ``evidence_share`` ever show work.
    ``tasks_per_vm`` None: an agent takes tasks until none is left. A message None: the VM is silent.
    """

    name: str
    share: float
    processors: int
    limits: Limits
    queue: tuple[Batch, ...]
    idle_seconds: Pair
    evidence_seconds: Pair | None
    no_work_message: str | None
    success_message: str | None
    evidence_share: float
    unmeasured_share: float
    tasks_per_vm: int | None
    watched: bool


@dataclass(frozen=True)
class Nodes:
    """The worker nodes: slots of each, the most VMs that one starts in a negotiation cycle, and its slow first start.

    ``starts_per_cycle`` 0 is no limit. The image of a machinetype takes ``first_start_seconds`` to reach a node.
    """

    slots: tuple[int, ...]
    starts_per_cycle: int
    first_start_seconds: Pair

    @property
    def total(self) -> int:
        """The slots of the pool."""
        return sum(self.slots)


@dataclass(frozen=True)
class Scenario:
    """A pool, its machinetypes and its faults, for ``duration`` seconds of virtual time."""

    name: str
    seed: int
    duration: float
    nodes: Nodes
    negotiation_interval: float
    start_seconds: Pair
    machinetypes: tuple[MachineType, ...]
    cycle_seconds: float
    faults: tuple[Fault, ...] = ()
    by_name: Mapping[str, MachineType] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {kind.name: kind for kind in self.machinetypes})


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


def _machinetype(data: Any, where: str, nodes: Nodes) -> MachineType:
    reader = Reader(data, where)
    watched = "evidence_seconds" not in reader.left
    found = MachineType(
        name=reader.take("name", name),
        share=reader.take("share", positive, 1.0),
        processors=reader.take("processors", _key("processors"), BY_NAME["processors"].default),
        limits=_limits(reader),
        queue=tuple(
            _batch(batch, f"{where}: queue[{index}]") for index, batch in enumerate(reader.take("queue", items, []))
        ),
        idle_seconds=reader.take("idle_seconds", pair),
        evidence_seconds=reader.take("evidence_seconds", maybe(pair), None),
        no_work_message=reader.take("no_work_message", maybe(text)),
        success_message=reader.take("success_message", maybe(text), "200 Success"),
        evidence_share=reader.take("evidence_share", part, 1.0),
        unmeasured_share=reader.take("unmeasured_share", part, 0.0),
        tasks_per_vm=reader.take("tasks_per_vm", maybe(some), None),
        watched=watched,
    )
    most = max(nodes.slots)
    if found.processors > most:
        raise reader.fail("processors", f"is {found.processors}, but a host has {most} slots; give less")
    reader.done()
    return found


def _nodes(data: Any, where: str) -> Nodes:
    reader = Reader(data, where)
    mixed = "kinds" in reader.left
    kinds = reader.take("kinds", items) if mixed else []
    groups = [_alike(kind, f"{where}: kinds[{index}]") for index, kind in enumerate(kinds)]
    groups += [] if mixed else [_slots(reader)]
    hosts = sum(number for number, _slots_of in groups)
    if not 0 < hosts <= HOST_LIMIT:
        raise reader.fail("kinds" if mixed else "count", f"makes {hosts} hosts; give 1 to {HOST_LIMIT}")
    if sum(number * slots for number, slots in groups) > SLOT_LIMIT:
        raise reader.fail("kinds" if mixed else "slots", f"makes more than {SLOT_LIMIT} slots; give fewer")
    found = Nodes(
        tuple(slots for number, slots in groups for _host in range(number)),
        reader.take("starts_per_cycle", count, STARTS_PER_CYCLE),
        reader.take("first_start_seconds", pair, (0.0, 0.0)),
    )
    reader.done()
    return found


def _alike(data: Any, where: str) -> tuple[int, int]:
    reader = Reader(data, where)
    found = _slots(reader)
    reader.done()
    return found


def _slots(reader: Reader) -> tuple[int, int]:
    """How many equal hosts, and the slots of each."""
    return reader.take("count", some), reader.take("slots", some)


def from_mapping(data: Any, where: str) -> Scenario:
    """The scenario in ``data``; ``where`` names its source in errors. Raises UsageError."""
    reader = Reader(data, where)
    nodes = _nodes(reader.take("hosts", lambda value, _: value), f"{where}: hosts")
    duration = reader.take("duration", positive)
    if duration > LONGEST_SECONDS:
        raise reader.fail("duration", f"is longer than a year; give at most {LONGEST_SECONDS} s")
    kinds = tuple(
        _machinetype(entry, f"{where}: machinetypes[{index}]", nodes)
        for index, entry in enumerate(reader.take("machinetypes", items))
    )
    names = [kind.name for kind in kinds]
    if not names or len(set(names)) != len(names):
        raise reader.fail("machinetypes", "give at least one, each with a name of its own")
    tasks = sum(batch.tasks for kind in kinds for batch in kind.queue)
    if tasks > TASK_LIMIT:
        raise reader.fail("machinetypes", f"have more than {TASK_LIMIT} tasks; give fewer")
    wrong = tuple(
        faults.read(entry, f"{where}: faults[{index}]", len(nodes.slots), names, duration)
        for index, entry in enumerate(reader.take("faults", items, []))
    )
    scenario = Scenario(
        name=reader.take("name", name),
        seed=reader.take("seed", count, 0),
        duration=duration,
        nodes=nodes,
        negotiation_interval=reader.take("negotiation_interval", period, 60.0),
        start_seconds=reader.take("start_seconds", pair),
        machinetypes=kinds,
        faults=wrong,
        cycle_seconds=float(reader.take("cycle_seconds", _key("cycle_seconds"), BY_NAME["cycle_seconds"].default)),
    )
    reader.done()
    return scenario


def _check_depth(text: str) -> None:
    """Raises ValueError for YAML that nests deeper than any scenario: PyYAML's time grows with the square of it."""
    json_text.check_depth(text)
    for line in text.splitlines():
        beginning = re.match(r"[ \t]*(?:[-?:] +)*", line)
        if beginning is not None and len(beginning[0]) > INDENT_LIMIT:
            raise ValueError(f"nests deeper than {INDENT_LIMIT} columns")


def _without_merges(safe: Any) -> Any:
    """PyYAML's safe loader without merge keys (<<): a few lines of them make more keys than memory holds."""

    class Loader(safe):  # type: ignore[misc]
        """Refuses merge keys."""

        def flatten_mapping(self, node: Any) -> None:
            """PyYAML calls it for each mapping. Raises ValueError."""
            if any(key.tag == "tag:yaml.org,2002:merge" for key, _value in node.value):
                raise ValueError("has a merge key (<<); write its keys out")

    return Loader


def load(path: str) -> Scenario:
    """The scenario in a YAML file. Raises UsageError naming file, key and remedy."""
    try:
        import yaml  # noqa: PLC0415 - worker nodes do not have it, and only the simulator needs it
    except ImportError as error:
        raise UsageError(f"{path}: PyYAML is missing; install python3-yaml (Debian) or python3-pyyaml (EL)") from error
    try:
        text = atomic.read(path, FILE_LIMIT).decode("utf-8")
        _check_depth(text)
        data = yaml.load(text, _without_merges(yaml.SafeLoader))  # noqa: S506 - a safe loader
    except (VacError, ValueError) as error:
        raise UsageError(f"{path}: cannot read: {one_line(str(error))}") from error
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError) as error:
        # PyYAML has errors of other kinds for values that are not as their tag says (!!bool x).
        raise UsageError(f"{path}: is not YAML: {one_line(str(error) or type(error).__name__)}") from error
    return from_mapping(data, path)
