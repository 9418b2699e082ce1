# SPDX-License-Identifier: GPL-3.0-or-later
"""One rule and one timeout for each kind of job that does not end as it should, each tried on both sides."""

from __future__ import annotations

from typing import Any

import pytest

from condor_vac.factory import vm_jobs
from condor_vac.factory.stuck_jobs import (
    FORGET,
    HELD_SECONDS,
    LEASE_SLACK_SECONDS,
    MAX_STARTS,
    OVERTIME_SECONDS,
    RELEASE,
    REMOVE,
    STALE_SECONDS,
    verdicts,
)
from tests.unit.condor_vac.standins import COMPLETED, HELD, IDLE, NOW, REMOVED, RUNNING, ad, machinetype

M = machinetype(max_wallclock_seconds=7200, job_lease_duration=1200, backoff_seconds=1800)
SILENCE = 1200 + LEASE_SLACK_SECONDS
DIGEST = "d1"


def judged(state: int, **attributes: Any) -> str | None:
    """What is done with one such job."""
    queue = vm_jobs.queue([ad("1.0", state, **attributes)], M, NOW)
    found = verdicts(queue.jobs, M, NOW, DIGEST)
    assert len(found) <= 1
    if not found:
        return None
    assert found[0].state == state, "acted on only if it is still so"
    assert found[0].reason
    return found[0].action


def ago(seconds: float) -> int:
    """A time before now."""
    return int(NOW - seconds)


@pytest.mark.parametrize(
    ("state", "attributes", "limit", "action"),
    [
        (HELD, {"HoldReasonCode": 19, "EnteredCurrentStatus": None}, HELD_SECONDS, REMOVE),
        (HELD, {"EnteredCurrentStatus": None}, HELD_SECONDS, REMOVE),
        (RUNNING, {"JobCurrentStartDate": None}, 7200 + OVERTIME_SECONDS, REMOVE),
        (RUNNING, {"JobDisconnectedDate": None}, SILENCE, REMOVE),
        (REMOVED, {"EnteredCurrentStatus": None}, SILENCE, FORGET),
        (COMPLETED, {"EnteredCurrentStatus": None}, 3600 + STALE_SECONDS, RELEASE),
    ],
)
def test_each_timeout(state: int, attributes: dict[str, Any], limit: int, action: str) -> None:
    for seconds, expected in ((limit - 1, None), (limit, action), (limit + 10**6, action)):
        timed = {key: ago(seconds) if value is None else value for key, value in attributes.items()}
        assert judged(state, **timed) == expected


@pytest.mark.parametrize("age", [10, 10**7])
def test_held_by_a_person_is_left_alone_however_long(age: int) -> None:
    assert judged(HELD, HoldReasonCode=1, EnteredCurrentStatus=ago(age)) is None


def test_a_job_held_after_its_end_is_removed_at_once() -> None:
    ended = {"VacEnded": ago(5), "ShutdownCode": 200, "JobCurrentStartDate": ago(4000), "EnteredCurrentStatus": ago(1)}
    assert judged(HELD, HoldReasonCode=1, **ended) == REMOVE
    assert judged(HELD, HoldReasonCode=12, **ended) == REMOVE


@pytest.mark.parametrize(("starts", "action"), [(0, None), (MAX_STARTS - 1, None), (MAX_STARTS, REMOVE)])
def test_a_job_that_hosts_give_back(starts: int, action: str | None) -> None:
    assert judged(IDLE, NumShadowStarts=starts, VacDigest=DIGEST) == action


@pytest.mark.parametrize(("digest", "action"), [(DIGEST, None), (None, None), ("0ld", REMOVE)])
def test_a_job_of_an_earlier_machinetype(digest: str | None, action: str | None) -> None:
    assert judged(IDLE, VacDigest=digest) == action
    assert judged(RUNNING, VacDigest=digest) is None, "what runs is left alone"


def test_a_job_held_by_a_full_disk_makes_room_for_another_at_once() -> None:
    full = {"HoldReasonCode": 13, "HoldReasonSubCode": 28, "EnteredCurrentStatus": ago(1), "NumShadowStarts": 1}
    assert judged(HELD, **full) == REMOVE
    assert judged(HELD, **{**full, "HoldReasonSubCode": 2}) is None
    assert judged(HELD, **{**full, "HoldReasonCode": 1}) is None


@pytest.mark.parametrize("state", [IDLE, RUNNING, HELD, REMOVED, COMPLETED])
def test_what_is_as_it_should_be_is_left_alone(state: int) -> None:
    assert judged(state, VacDigest=DIGEST, EnteredCurrentStatus=ago(60)) is None


def test_long_back_offs_keep_ends_longer() -> None:
    slow = machinetype(backoff_seconds=7200)
    job = vm_jobs.queue([ad("1.0", COMPLETED, EnteredCurrentStatus=ago(3600 + STALE_SECONDS))], slow, NOW).jobs
    assert not verdicts(job, slow, NOW, DIGEST)
