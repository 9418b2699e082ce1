# SPDX-License-Identifier: GPL-3.0-or-later
"""The one file a factory keeps: what the queue cannot tell it again, and its last decision for people to
read.

It is written whole before and after each submission (``pending``), so that a factory killed at any moment
knows on its return whether those VMs exist. Without the file the factory works from the queue alone; a
damaged one is put aside, not guessed at. ``condor_vac status`` and ``explain`` read it too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from condor_vac.base import atomic
from condor_vac.base.errors import VacError

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
    """``policy``: the policy's own state, None at first. ``worked``: runs that have shown work (still in
    the queue).

    ``avoid``: hosts that the queue's idle VMs keep off. ``last``: the last cycle, see
    ``condor_vac.factory.cycle``.
    """

    policy: Mapping[str, Any] | None = None
    worked: tuple[str, ...] = ()
    pending: Pending | None = None
    avoid: tuple[str, ...] = ()
    last: Mapping[str, Any] = field(default_factory=dict)

    def but(self, **changes: Any) -> State:
        """This state with some fields replaced."""
        return replace(self, **changes)


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
        return _state(data)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise VacError(f"{where}: not a state file of this version ({error}); remove it") from error


def set_aside(directory: str) -> str:
    """Rename a damaged state file so that the next cycle starts without it; returns its new name."""
    aside = f"{path(directory)}.damaged"
    os.replace(path(directory), aside)
    return aside


def _state(data: Any) -> State:
    if data["version"] != VERSION:
        raise ValueError(f"version {data['version']}")
    policy, pending = data["policy"], data["pending"]
    if not isinstance(data["last"], dict) or not (policy is None or isinstance(policy, dict)):
        raise ValueError("last and policy must be objects")
    if data["last"]:
        _check_last(data["last"])
    return State(
        policy=policy,
        worked=tuple(str(item) for item in data["worked"]),
        pending=None if pending is None else _pending(pending),
        avoid=tuple(str(item) for item in data["avoid"]),
        last=data["last"],
    )


def _check_last(last: Mapping[str, Any]) -> None:
    """What status and explain show of it. Raises KeyError, TypeError or ValueError."""
    float(last["time"]), float(last["cycle_seconds"]), int(last["submit"])
    if not isinstance(last["reasons"], list) or not isinstance(last["error"], (str, type(None))):
        raise TypeError("last: reasons must be a list, error a text or null")


def _pending(data: Mapping[str, Any]) -> Pending:
    cluster = data["cluster"]
    return Pending(
        batch=str(data["batch"]),
        count=int(data["count"]),
        time=float(data["time"]),
        cluster=None if cluster is None else int(cluster),
        policy=data["policy"],
    )
