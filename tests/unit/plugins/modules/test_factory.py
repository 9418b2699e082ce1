# SPDX-License-Identifier: GPL-3.0-or-later
"""factory: one scheduler-universe job for each machinetype, submitted anew only when it must be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.modules import factory

from tests.unit.plugins.harness import Answer, Tools, four_calls, run

PATH = "/etc/condor_vac/machinetypes/gridpp.json"
IDLE, RUNNING, REMOVED, HELD = 1, 2, 3, 5


class Schedd:
    """A queue that condor_q, condor_submit, condor_rm, condor_hold and condor_release act on."""

    def __init__(self, digest: str = "aa11", owner: str = "vac", slow: int = 0) -> None:
        self.digest = digest
        self.owner = owner
        self.slow = slow
        self.queue: list[dict[str, Any]] = []
        self.submitted: list[str] = []
        self.next = 7

    def add(self, digest: str, status: int = RUNNING, owner: str = "vac") -> None:
        ad = {"ClusterId": self.next, "ProcId": 0, "JobStatus": status, "VacFactoryDigest": digest, "Owner": owner}
        self.queue.append(ad)
        self.next += 1

    def answer(self, argv: list[str], stdin: str | None) -> Answer:
        tool = argv[0].rsplit("/", 1)[-1]
        if tool == "runuser":
            assert argv[1:4] == ["-u", self.owner, "--"], "the job is its owner's"
            tool = argv[4].rsplit("/", 1)[-1]
        result: Answer = getattr(self, tool)(argv, stdin or "")
        return result

    def condor_vac(self, argv: list[str], _stdin: str) -> Answer:
        commands = {"universe": "scheduler", "+VacFactoryDigest": f'"{self.digest}"', "+VacFactory": '"gridpp"'}
        assert argv[1:] == ["factory-job", "--json", PATH]
        return 0, json.dumps({"name": "gridpp", "owner": self.owner, "commands": commands}), ""

    def condor_q(self, argv: list[str], _stdin: str) -> Answer:
        assert 'VacFactory =?= "gridpp"' in argv[argv.index("-constraint") + 1]
        if self.slow:
            self.slow -= 1
        else:
            self.queue = [job for job in self.queue if job["JobStatus"] != REMOVED]
        return 0, json.dumps(self.queue) if self.queue else "", ""

    def condor_submit(self, _argv: list[str], stdin: str) -> Answer:
        self.submitted.append(stdin)
        self.add(self.digest, HELD if "hold = true" in stdin else RUNNING, self.owner)
        return 0, "7.0 - 7.0\n", ""

    def set_status(self, argv: list[str], status: int) -> Answer:
        job = next(job for job in self.queue if f"{job['ClusterId']}.{job['ProcId']}" == argv[1])
        job["JobStatus"] = status
        return 0, "", ""

    def condor_rm(self, argv: list[str], _stdin: str) -> Answer:
        return self.set_status(argv, REMOVED)

    def condor_hold(self, argv: list[str], _stdin: str) -> Answer:
        return self.set_status(argv, HELD)

    def condor_release(self, argv: list[str], _stdin: str) -> Answer:
        return self.set_status(argv, RUNNING)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory, "POLL_SECONDS", 0)


@pytest.mark.parametrize("state", ["present", "held"])
def test_a_missing_factory_is_submitted_once(state: str) -> None:
    schedd = Schedd()
    results = four_calls(factory, {"machinetype": PATH, "state": state}, Tools(schedd.answer))
    assert [result["job"] for result in results] == [None, "7.0", "7.0", "7.0"]
    assert results[0]["actions"] == ["submit on hold" if state == "held" else "submit"]
    assert results[0]["commands"]["universe"] == "scheduler"
    assert len(schedd.submitted) == 1
    assert schedd.submitted[0].splitlines()[-1] == "queue"


@pytest.mark.parametrize(
    ("status", "state", "action"), [(RUNNING, "held", "hold 7.0"), (HELD, "present", "release 7.0")]
)
def test_hold_and_release_keep_the_job(status: int, state: str, action: str) -> None:
    schedd = Schedd()
    schedd.add("aa11", status)
    results = four_calls(factory, {"machinetype": PATH, "state": state}, Tools(schedd.answer))
    assert results[1]["actions"] == [action]
    assert not schedd.submitted


@pytest.mark.parametrize(("digest", "owner"), [("0ld0", "vac"), ("aa11", "somebody")])
def test_a_changed_factory_ends_before_the_new_one_begins(digest: str, owner: str) -> None:
    schedd = Schedd(slow=3)
    schedd.add(digest, owner=owner)
    results = four_calls(factory, {"machinetype": PATH}, Tools(schedd.answer))
    assert results[1]["actions"] == ["remove 7.0: its program or description changed", "submit"]
    assert [job["ClusterId"] for job in schedd.queue] == [8]


def test_a_second_factory_is_removed() -> None:
    schedd = Schedd()
    schedd.add("aa11")
    schedd.add("aa11")
    assert run(factory, {"machinetype": PATH}, tools=Tools(schedd.answer))["actions"][0].startswith("remove 8.0")
    assert [job["ClusterId"] for job in schedd.queue] == [7]


def test_absent_needs_only_the_name() -> None:
    schedd = Schedd()
    schedd.add("aa11")
    four_calls(factory, {"name": "gridpp", "state": "absent"}, Tools(schedd.answer))
    assert not schedd.queue


def test_restarted_always_changes() -> None:
    schedd = Schedd()
    schedd.add("aa11")
    for cluster in (8, 9):
        result = run(factory, {"machinetype": PATH, "state": "restarted"}, tools=Tools(schedd.answer))
        assert result["changed"]
        assert [job["ClusterId"] for job in schedd.queue] == [cluster]


def test_a_factory_that_does_not_end_is_said_and_nothing_is_submitted() -> None:
    schedd = Schedd(slow=10**9)
    schedd.add("0ld0")
    result = run(factory, {"machinetype": PATH, "timeout": 0}, tools=Tools(schedd.answer))
    assert result["failed"]
    assert "7.0" in result["msg"]
    assert not schedd.submitted


@pytest.mark.parametrize("arguments", [{}, {"name": "x"}, {"name": 'a" || true', "state": "absent"}])
def test_what_names_no_machinetype_is_refused(arguments: dict[str, Any]) -> None:
    result = run(factory, arguments)
    assert result["failed"]
    assert "name" in result["msg"]


def test_a_schedd_that_does_not_answer_leads_to_nothing() -> None:
    schedd = Schedd()

    def answer(argv: list[str], stdin: str | None) -> Answer:
        return (1, "", "Failed to connect") if argv[0].endswith("condor_q") else schedd.answer(argv, stdin)

    result = run(factory, {"machinetype": PATH}, tools=Tools(answer))
    assert result["failed"]
    assert "Failed to connect" in result["msg"]
    assert not schedd.submitted
