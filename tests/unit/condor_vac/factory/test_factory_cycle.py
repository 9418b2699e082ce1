# SPDX-License-Identifier: GPL-3.0-or-later
"""One cycle: nothing is submitted unless everything is understood, and never twice, wherever it is interrupted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import VacError
from condor_vac.condor.pool import PoolError
from condor_vac.factory import state as factory_state
from condor_vac.factory import submit_description, vm_directories
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
    machinetype,
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
    assert (second["observed"]["idle"], second["observed"]["oldest_idle"]) == (4, int(NOW))


def test_a_vm_whose_slot_another_job_got_waits_since_then(tmp_path: Path) -> None:
    returned = ad("50.0", NumShadowStarts=1, JobCurrentStartDate=int(NOW) - 4900, EnteredCurrentStatus=int(NOW) - 60)
    pool = with_factory(returned)
    assert cycle(pool, tmp_path).run(M)["observed"]["oldest_idle"] == NOW - 60
    pool.ads.append(ad("51.0", EnteredCurrentStatus=int(NOW) - 60))
    assert cycle(pool, tmp_path).run(M)["observed"]["oldest_idle"] == NOW - 5000


@pytest.mark.parametrize("call", ["jobs", "submit"])
def test_a_schedd_that_does_not_answer(tmp_path: Path, call: str) -> None:
    pool = with_factory()
    pool.failing.add(call)
    last = cycle(pool, tmp_path).run(M)
    assert last["submit"] == 0
    assert call in last["error"]
    assert "submitting nothing" in last["reasons"][0]
    assert pool.submitted() == 0


WRONG: list[dict[str, Any]] = [
    {"JobStatus": 77}, {"QDate": "x"}, {"JobCurrentStartDate": "then"}, {"VacCpuFraction": -1.0}, {"VacBatch": "a\nb"},
    {"JobVMCpuUtilization": -7}, {"VacStarted": -5}, {"VacBatch": 7}, {"NumShadowStarts": -1}, {"ClusterId": "x"},
    {"RemoteHost": "slot1@$(X)"}, {"VacDigest": 5}, {"JobDisconnectedDate": "then"}, {"EnteredCurrentStatus": -5},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_one_wrong_ad_stops_neither_submission_nor_the_rules(
    tmp_path: Path, wrong: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Its job counts, it is named once, and once more when it was right meanwhile."""
    overtime = ad("51.0", RUNNING, JobCurrentStartDate=int(NOW) - 10 * 86400)
    evidence = {"VacEvidenceTime": int(NOW)} if "VacCpuFraction" in wrong else {}
    odd = {**ad("50.0", RUNNING, **evidence), **wrong}
    pool = with_factory(ad("49.0"), odd, overtime)
    factory = cycle(pool, tmp_path)
    last = factory.run(M)
    assert (last["error"], last["submit"]) == (None, 3)
    assert ("remove", ("51.0",), "JobStatus == 2") in [each[:2] + each[-1:] for each in pool.done]
    assert factory.run(M)["error"] is None
    (key,) = wrong
    assert capsys.readouterr().out.count(f"{key} ") == 1
    others = [each for each in pool.ads if each != odd]
    for ads in ([*others, ad("50.0", RUNNING)], [*others, odd]):
        pool.ads = ads
        assert factory.run(M)["error"] is None
    assert capsys.readouterr().out.count(f"{key} ") == 1


def test_a_hundred_wrong_ads_do_not_fill_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool = with_factory(*(ad(f"50.{number}", RUNNING, VacBatch=7) for number in range(100)))
    assert cycle(pool, tmp_path).run(M)["error"] is None
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "VacBatch" in line]) == 20
    assert any("80 more" in line for line in lines)


@pytest.mark.parametrize(
    ("ads", "printed"),
    [
        ([], "lacks this factory's job 40.0"),
        ([ad("1.0")], "lacks this factory's job 40.0"),
        ([factory_ad("39.0"), factory_ad()], "39.0 is an older factory of this machinetype"),
        ([factory_ad("39.0", IDLE), factory_ad()], "39.0 is an older factory of this machinetype"),
        ([factory_ad("39.0", JobStatus="running"), factory_ad()], "39.0 is an older factory of this machinetype"),
    ],
)
def test_an_answer_that_cannot_be_whole_or_a_second_factory(tmp_path: Path, ads: Sequence[Any], printed: str) -> None:
    pool = StandInPool(ads)
    last = cycle(pool, tmp_path).run(M)
    assert printed in last["error"]
    assert not pool.done


def test_our_own_job_needs_no_status(tmp_path: Path) -> None:
    assert cycle(StandInPool([factory_ad(JobStatus="running")]), tmp_path).run(M)["submit"] == 4


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
        monkeypatch.setattr(vm_directories, "make", die)
    elif where == "before the submission":
        monkeypatch.setattr(pool, "submit", die)
    elif where == "after the submission":
        pool.on_submit = die
    elif where == "after the confirmation":
        monkeypatch.setattr("condor_vac.factory.vm_jobs.tally", die)


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


@pytest.mark.parametrize(
    "name", ['x" || True || "', "good1.site,good2.site", "good1.site good2.site", "$(X)", "$$(X)", "a\nb", "", "ä"]
)
def test_what_is_no_single_hosts_name_is_not_avoided(tmp_path: Path, name: str) -> None:
    """A node names itself. Neither its ads nor an older state file bring such a name into a job."""
    evil = ad("49.0", COMPLETED, JobCurrentStartDate=int(NOW) - 150, RemoteHost=f"slot1@{name}")
    bad = ad("49.1", COMPLETED, JobCurrentStartDate=int(NOW) - 150, RemoteHost="slot1@bad.site")
    pool = with_factory(evil, bad, ad("50.0"))
    factory_state.save(str(tmp_path), factory_state.State(avoid=(name, "old.site")))
    last = cycle(pool, tmp_path).run(M)
    assert last["error"] is None
    (edit,) = [each for each in pool.done if each[0] == "edit"]
    assert edit[3] == '"bad.site"'
    assert submit_description.avoided([name, "old.site"]) == ["old.site"]


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


def test_another_users_claim_does_not_reach_the_schedds_answer(tmp_path: Path) -> None:
    """Every question names the owner, so that the schedd answers with no other user's jobs."""
    pool = with_factory()
    asked: list[str] = []

    def noted(real: Callable[..., Any]) -> Callable[..., Any]:
        def question(constraint: str, *words: Any) -> Any:
            asked.append(constraint)
            return real(constraint, *words)

        return question

    for name in ("jobs", "history"):
        setattr(pool, name, noted(getattr(pool, name)))
    factory = cycle(pool, tmp_path)
    factory_state.save(str(tmp_path), factory_state.State(pending=factory_state.Pending("b-1", 2, NOW)))
    factory.load()
    factory.run(M)
    factory.withdraw(M, "bye")
    assert len(asked) == 4
    assert all('Owner == "vac"' in constraint for constraint in asked)


def test_a_query_of_a_url_reaches_no_file(tmp_path: Path) -> None:
    """Every user can read the state file."""
    kind = machinetype(user_data="https://127.0.0.1:1/t?token=SECRET")
    last = cycle(with_factory(), tmp_path).run(kind, ["user_data: must be a path; it is 'https://h/t?token=SECRET'"])
    assert "https://127.0.0.1:1/t?…: " in last["error"], "the address is shown"
    assert last["reasons"][0] == "user_data: must be a path; it is 'https://h/t?…'"
    assert "SECRET" not in (tmp_path / "state.json").read_text()


def test_old_directories_are_those_of_no_job(tmp_path: Path) -> None:
    assert vm_directories.old_directories(str(tmp_path), set(), NOW) == []
    for name, age in (("gone", 100), ("young", 1), ("present", 100)):
        path = tmp_path / "vms" / name
        path.mkdir(parents=True)
        os.utime(path, (NOW - age, NOW - age))
    assert vm_directories.old_directories(str(tmp_path), {"present"}, NOW - 50) == [str(tmp_path / "vms" / "gone")]
