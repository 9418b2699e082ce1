# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of the soak: what does not come to rest, what is left and what the doctor finds are all in the verdict."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from tests.soak import ending
from tests.soak.course import Course, Happened
from tests.soak.plan import Fault, Planned
from tests.soak.pool import Look, NotDoneError, Pool

LOG = "000 (001.000.000) x\n...\n001 (001.000.000) x alias=node1.lab\n...\n005 (001.000.000) x\n...\n"
AD = {"ClusterId": 1, "ProcId": 0, "JobStatus": 4, "ShutdownCode": 200, "VacEnded": 1, "NumJobStarts": 1}


class FakePool:
    """A pool at its end; each answer can be changed."""

    def __init__(self) -> None:
        self.queues: list[dict[str, int]] = [{"2": 1, "4": 1}, {"4": 2}, {}]
        self.things: dict[str, list[str]] = {}
        self.findings: list[dict[str, str]] = []
        self.states = "work good\nidle good\n"
        self.history: list[dict[str, Any]] = [AD]
        self.held = ""

    def run(self, node: str, script: str, stdin: str = "", seconds: float = 0) -> str:
        answers = {
            "doctor": json.dumps({"checks": [{"findings": self.findings if node == "node1" else []}]}),
            "basename": "work\nidle\n",
            "python3 -": self.states,
            "vm.log": LOG,
            "HoldReason": self.held,
        }
        return next((answer for word, answer in answers.items() if word in script), "")

    def left(self, node: str) -> dict[str, list[str]]:
        if node == "node2" and "gone" in self.things:
            raise NotDoneError("node2: it is off")
        return self.things if node == "node1" else {}

    def ads(self, tool: str) -> list[dict[str, Any]]:
        return self.history if tool == "condor_history" else []


class FakeCourse:
    """What was seen of the pool; the next look is the next of its queues, the last one for ever."""

    def __init__(self, pool: FakePool) -> None:
        self.pool = pool
        self.jobs = {"a": "1.0"}
        self.tasks = {"a": 2}
        self.said: list[str] = []
        self.happened: list[Happened] = []

    def look(self) -> Look:
        queue = self.pool.queues[0] if len(self.pool.queues) == 1 else self.pool.queues.pop(0)
        broken = {"head": ["of 3 factories 0 run"], "node1": [], "node2": []}
        return Look(1.0, broken, {"node1": {}, "node2": {}}, (), queue)

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> FakePool:
    clock = iter(range(0, 10**9, 50))
    monkeypatch.setattr("tests.soak.ending.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("tests.soak.ending.time.sleep", lambda seconds: None)
    return FakePool()


def verdict(pool: FakePool) -> ending.Verdict:
    return ending.judge(cast(Pool, pool), cast(Course, FakeCourse(pool)))


def test_a_pool_that_is_clean(pool: FakePool) -> None:
    found = verdict(pool)
    assert (found.wrong, found.notes, found.codes, found.jobs, found.again) == ([], [], {"200": 1}, 1, 0)


def test_a_job_that_does_not_end(pool: FakePool) -> None:
    pool.queues = [{"2": 1}]
    assert verdict(pool).wrong == [
        "VM jobs are not over after 1500 s: {'2': 1}",
        "VM jobs do not leave the queue after 1500 s: {'2': 1}",
    ]


def test_what_is_left_on_a_node_and_a_node_that_cannot_be_looked_at(pool: FakePool) -> None:
    pool.things = {"lease": ["a.json"], "gone": ["x"]}
    assert verdict(pool).wrong == [
        "node1: lease: a.json",
        "node1: gone: x",
        "node2: what cannot be read: node2: it is off",
    ]


def test_what_the_doctor_finds_and_a_state_that_cannot_be_read(pool: FakePool) -> None:
    pool.findings = [{"what": "nginx is off", "remedy": "start it"}]
    pool.states = "work VacError('no state')\n"
    assert verdict(pool).wrong == [
        "node1: doctor: nginx is off -> start it",
        "head: a factory's state: work VacError('no state')",
        "head: states of 1 of ['work', 'idle']",
    ]


def test_a_job_that_was_lost(pool: FakePool) -> None:
    pool.history = []
    assert verdict(pool).wrong == ["job 1.0 was submitted, and is neither in the queue nor in the history"]


@pytest.mark.parametrize(("takes_lease", "failed"), [(True, ""), (True, "no VM there"), (False, "")])
def test_an_end_is_not_recorded_only_where_a_fault_took_the_lease(
    pool: FakePool, takes_lease: bool, failed: str
) -> None:
    pool.history = [{key: value for key, value in AD.items() if key != "VacEnded"}]
    course = FakeCourse(pool)
    fault = Fault("a lease is removed", ("node1",), "rm", "all", takes_lease=takes_lease)
    course.happened = [Happened(Planned(0, fault, "node1"), 1.0, failed=failed)]
    found = ending.judge(cast(Pool, pool), cast(Course, course))
    line = "job 1.0 is completed, and how its VM ended was not recorded"
    assert (found.wrong, found.notes) == ([] if takes_lease and not failed else [line], [line])


def test_a_job_that_is_held_at_the_end_is_told(pool: FakePool) -> None:
    pool.held = "7.0 Error from slot1@node2: no space"
    course = FakeCourse(pool)
    assert ending.come_to_rest(cast(Pool, pool), cast(Course, course)) == []
    assert course.said[-1] == "a job is held at the end, and is removed: 7.0 Error from slot1@node2: no space"
