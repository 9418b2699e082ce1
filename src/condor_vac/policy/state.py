# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy's state as JSON, for the factory's state file: its schema, its check, and the version before it.

Times are seconds on the observations' clock, durations seconds, counts whole numbers of VMs, a time that never
was null. Who changes the schema gives it a new version; a state of a version unknown here counts as lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from condor_vac.base.errors import VacError
from condor_vac.policy.host_trust import LONGEST_SECONDS
from condor_vac.policy.laws import FAILURE_WORDS
from condor_vac.policy.schema import by_name, exactly, flag, many, natural, number, one_of, optional, record, row, text

VERSION = 4
OLDER_VERSION = 3

JUDGEMENT = record(
    durations=record(
        no_work=many(number),  # lives of the last VMs that found no work
        doubtful=many(number),  # and of those of which that is not certain
        failed=many(number),  # and of those that failed
        evidence=many(number),  # from match to evidence of work
    ),
    episodes=record(
        last_found=optional(number),  # when the latest VM asked that found work
        last_shown=optional(number),  # and showed it
        last_dry=optional(number),  # and the latest that found none
        count=natural,  # VMs that found work since
        fresh=flag,  # whether nearly nothing worked when the episode began
        fresh_depths=many(natural),  # VMs that found work in the last episodes of that kind
        other_depths=many(natural),  # and in the last of the other kind
        bottomless=flag,  # no VM has found the queue empty yet
    ),
    early_ends=record(
        last=optional(number),  # when the latest VM succeeded early
        confirmed=natural,  # early ends after which VMs found no work, plus 1
        contradicted=natural,  # early ends after which VMs found work, plus 1
        open=optional(number),  # when the one ended that no later VM has answered
    ),
    failures=record(
        in_a_row=natural,  # VMs without an answer since the last that gave one
        # when the latest VM that failed there asked, and its kind of end
        by_host=by_name(row(number, one_of(*FAILURE_WORDS))),
        known_hosts=by_name(number),  # when a VM was last seen there
    ),
    hosts=by_name(record(failures=natural, level=natural, until=optional(number))),  # what is held against hosts
    credit=number,  # VMs that may find no work; negative: debt
    counted=by_name(number),  # ids of ended VMs that were taken in, with the time of their end
    horizon=optional(number),  # ends before it are old news
    found=many(text),  # ids of running VMs that found work
    assumed=by_name(number),  # those of them that only outlived others, with the time of their start
    late=many(text),  # ids of running VMs that should have shown work by now
    found_at=optional(number),  # when it was last seen that a VM had found work
    unshown=natural,  # VMs that ended well without showing work, since one last showed some
    says_no_work=flag,  # VMs without work have said so
    working=natural,  # VMs that worked at the last observation
    seen_at=optional(number),  # when that was
)
SCHEMA = record(
    version=exactly(VERSION),
    submissions=many(number),  # when the latest VMs were submitted, one entry for each
    judgement=JUDGEMENT,
)


def check(state: Mapping[str, Any]) -> None:
    """Raise VacError that names the key if ``state`` has a known version and does not match its schema."""
    current(state)


def current(state: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """``state`` in the present version, checked; None if it is of a version unknown here. Raises VacError."""
    version = state.get("version")
    if version not in (VERSION, OLDER_VERSION):
        return None
    try:
        converted = _from_version_3(state) if version == OLDER_VERSION else state
        SCHEMA(converted)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{error.args[0]}: missing" if isinstance(error, KeyError) else str(error)
        raise VacError(f"the policy's state is damaged ({what}); remove the factory's state file") from error
    return converted


def latest(state: Mapping[str, Any]) -> float:
    """The latest time in a state that `check` accepts; minus infinity if it has none, or an unknown version."""
    found = current(state)
    if found is None:
        return -math.inf
    judgement = found["judgement"]
    episodes, early_ends, failures = (judgement[key] for key in ("episodes", "early_ends", "failures"))
    times = [
        *found["submissions"],
        *judgement["counted"].values(),
        *judgement["assumed"].values(),
        *(asked for asked, _kind in failures["by_host"].values()),
        *failures["known_hosts"].values(),
        *(judgement[key] for key in ("horizon", "found_at", "seen_at")),
        *(episodes[key] for key in ("last_found", "last_shown", "last_dry")),
        *(early_ends[key] for key in ("last", "open")),
        # Hosts are avoided for some time to come.
        *(host["until"] - LONGEST_SECONDS for host in judgement["hosts"].values() if host["until"] is not None),
    ]
    return max((time for time in times if time is not None), default=-math.inf)


def _from_version_3(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same in the present version. Raises KeyError, TypeError, ValueError or AttributeError if it is damaged."""
    old = dict(state["judgement"])
    del old["ever_success"]
    episodes = {**old["episodes"], "last_shown": old["episodes"]["last_found"]}
    durations = {**old["durations"], "doubtful": [], "failed": []}
    judgement = {**old, "durations": durations, "episodes": episodes, "assumed": {}, "unshown": 0}
    return {**state, "version": VERSION, "judgement": judgement}
