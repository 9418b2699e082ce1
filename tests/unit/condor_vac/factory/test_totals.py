# SPDX-License-Identifier: GPL-3.0-or-later
"""The factory's totals: each start and each end once, whatever happens to the factory, the job or the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import VacError
from condor_vac.factory import totals as factory_totals
from condor_vac.factory.totals import MOST_OTHER_CODES, PLATFORM_CODES, Totals
from condor_vac.policy.observation import KINDS
from tests.unit.condor_vac.factory.factory_cycles import M, cycle, with_factory
from tests.unit.condor_vac.standins import (
    COMPLETED,
    HELD,
    IDLE,
    NOW,
    REMOVED,
    RUNNING,
    StandInPool,
    ad,
    factory_ad,
    machinetype,
)

LIFE = 3900
# Its factory submits nothing, so that the queue has what a test puts there.
FULL = machinetype(max_machines=0)


def look(pool: StandInPool, directory: Path, *ads: dict[str, Any], now: float = NOW) -> Totals:
    """The totals after a factory has started and made one cycle with these jobs in the queue."""
    pool.ads = [factory_ad(), *ads]
    cycle(pool, directory, now=now).run(FULL)
    return factory_totals.load(str(directory))


@pytest.fixture
def pool(tmp_path: Path) -> StandInPool:
    """A queue that a factory has seen empty."""
    made = with_factory()
    look(made, tmp_path)
    return made


def ended(job: str, code: int | None = 200, **attributes: Any) -> dict[str, Any]:
    return ad(job, COMPLETED, **{"ShutdownCode": code, "VacEnded": int(NOW) - 100, "VacRuntime": LIFE, **attributes})


def test_a_vm_is_counted_once_at_its_start_and_once_at_its_end(pool: StandInPool, tmp_path: Path) -> None:
    begun = look(pool, tmp_path, ad("50.0", RUNNING), ad("50.1", RUNNING), ad("50.2", IDLE))
    assert (begun.started, begun.ends) == (2, {})
    for _ in range(3):
        done = look(pool, tmp_path, ended("50.0"), ended("50.1", 300), ended("50.2", None))
    assert (done.started, done.ends) == (3, {"success 200": 1, "no_work 300": 1, "none none": 1})
    assert (done.worked_seconds, done.wasted_seconds) == (0.0, 3 * 3900.0)
    gone = look(pool, tmp_path)
    assert (gone.started, gone.ends, gone.runs) == (3, done.ends, {})


def test_seconds_of_vms_that_showed_work_are_not_wasted(pool: StandInPool, tmp_path: Path) -> None:
    busy: dict[str, Any] = {"VacEvidenceTime": int(NOW) - 120, "VacCpuFraction": 0.9}
    look(pool, tmp_path, ad("50.0", RUNNING, **busy), ad("50.1", RUNNING))
    done = look(pool, tmp_path, ended("50.0", **busy), ended("50.1"))
    assert (done.worked_seconds, done.wasted_seconds) == (3900.0, 3900.0)


def test_vms_that_ended_while_no_factory_ran_are_taken_from_the_history(pool: StandInPool, tmp_path: Path) -> None:
    look(pool, tmp_path, ad("50.0", RUNNING), ended("50.1"))
    later: dict[str, Any] = {"EnteredCurrentStatus": int(NOW) + 5000, "VacEnded": int(NOW) + 5000}
    pool.past = [ended("50.0", 300, **later), ended("50.1"), ended("49.0", EnteredCurrentStatus=int(NOW) - 9000)]
    for _ in range(2):
        done = look(pool, tmp_path, now=NOW + 9000)
    assert (done.started, done.ends) == (2, {"success 200": 1, "no_work 300": 1})


def test_removed_lost_and_refused_runs_end_too(pool: StandInPool, tmp_path: Path) -> None:
    look(pool, tmp_path, *(ad(f"50.{number}", RUNNING) for number in range(4)))
    back = {"JobCurrentStartDate": int(NOW) - 4000, "NumShadowStarts": 1}
    second = look(
        pool, tmp_path,
        ad("50.0", REMOVED),
        ad("50.1", IDLE, JobCurrentStartExecutingDate=int(NOW) - 3990, **back),
        ad("50.2", IDLE, **back),
        ad("50.3", RUNNING, NumShadowStarts=2, JobCurrentStartDate=int(NOW) - 50),
    )  # fmt: skip
    assert (second.started, second.ends) == (5, {"lost none": 2, "refused none": 1})
    third = look(pool, tmp_path, ad("50.1", IDLE, JobCurrentStartExecutingDate=int(NOW) - 3990, **back))
    assert third.ends == {"lost none": 2, "refused none": 1, "withdrawn none": 2}
    assert third.started == 5


def test_a_held_job_ends_once_when_its_end_is_seen(pool: StandInPool, tmp_path: Path) -> None:
    look(pool, tmp_path, ad("50.0", RUNNING))
    held = {"JobCurrentStartDate": int(NOW) - 4000, "NumShadowStarts": 1, "HoldReasonCode": 12}
    assert look(pool, tmp_path, ad("50.0", HELD, **held)).ends == {}
    assert look(pool, tmp_path, ended("50.0", 600)).ends == {"experiment 600": 1}


def test_what_the_queue_shows_when_counting_begins_is_not_counted(tmp_path: Path) -> None:
    """After an upgrade, or when the file was damaged or lost."""
    pool = with_factory()
    pool.past = [ended("49.0")]
    first = look(pool, tmp_path, ad("50.0", RUNNING), ended("50.1"))
    assert (first.since, first.started, first.ends) == (NOW, 0, {})
    assert look(pool, tmp_path, ended("50.0"), ended("50.1")).ends == {"success 200": 1}


def test_hostile_codes_make_no_more_rows_than_there_may_be(pool: StandInPool, tmp_path: Path) -> None:
    jobs = [ended(f"50.{number}", 100 + number) for number in range(900)]
    done = look(pool, tmp_path, *jobs)
    assert sum(done.ends.values()) == 900
    codes = {int(row.split()[1]) for row in done.ends if row.split()[1].isdigit()}
    assert codes >= PLATFORM_CODES
    assert len(codes - PLATFORM_CODES) == MOST_OTHER_CODES
    assert {row for row in done.ends if row.endswith("other")} <= {f"{kind} other" for kind in KINDS}


def test_cycles_submissions_and_failures(tmp_path: Path) -> None:
    pool = with_factory()
    cycle(pool, tmp_path).run(M)
    before = factory_totals.load(str(tmp_path))
    assert (before.cycles, before.failed_cycles, before.submitted) == (1, 0, 4)
    pool.failing.add("jobs")
    after = look(pool, tmp_path)
    assert (after.cycles, after.failed_cycles, after.submitted) == (2, 1, 4)


DAMAGED: dict[str, Any] = {
    "not JSON": "{",
    "deep": "[" * 100_000,
    "no object": "[]",
    "a negative total": {"started": -1},
    "a total of words": {"submitted": "many"},
    "a negative time": {"worked_seconds": -0.5},
    "a row that is none": {"ends": {"success <script>": 1}},
    "a kind that is none": {"ends": {"party 200": 1}},
    "another version": {"version": 9},
    "an unknown key": {"more": 1},
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_put_aside_and_costs_the_totals_alone(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = with_factory()
    good = look(pool, tmp_path)
    path, damage = tmp_path / factory_totals.NAME, DAMAGED[name]
    text = damage if isinstance(damage, str) else json.dumps({**json.loads(path.read_text()), **damage})
    path.write_text(text)
    state = json.loads((tmp_path / "state.json").read_text())
    with pytest.raises(VacError, match=r"totals\.json: not a factory's totals of this version"):
        factory_totals.load(str(tmp_path))
    again = look(pool, tmp_path, now=NOW + 60)
    assert (again.cycles, again.since, good.cycles) == (1, NOW + 60, 1)
    assert (tmp_path / "totals.json.damaged").read_text() == text
    assert "renamed to" in capsys.readouterr().out
    assert json.loads((tmp_path / "state.json").read_text())["worked"] == state["worked"]
    assert not (tmp_path / "state.json.damaged").exists()
