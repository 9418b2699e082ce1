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
from condor_vac.factory import leftovers
from condor_vac.factory.job_ad import BATCH, CLOCK_TOLERANCE
from condor_vac.policy import state as policy_state
from condor_vac.policy.schema import anything_by_name, exactly, many, matching, natural, number, optional, record, text

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
    worked: frozenset[str] = frozenset()
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
        record(batch=matching(BATCH), count=natural, time=number, cluster=optional(natural), policy=optional(_policy))
    ),
    avoid=many(text),
    last=_last,
)


def path(directory: str) -> str:
    """The state file of a factory whose directory this is."""
    return os.path.join(directory, NAME)


def save(directory: str, state: State) -> None:
    """Replace the state file. Raises VacError."""
    data = json.dumps({"version": VERSION, **asdict(state), "worked": sorted(state.worked)}, indent=1, sort_keys=True)
    atomic.write(path(directory), data.encode() + b"\n")


def load(directory: str, now: float | None = None) -> State:
    """The state in the file, or the empty state if there is none.

    Raises VacError if it is damaged, or of later than ``now``.
    """
    where = path(directory)
    if not os.path.lexists(where):
        return State()
    try:
        data = json.loads(atomic.read(where, LIMIT))
        SCHEMA(data)
    except (ValueError, RecursionError) as error:
        raise VacError(f"{where}: not a state file of this version ({error}); remove it") from error
    pending = data["pending"]
    if now is not None:
        _check_times(where, data["policy"], pending, now)
    return State(
        policy=data["policy"],
        worked=frozenset(data["worked"]),
        pending=None if pending is None else Pending(**pending),
        avoid=tuple(data["avoid"]),
        last=data["last"],
    )


def shown(last: Mapping[str, Any]) -> dict[str, Any] | None:
    """What reports have of a factory's last cycle; None before the first."""
    return {key: last.get(key) for key in ("time", "submit", "error", "reasons", "numbers")} if last else None


def set_aside(directory: str, name: str = NAME) -> str:
    """Rename a damaged file so that the next cycle starts without it; returns its new name. Raises VacError."""
    where, aside = os.path.join(directory, name), damaged_path(directory, name)
    try:
        if os.path.lexists(aside):
            leftovers.remove(aside)
        os.replace(where, aside)
    except OSError as error:
        raise VacError(f"{where}: cannot be renamed to {aside}: {error.strerror}; remove both") from error
    return aside


def damaged_path(directory: str, name: str = NAME) -> str:
    """Where the last damaged file of that name is, if there was one."""
    return f"{os.path.join(directory, name)}.damaged"


def _check_times(where: str, policy: Mapping[str, Any] | None, pending: Mapping[str, Any] | None, now: float) -> None:
    """What is to come decides nothing now: a factory would wait for it."""
    states = [policy, *([pending["policy"]] if pending else [])]
    times = [policy_state.latest(state) for state in states if state is not None]
    latest = max([*times, pending["time"] if pending else 0.0], default=0.0)
    if latest > now + CLOCK_TOLERANCE:
        raise VacError(f"{where}: has a time {latest - now:.0f} s ahead; check this machine's clock, or remove it")
