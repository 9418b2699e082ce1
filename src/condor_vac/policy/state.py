# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy's state as JSON, for the factory's state file: its schema, its check, and the version before it.

Times are seconds on the observations' clock, durations seconds, counts whole numbers of VMs, a time that never
was null. Who changes the schema gives it a new version; a state of a version unknown here counts as lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from condor_vac.base.errors import VacError
from condor_vac.policy.schema import by_name, exactly, flag, many, natural, number, optional, record, row, text

VERSION = 3
OLDER_VERSION = 2

JUDGEMENT = record(
    durations=record(
        no_work=many(number),  # lives of the last VMs that found no work
        evidence=many(number),  # from match to evidence of work
    ),
    episodes=record(
        last_found=optional(number),  # when the latest VM asked that found work
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
        by_host=by_name(row(number, text)),  # when the latest VM that failed there asked, and its kind of end
        known_hosts=by_name(number),  # when a VM was last seen there
    ),
    hosts=by_name(record(failures=natural, level=natural, until=optional(number))),  # what is held against hosts
    credit=number,  # VMs that may find no work; negative: debt
    counted=by_name(number),  # ids of ended VMs that were taken in, with the time of their end
    horizon=optional(number),  # ends before it are old news
    found=many(text),  # ids of running VMs that found work
    late=many(text),  # ids of running VMs that should have shown work by now
    found_at=optional(number),  # when it was last seen that a VM had found work
    says_no_work=flag,  # VMs without work have said so
    ever_success=flag,  # a VM has ended well
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
        converted = _from_version_2(state) if version == OLDER_VERSION else state
        SCHEMA(converted)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{error.args[0]}: missing" if isinstance(error, KeyError) else str(error)
        raise VacError(f"the policy's state is damaged ({what}); remove the factory's state file") from error
    return converted


def _from_version_2(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same in the present version. Raises KeyError, TypeError, ValueError or AttributeError if it is damaged."""
    old = state["judgement"]
    fresh_depths, other_depths = old["depths"]
    return {
        "version": VERSION,
        "submissions": state["submissions"],
        "judgement": {
            "durations": {"no_work": old["lives"], "evidence": old["lags"]},
            "episodes": {
                "last_found": old["last_found"],
                "last_dry": old["last_dry"],
                "count": old["episode"],
                "fresh": old["fresh"],
                "fresh_depths": fresh_depths,
                "other_depths": other_depths,
                "bottomless": old["bottomless"],
            },
            "early_ends": {
                "last": old["last_emptied"],
                "confirmed": old["emptied_right"],
                "contradicted": old["emptied_wrong"],
                "open": old["emptied_open"],
            },
            "failures": {"in_a_row": old["failures"], "by_host": old["failing"], "known_hosts": old["known_hosts"]},
            "hosts": {
                host: {"failures": failures, "level": level, "until": until}
                for host, (failures, level, until) in old["hosts"].items()
            },
            "working": old["_working"],
            "seen_at": old["_last_now"],
            **{key: old[key] for key in _UNCHANGED},
        },
    }


_UNCHANGED = ("credit", "counted", "horizon", "found", "late", "found_at", "says_no_work", "ever_success")
