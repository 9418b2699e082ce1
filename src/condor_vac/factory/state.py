# SPDX-License-Identifier: GPL-3.0-or-later
"""The one file a factory keeps: what the queue cannot show it again, and its last decision for people to read.

It is written whole before and after each submission (``pending``), so that a factory killed at any moment
knows on its return whether those VMs exist. Without the file the factory works from the queue alone; one
that is not as `SCHEMA` has it is put aside, not guessed at. ``condor_vac status`` and ``explain`` read it too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from condor_vac.base import atomic
from condor_vac.base.errors import VacError
from condor_vac.policy import state as policy_state
from condor_vac.policy.schema import anything_by_name, exactly, many, natural, number, optional, record, text

VERSION = 1
NAME = "state.json"
LIMIT = 64 << 20


@dataclass(frozen=True)
class Pending:
    """A submission that the queue has not confirmed yet.

    ``cluster`` is None until the schedd has accepted it. ``policy`` is the policy's state once it is
    accepted.
    """

    batch: str
    count: int
    time: float
    cluster: int | None = None
    policy: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class State:
    """What the file holds.

    ``policy``: the policy's own state (`condor_vac.policy.state.SCHEMA`), None at first. ``worked``: runs in the
    queue that have shown work. ``avoid``: hosts that the queue's idle VMs avoid. ``last``: the last cycle (`LAST`).
    """

    policy: Mapping[str, Any] | None = None
    worked: tuple[str, ...] = ()
    pending: Pending | None = None
    avoid: tuple[str, ...] = ()
    last: Mapping[str, Any] = field(default_factory=dict)

    def but(self, **changes: Any) -> State:
        """This state with some fields replaced."""
        return replace(self, **changes)


def _policy(value: Any) -> None:
    """What the policy keeps, by its own schema."""
    anything_by_name(value)
    try:
        policy_state.check(value)
    except VacError as error:
        raise ValueError(str(error)) from error


def _last(value: Any) -> None:
    """The last cycle; empty before the first. What is decided and observed is missing after a cycle that failed."""
    anything_by_name(value)
    if value:
        LAST({"cluster": None, "numbers": None, "observed": None, **value})


LAST = record(
    time=number,  # Unix time in seconds
    cycle_seconds=number,
    submit=natural,  # VMs that were submitted
    cluster=optional(natural),  # and their cluster
    error=optional(text),
    reasons=many(text),
    numbers=optional(anything_by_name),  # the decision's figures
    observed=optional(anything_by_name),  # VMs by state, and by how they ended
)
SCHEMA = record(
    version=exactly(VERSION),
    policy=optional(_policy),
    worked=many(text),
    pending=optional(
        record(batch=text, count=natural, time=number, cluster=optional(natural), policy=optional(_policy))
    ),
    avoid=many(text),
    last=_last,
)


def path(directory: str) -> str:
    """The state file of a factory whose directory this is."""
    return os.path.join(directory, NAME)


def save(directory: str, state: State) -> None:
    """Replace the state file. Raises VacError."""
    data = json.dumps({"version": VERSION, **asdict(state)}, indent=1, sort_keys=True)
    atomic.write(path(directory), data.encode() + b"\n")


def load(directory: str) -> State:
    """The state in the file, or the empty state if there is none. Raises VacError if it is damaged."""
    where = path(directory)
    if not os.path.lexists(where):
        return State()
    try:
        data = json.loads(atomic.read(where, LIMIT))
        SCHEMA(data)
    except (ValueError, RecursionError) as error:
        raise VacError(f"{where}: not a state file of this version ({error}); remove it") from error
    pending = data["pending"]
    return State(
        policy=data["policy"],
        worked=tuple(data["worked"]),
        pending=None if pending is None else Pending(**pending),
        avoid=tuple(data["avoid"]),
        last=data["last"],
    )


def set_aside(directory: str) -> str:
    """Rename a damaged state file so that the next cycle starts without it; returns its new name."""
    aside = f"{path(directory)}.damaged"
    os.replace(path(directory), aside)
    return aside
