# SPDX-License-Identifier: GPL-3.0-or-later
"""The pool behind stand-ins for both generations of bindings: every failure is a PoolError, no answer is "no jobs"."""

from __future__ import annotations

import enum
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from condor_vac.condor import pool as pools
from condor_vac.condor.pool import Pool, PoolError, Unreadable, by_id

PROJECTION = ("ClusterId", "ProcId", "JobStatus", "VacKind")


class Value(enum.IntEnum):
    """As classad2.Value."""

    Error = 1
    Undefined = 2


class ExprTree:
    """As classad2.ExprTree."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


class Ad(dict[str, Any]):
    """As classad2.ClassAd: a text is decoded when it is asked for, and ``eval`` evaluates an expression."""

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        return value.decode() if isinstance(value, bytes) else value

    def eval(self, name: str) -> Any:
        """Never to be asked for."""
        raise AssertionError(f"{name}: whoever wrote the expression chose how long this takes")


class Schedd:
    """What a test wants the schedd to answer, or to raise."""

    answer: Any = ()
    calls: list[tuple[Any, ...]]

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **named: Any) -> Any:
            Schedd.calls.append((name, args, named))
            if isinstance(Schedd.answer, BaseException):
                raise Schedd.answer
            return Schedd.answer

        return call


class V1Error(Exception):
    """As htcondor.HTCondorException, which is no built-in exception."""


def module(name: str, **members: Any) -> ModuleType:
    """A module with these members."""
    made = ModuleType(name)
    for key, value in members.items():
        setattr(made, key, value)
    return made


@pytest.fixture(params=["htcondor2", "htcondor"])
def pool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Pool:
    """A pool with this generation of bindings."""
    Schedd.answer, Schedd.calls = (), []
    members: dict[str, Any] = {
        "Schedd": Schedd, "Collector": Schedd, "Submit": dict,
        "JobAction": SimpleNamespace(Remove="rm", RemoveX="rmx", Hold="h", Release="r", Vacate="v"),
    }  # fmt: skip
    if request.param == "htcondor":
        members |= {"HTCondorException": V1Error, "AdTypes": SimpleNamespace(Startd="startd")}
    else:
        members |= {"AdType": SimpleNamespace(Startd="startd")}
    ads = "classad" if request.param == "htcondor" else "classad2"
    monkeypatch.setitem(sys.modules, request.param, module(request.param, **members))
    monkeypatch.setitem(sys.modules, ads, module(ads, Value=Value, ExprTree=ExprTree, ClassAd=Ad))
    return Pool(request.param)


FAILURES = [
    RuntimeError("Failed to connect to schedd."), OSError("timeout"), ValueError("unable to parse"), TypeError("x"),
    KeyError("Address"), IndexError("locate"), RuntimeError("two\nlines " + "x" * 1000), RuntimeError(""),
]  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES)
def test_whatever_fails_is_one_line_and_a_pool_error(pool: Pool, failure: Exception) -> None:
    Schedd.answer = failure
    calls = (
        lambda: pool.jobs("True", PROJECTION),
        lambda: pool.history("True", PROJECTION, 5),
        lambda: pool.slots("True", PROJECTION),
        lambda: pool.matching("1.0", "True"),
        lambda: pool.submit({"universe": "vm"}, 1),
        lambda: pool.remove(["1.0"], "why"),
        lambda: pool.remove_for_good(["1.0"], "why"),
        lambda: pool.release(["1.0"], "why"),
        lambda: pool.edit(["1.0"], "A", "1"),
    )
    for call in calls:
        with pytest.raises(PoolError) as error:
            call()
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 500
    with pytest.raises(PoolError, match="run this on an access point, with condor_schedd running"):
        pool.jobs("True", PROJECTION)


@pytest.mark.parametrize("pool", ["htcondor"], indirect=True)
def test_version_ones_own_exception_is_caught_too(pool: Pool) -> None:
    Schedd.answer = V1Error("no")
    with pytest.raises(PoolError, match="no"):
        pool.jobs("True", PROJECTION)


def test_a_fault_of_ours_is_not_hidden(pool: Pool) -> None:
    Schedd.answer = ZeroDivisionError("bug")
    with pytest.raises(ZeroDivisionError):
        pool.jobs("True", PROJECTION)


def test_values_are_plain_and_expressions_are_not_guessed_at(pool: Pool) -> None:
    Schedd.answer = [
        Ad(ClusterId=1, ProcId=0, JobStatus=2, Other="not asked for"),
        Ad(ClusterId=2, JobStatus=Value.Undefined),
        Ad(ClusterId=3, VacKind=ExprTree('strcat("a", "b")'), JobStatus=Value.Error, ProcId=[1, 2]),
        Ad(ClusterId=4, VacKind='a "quoted"\nvalue', JobStatus=True),
        Ad(ClusterId=5, VacKind=b"\xff", JobStatus=2),
    ]
    ads = pool.jobs("True", PROJECTION)
    assert ads[0] == {"ClusterId": 1, "ProcId": 0, "JobStatus": 2}
    assert ads[1] == {"ClusterId": 2}
    assert all(isinstance(ads[2][name], Unreadable) for name in ("VacKind", "JobStatus", "ProcId"))
    assert ads[3] == {"ClusterId": 4, "VacKind": 'a "quoted"\nvalue', "JobStatus": True}
    assert (ads[4]["ClusterId"], ads[4]["JobStatus"]) == (5, 2), "the rest of that ad, and the other jobs"
    assert "decode" in repr(ads[4]["VacKind"])


@pytest.mark.parametrize("ids", [[], ["1"], ["1.0 || True"], ["1.0", "x"], [""], ["1.0\n"], ["-1.0"], ["1.0.0"]])
def test_what_names_no_job_never_becomes_a_constraint(pool: Pool, ids: list[str]) -> None:
    with pytest.raises(PoolError):
        by_id(ids)
    if ids:
        for act in (pool.remove, pool.remove_for_good, pool.release):
            with pytest.raises(PoolError):
                act(ids, "why")
    else:
        assert pool.remove(ids, "why") == 0
        pool.edit(ids, "A", "1")
    assert not Schedd.calls, "an empty job_spec means every job"


def test_a_constraint_names_its_jobs_and_keeps_its_guard() -> None:
    assert by_id(["7.0", "7.2", "8.1"], "JobStatus == 1") == (
        "(JobStatus == 1) && ((ClusterId == 7 && (ProcId == 0 || ProcId == 2)) || (ClusterId == 8 && (ProcId == 1)))"
    )


def test_an_edit_that_matches_nothing_any_more_is_not_a_failure(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    Schedd.answer = RuntimeError("Unable to edit jobs matching constraint")
    monkeypatch.setattr(pool, "jobs", lambda *_words, **_named: [])
    pool.edit(["1.0"], "A", "1", "JobStatus == 1")
    monkeypatch.setattr(pool, "jobs", lambda *_words, **_named: [{"ClusterId": 1}])
    with pytest.raises(PoolError, match="Unable to edit"):
        pool.edit(["1.0"], "A", "1", "JobStatus == 1")


@pytest.mark.parametrize(("count", "procs", "good"), [(3, 3, True), (3, 2, False), (3, 0, False)])
def test_a_submission_is_whole_or_an_error(pool: Pool, count: int, procs: int, good: bool) -> None:
    Schedd.answer = SimpleNamespace(cluster=lambda: 9, num_procs=lambda: procs)
    if good:
        assert pool.submit({}, count) == 9
    else:
        with pytest.raises(PoolError, match="cluster 9"):
            pool.submit({}, count)


@pytest.mark.parametrize("count", [0, -1])
def test_zero_vms_are_not_submitted(pool: Pool, count: int) -> None:
    with pytest.raises(PoolError):
        pool.submit({}, count)
    assert not Schedd.calls


def test_reasons_are_given_as_each_generation_takes_them(pool: Pool) -> None:
    Schedd.answer = {"TotalSuccess": 1}
    assert pool.remove(["1.0"], "why") == 1
    reason = Schedd.calls[0][1][2]
    assert reason == (("why", None) if pool.bindings == "htcondor2" else "why")


def test_without_bindings_it_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("htcondor2", "htcondor"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PoolError, match=r"run this on an access point, or install condor .EL: python3-condor"):
        Pool()
    assert [condor for condor, _ in pools.BINDINGS] == ["htcondor2", "htcondor"]
