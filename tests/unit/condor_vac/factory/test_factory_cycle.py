# SPDX-License-Identifier: GPL-3.0-or-later
"""One cycle: nothing is submitted unless everything is understood, and never twice, wherever it is interrupted."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import VacError
from condor_vac.condor.pool import PoolError
from condor_vac.factory import cycle as factory_cycle
from condor_vac.factory import state as factory_state
from condor_vac.factory import submit_description
from condor_vac.policy.observation import Decision
from tests.integration.factory.greedy import Policy as Greedy
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
)


class Killed(BaseException):
    """What kill -9 is to a process."""


def test_it_fills_to_the_caps_in_one_submission_and_then_rests(tmp_path: Path) -> None:
    pool = with_factory()
    factory = cycle(pool, tmp_path)
    first, second = factory.run(M), factory.run(M)
    assert (first["submit"], second["submit"]) == (4, 0)
    assert [each[0] for each in pool.done] == ["submit"]
    commands = pool.done[0][2]
    assert sorted(os.listdir(os.path.dirname(commands["initialdir"]))) == ["0", "1", "2", "3"]
    assert first["error"] is None
    assert json.loads((tmp_path / "state.json").read_text())["last"]["observed"]["idle"] == 4
    assert second["observed"]["idle"] == 4


@pytest.mark.parametrize("call", ["jobs", "submit"])
def test_a_schedd_that_does_not_answer(tmp_path: Path, call: str) -> None:
    pool = with_factory()
    pool.failing.add(call)
    last = cycle(pool, tmp_path).run(M)
    assert last["submit"] == 0
    assert call in last["error"]
    assert "submitting nothing" in last["reasons"][0]
    assert pool.submitted() == 0


@pytest.mark.parametrize(
    "wrong",
    [ad("50.0", JobStatus=77), ad("50.0", QDate="x"), ad("50.0", RUNNING, JobCurrentStartDate="then")],
)
def test_one_wrong_ad_among_many_stops_submission(tmp_path: Path, wrong: dict[str, Any]) -> None:
    pool = with_factory(*(ad(f"49.{number}") for number in range(3)), wrong)
    last = cycle(pool, tmp_path).run(M)
    assert "50.0" in last["error"]
    assert not pool.done


@pytest.mark.parametrize(
    ("ads", "printed"),
    [
        ([], "lacks this factory's job 40.0"),
        ([ad("1.0")], "lacks this factory's job 40.0"),
        ([factory_ad("39.0"), factory_ad()], "39.0 is an older factory of this machinetype"),
        ([factory_ad("39.0", IDLE), factory_ad()], "39.0 is an older factory of this machinetype"),
        ([factory_ad("40.0", JobStatus="running")], "JobStatus"),
    ],
)
def test_an_answer_that_cannot_be_whole_or_a_second_factory(tmp_path: Path, ads: Sequence[Any], printed: str) -> None:
    pool = StandInPool(ads)
    last = cycle(pool, tmp_path).run(M)
    assert printed in last["error"]
    assert not pool.done


@pytest.mark.parametrize("other", [factory_ad("41.0"), factory_ad("39.0", HELD), factory_ad("39.0", REMOVED)])
def test_a_younger_or_inactive_factory_does_not_stop_us(tmp_path: Path, other: dict[str, Any]) -> None:
    assert cycle(StandInPool([factory_ad(), other]), tmp_path).run(M)["submit"] == 4


@pytest.mark.parametrize(
    ("asked", "there", "submitted"),
    [(100, [], 4), (-3, [], 0), (3, [ad("50.0", RUNNING), ad("50.1", RUNNING)], 3),
     (9, [ad(f"50.{n}", RUNNING) for n in range(5)], 1), (9, [ad(f"50.{n}", RUNNING) for n in range(9)], 0),
     (9, [ad(f"50.{n}") for n in range(3)], 1), (9, [ad(f"50.{n}", HELD, HoldReasonCode=1) for n in range(5)], 1)],
)  # fmt: skip
def test_no_decision_exceeds_the_caps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: int, there: Sequence[Any], submitted: int
) -> None:
    monkeypatch.setattr(Greedy, "decide", lambda *_: Decision(asked, (), (), ("because",)))
    pool = with_factory(*there)
    last = cycle(pool, tmp_path).run(M)
    assert last["submit"] == pool.submitted() == submitted
    assert (f"submitting {submitted} of {asked}" in " ".join(last["reasons"])) == (asked != submitted)


def interrupt(monkeypatch: pytest.MonkeyPatch, pool: StandInPool, where: str) -> None:
    """Kill the factory at a point of its submission."""

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    if where == "before the announcement":
        monkeypatch.setattr(factory_cycle, "_make_directories", die)
    elif where == "before the submission":
        monkeypatch.setattr(pool, "submit", die)
    elif where == "after the submission":
        pool.on_submit = die
    elif where == "after the confirmation":
        monkeypatch.setattr(factory_cycle, "tally", die)


@pytest.mark.parametrize(
    ("where", "happened"),
    [
        ("before the announcement", 0),
        ("before the submission", 0),
        ("after the submission", 4),
        ("after the confirmation", 4),
    ],
)
def test_killed_within_a_submission_it_is_made_once(tmp_path: Path, where: str, happened: int) -> None:
    pool = with_factory()
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, pool, where)
        with pytest.raises(Killed):
            cycle(pool, tmp_path).run(M)
    pool.on_submit = None
    assert pool.submitted() == happened
    last = cycle(pool, tmp_path, now=NOW + 5).run(M)
    assert (last["error"], last["submit"]) == (None, 4 - happened)
    assert pool.submitted() == 4
    # One that was just made waits for the queue to show it; one that was found there is settled.
    assert (factory_state.load(str(tmp_path)).pending is None) is (happened == 4)
    assert cycle(pool, tmp_path, now=NOW + 65).run(M)["submit"] == 0
    settled = factory_state.load(str(tmp_path))
    assert settled.pending is None
    assert settled.policy == {"asked": 4}, "the policy knows of the VMs that were made, and of no others"


def test_a_submission_that_failed_but_happened_is_not_made_again(tmp_path: Path) -> None:
    pool = with_factory()

    def lose_the_answer() -> None:
        raise PoolError("submit failed: connection lost")

    pool.on_submit = lose_the_answer
    factory = cycle(pool, tmp_path)
    assert "connection lost" in factory.run(M)["error"]
    pool.on_submit = None
    assert factory.run(M)["submit"] == 0
    assert pool.submitted() == 4
    assert factory.state.policy == {"asked": 4}, "the policy knows of them"


def test_vms_that_left_the_queue_before_they_were_seen_were_submitted(tmp_path: Path) -> None:
    pool = with_factory()
    factory = cycle(pool, tmp_path)
    factory.run(M)
    pool.past = [each for each in pool.ads if each["JobUniverse"] == 13]
    pool.ads = [factory_ad()]
    last = factory.run(M)
    assert (last["error"], last["submit"], last["cluster"]) == (None, 4, 62)
    assert factory.state.pending is not None
    assert factory.state.pending.cluster == 62
    assert factory.state.policy == {"asked": 8}


def test_vms_that_were_accepted_and_are_nowhere_stop_submission_for_a_while(tmp_path: Path) -> None:
    pool = with_factory()
    cycle(pool, tmp_path).run(M)
    pool.ads = [factory_ad()]
    for later in (60, M.backoff_seconds - 1):
        last = cycle(pool, tmp_path, now=NOW + later).run(M)
        assert "neither in the queue nor in the history" in last["error"]
    assert pool.submitted() == 4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Greedy, "decide", lambda *_: Decision(0, (), (), ("enough",)))
        assert cycle(pool, tmp_path, now=NOW + M.backoff_seconds).run(M)["error"] is None
    assert factory_state.load(str(tmp_path)).pending is None
    assert cycle(pool, tmp_path, now=NOW + 1).run(M)["submit"] == 4, "the question is settled for good"


def test_a_history_that_does_not_answer_leaves_the_question_open(tmp_path: Path) -> None:
    pool = with_factory()
    cycle(pool, tmp_path).run(M)
    pool.ads = [factory_ad()]
    pool.failing.add("history")
    last = cycle(pool, tmp_path, now=NOW + 10**6).run(M)
    assert "history" in last["error"]
    assert pool.submitted() == 4


def test_without_a_state_the_history_is_asked_and_may_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool = with_factory(ad("50.0", COMPLETED, ShutdownCode=300, VacEnded=int(NOW) - 200))
    pool.past = [ad("50.0", COMPLETED, ShutdownCode=300), ad("49.0", COMPLETED, ShutdownCode=200), ad("48.0", REMOVED)]
    first = cycle(pool, tmp_path / "a", now=NOW)
    (tmp_path / "a").mkdir()
    assert first.run(M)["observed"]["ended"] == {"no_work": 1}, "of the queue"
    assert "judging" not in capsys.readouterr().out
    pool.failing.add("history")
    (tmp_path / "b").mkdir()
    second = cycle(pool, tmp_path / "b").run(M)
    assert second["error"] is None
    assert "using the queue alone" in capsys.readouterr().out


def test_a_damaged_state_is_renamed_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "state.json").write_text("{")
    assert cycle(with_factory(), tmp_path).run(M)["submit"] == 4
    assert "renamed to" in capsys.readouterr().out
    assert (tmp_path / "state.json.damaged").read_text() == "{"


def test_a_full_disk_stops_submission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = with_factory()
    factory = cycle(pool, tmp_path)

    def full(*_: Any) -> None:
        raise VacError("state.json: cannot write: No space left on device; check space, quota and permissions")

    monkeypatch.setattr(factory_state, "save", full)
    with pytest.raises(VacError, match="No space"):
        factory.run(M)
    assert pool.submitted() == 0


def test_rules_are_applied_with_a_guard_and_reported(tmp_path: Path) -> None:
    old = int(NOW) - 10**6
    pool = with_factory(
        ad("50.0", HELD, HoldReasonCode=19, EnteredCurrentStatus=old),
        ad("50.1", HELD, HoldReasonCode=12, EnteredCurrentStatus=old),
        ad("50.2", REMOVED, EnteredCurrentStatus=old),
        ad("50.3", COMPLETED, EnteredCurrentStatus=old, JobCurrentStartDate=old - 900),
        ad("50.4", RUNNING, JobCurrentStartDate=old),
    )
    reasons = " ".join(cycle(pool, tmp_path).run(M)["reasons"])
    assert [each[:2] + each[-1:] for each in pool.done if each[0] != "submit"] == [
        ("remove", ("50.0", "50.1"), "JobStatus == 5"),
        ("forget", ("50.2",), "condor_vac: removed 1000000 s ago, but its host does not answer"),
        ("edit", ("50.3",), "JobStatus == 4"),
        ("remove", ("50.4",), "JobStatus == 2"),
    ]
    for job in ("50.0", "50.1", "50.2", "50.3", "50.4"):
        assert job in reasons


def test_hosts_to_avoid_are_written_once_into_idle_jobs(tmp_path: Path) -> None:
    fizzle = ad("49.0", COMPLETED, JobCurrentStartDate=int(NOW) - 150, RemoteHost="slot1@bad.example.org")
    pool = with_factory(fizzle, ad("50.0"), ad("50.1", RUNNING))
    factory = cycle(pool, tmp_path)
    factory.run(M)
    factory.run(M)
    edits = [each for each in pool.done if each[0] == "edit"]
    assert edits == [("edit", ("50.0",), submit_description.AVOID, '"bad.example.org"', "JobStatus == 1")]
    assert pool.done[-1][2][f"+{submit_description.AVOID}"] == '"bad.example.org"'


def test_a_host_with_quotes_in_its_name_cannot_break_out(tmp_path: Path) -> None:
    evil = ad("49.0", COMPLETED, JobCurrentStartDate=int(NOW) - 150, RemoteHost='slot1@x" || True || "')
    pool = with_factory(evil, ad("50.0"))
    cycle(pool, tmp_path).run(M)
    edit = next(each for each in pool.done if each[0] == "edit")
    assert edit[3] == '"x\\" || True || \\""'


def test_removals_are_guarded_against_a_vm_that_starts_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Greedy, "decide", lambda *_: Decision(0, ("50.0",), (), ("too many",)))
    pool = with_factory(ad("50.0"))
    last = cycle(pool, tmp_path).run(M)
    assert pool.done == [("remove", ("50.0",), "condor_vac: not wanted any more", "JobStatus == 1")]
    assert "removed 1 idle VM" in last["reasons"]


def test_withdrawal_takes_back_only_what_waits(tmp_path: Path) -> None:
    pool = with_factory(ad("50.0"), ad("50.1", RUNNING), ad("50.2", HELD), ad("50.3", COMPLETED))
    assert cycle(pool, tmp_path).withdraw(M, "bye") == 1
    assert pool.done == [("remove", ("50.0",), "bye", "JobStatus == 1")]


def test_a_vm_that_worked_is_remembered_only_while_it_is_there(tmp_path: Path) -> None:
    working = ad("50.0", RUNNING, VacEvidenceTime=int(NOW) - 5, VacCpuFraction=0.9)
    pool = with_factory(working)
    factory = cycle(pool, tmp_path)
    assert factory.run(M)["observed"]["works"] == 1
    pool.ads[1]["VacCpuFraction"] = 0.0
    assert factory.run(M)["observed"]["works"] == 1, "a pause between two jobs is no end of work"
    pool.ads = [factory_ad()]
    factory.run(M)
    assert "50.0:1" not in factory.state.worked


def test_old_directories_are_those_of_no_job(tmp_path: Path) -> None:
    assert factory_cycle.old_directories(str(tmp_path), set(), NOW) == []
    for name, age in (("gone", 100), ("young", 1), ("present", 100)):
        path = tmp_path / "vms" / name
        path.mkdir(parents=True)
        os.utime(path, (NOW - age, NOW - age))
    assert factory_cycle.old_directories(str(tmp_path), {"present"}, NOW - 50) == [str(tmp_path / "vms" / "gone")]
