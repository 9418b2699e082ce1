# SPDX-License-Identifier: GPL-3.0-or-later
"""factory: one scheduler-universe job for each machinetype, submitted anew only when it must be."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.module_utils._machinetype.queue import (
    WAITING,
    users_of_machinetypes,
)
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import CLI
from ansible_collections.vacuum.htcondor.plugins.modules import factory

from tests.unit.plugins.harness import Answer, Plugin, Tools, four_calls, run

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
        self.vms: list[dict[str, Any]] = []
        self.next = 7

    def add(self, digest: str, status: int = RUNNING, owner: str = "vac", name: str = "gridpp") -> None:
        ad = {"ClusterId": self.next, "ProcId": 0, "JobStatus": status, "VacFactoryDigest": digest, "Owner": owner}
        self.queue.append({**ad, "VacFactory": name, "Cmd": "/usr/local/libexec/old", "OnExitRemove": "/Expr(x)/"})
        self.next += 1

    def add_vms(self, name: str, *states: int) -> None:
        self.vms += [{"VacMachinetype": name, "JobStatus": state, "Owner": "vac"} for state in states]

    def answer(self, argv: list[str], stdin: str | None) -> Answer:
        tool = argv[0].rsplit("/", 1)[-1]
        if tool == "runuser":
            assert argv[1:4] == ["-u", self.owner, "--"], "the job is its owner's"
            tool = argv[4].rsplit("/", 1)[-1]
        result: Answer = getattr(self, tool)(argv, stdin or "")
        return result

    def condor_vac(self, argv: list[str], _stdin: str) -> Answer:
        commands = {"universe": "scheduler", "executable": "/usr/local/libexec/vac_factory"}
        commands |= {"+VacFactoryDigest": f'"{self.digest}"', "+VacFactory": '"gridpp"'}
        assert argv[1:] == ["factory-job", "--json", PATH]
        return 0, json.dumps({"name": "gridpp", "owner": self.owner, "commands": commands}), ""

    def condor_q(self, argv: list[str], _stdin: str) -> Answer:
        constraint = argv[argv.index("-constraint") + 1]
        if "JobUniverse == 13" in constraint:
            assert constraint.endswith(WAITING), "running VMs are not counted"
            found = [vm for vm in self.vms if vm["JobStatus"] in {IDLE, HELD}]
            return 0, json.dumps(found) if found else "", ""
        assert constraint.endswith(" && JobUniverse == 7 && isString(VacFactory)")
        assert constraint.startswith("(Owner == ")
        if self.slow:
            self.slow -= 1
        else:
            self.queue = [job for job in self.queue if job.get("JobStatus") != REMOVED]
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
        if argv[1] == "-constraint":
            assert argv[2].endswith(WAITING), "running VMs are not removed"
            assert argv[2].startswith('(Owner == "vac") && '), "nobody else's jobs are removed"
            gone = [vm for vm in self.vms if f'"{vm["VacMachinetype"]}"' in argv[2] and vm["JobStatus"] != RUNNING]
            self.vms = [vm for vm in self.vms if vm not in gone]
            return (0, "", "") if gone else (1, "", "Couldn't find/remove all jobs matching constraint")
        return self.set_status(argv, REMOVED)

    def condor_hold(self, argv: list[str], _stdin: str) -> Answer:
        return self.set_status(argv, HELD)

    def condor_release(self, argv: list[str], _stdin: str) -> Answer:
        return self.set_status(argv, RUNNING)


# Whose the machinetypes' jobs are, as the access point's files show it.
USERS = {name: {"vac"} for name in ("gridpp", "old", "older", "gone", "other", "vo", "vo-dev", "vo-prod", "vox")}
FACTORY = Plugin(factory, poll_seconds=0, exists=lambda _path: True, users=lambda: USERS)


@pytest.mark.parametrize("state", ["present", "held"])
def test_a_missing_factory_is_submitted_once(state: str) -> None:
    schedd = Schedd()
    results = four_calls(FACTORY, {"machinetype": PATH, "state": state}, Tools(schedd.answer))
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
    results = four_calls(FACTORY, {"machinetype": PATH, "state": state}, Tools(schedd.answer))
    assert results[1]["actions"] == [action]
    assert not schedd.submitted


@pytest.mark.parametrize(("digest", "owner"), [("0ld0", "vac"), ("aa11", "before")])
def test_a_changed_factory_ends_before_the_new_one_begins(digest: str, owner: str) -> None:
    """Also that of the machinetype's owner before, as its directory shows."""
    schedd = Schedd(slow=3)
    schedd.add(digest, owner=owner)
    plugin = Plugin(factory, poll_seconds=0, exists=lambda _path: True, users=lambda: {"gridpp": {"before"}})
    results = four_calls(plugin, {"machinetype": PATH}, Tools(schedd.answer))
    assert results[1]["actions"] == ["remove 7.0: its program or description changed", "submit"]
    assert [job["ClusterId"] for job in schedd.queue] == [8]


def test_a_second_factory_is_removed() -> None:
    schedd = Schedd()
    schedd.add("aa11")
    schedd.add("aa11")
    assert run(FACTORY, {"machinetype": PATH}, tools=Tools(schedd.answer))["actions"][0].startswith("remove 8.0")
    assert [job["ClusterId"] for job in schedd.queue] == [7]


def test_absent_needs_only_the_name() -> None:
    schedd = Schedd()
    schedd.add("aa11")
    four_calls(FACTORY, {"name": "gridpp", "state": "absent"}, Tools(schedd.answer))
    assert not schedd.queue


def test_restarted_always_changes() -> None:
    schedd = Schedd()
    schedd.add("aa11")
    for cluster in (8, 9):
        result = run(FACTORY, {"machinetype": PATH, "state": "restarted"}, tools=Tools(schedd.answer))
        assert result["changed"]
        assert [job["ClusterId"] for job in schedd.queue] == [cluster]


def test_a_factory_that_does_not_end_is_reported_and_nothing_is_submitted() -> None:
    schedd = Schedd(slow=10**9)
    schedd.add("0ld0")
    result = run(FACTORY, {"machinetype": PATH, "timeout": 0}, tools=Tools(schedd.answer))
    assert result["failed"]
    assert "7.0" in result["msg"]
    assert not schedd.submitted


@pytest.mark.parametrize("arguments", [{}, {"name": "x"}, {"name": 'a" || true', "state": "absent"}])
def test_what_names_no_machinetype_is_refused(arguments: dict[str, Any]) -> None:
    result = run(FACTORY, arguments)
    assert result["failed"]
    assert "name" in result["msg"]


def test_a_schedd_that_does_not_answer_leads_to_nothing() -> None:
    schedd = Schedd()

    def answer(argv: list[str], stdin: str | None) -> Answer:
        return (1, "", "Failed to connect") if argv[0].endswith("condor_q") else schedd.answer(argv, stdin)

    result = run(FACTORY, {"machinetype": PATH}, tools=Tools(answer))
    assert result["failed"]
    assert "Failed to connect" in result["msg"]
    assert not schedd.submitted


def test_the_diff_shows_the_job_before_and_after() -> None:
    schedd = Schedd()
    schedd.add("0ld0")
    diff = run(FACTORY, {"machinetype": PATH}, check=True, tools=Tools(schedd.answer))["diff"]
    assert diff["before"] == "factory: running\nexecutable = /usr/local/libexec/old\n"
    assert diff["after"] == "factory: running\nexecutable = /usr/local/libexec/vac_factory\n"
    assert not schedd.submitted


def test_absent_takes_back_what_does_not_run() -> None:
    schedd = Schedd()
    schedd.add_vms("gridpp", IDLE, IDLE, HELD, RUNNING)
    schedd.add_vms("other", IDLE)
    results = four_calls(FACTORY, {"name": "gridpp", "state": "absent"}, Tools(schedd.answer))
    assert results[1]["actions"] == ["remove 3 VMs of gridpp that do not run"]
    assert [vm["JobStatus"] for vm in schedd.vms] == [RUNNING, IDLE]


def test_a_factory_that_has_removed_its_vms_itself_is_not_a_failure() -> None:
    schedd = Schedd()
    schedd.add("aa11")
    schedd.add_vms("gridpp", IDLE)

    def answer(argv: list[str], stdin: str | None) -> Answer:
        if argv[0].endswith("condor_rm"):
            schedd.vms.clear()
        return schedd.answer(argv, stdin)

    result = run(FACTORY, {"name": "gridpp", "state": "absent"}, tools=Tools(answer))
    assert not result.get("failed"), result
    assert result["changed"]


def test_vms_that_cannot_be_removed_are_reported() -> None:
    schedd = Schedd()
    schedd.add_vms("gridpp", IDLE)

    def answer(argv: list[str], stdin: str | None) -> Answer:
        return (1, "", "Permission denied") if argv[0].endswith("condor_rm") else schedd.answer(argv, stdin)

    result = run(FACTORY, {"name": "gridpp", "state": "absent"}, tools=Tools(answer))
    assert result["failed"]
    assert "Permission denied" in result["msg"]


def test_machinetypes_that_the_inventory_lacks_are_drained() -> None:
    schedd = Schedd()
    for name in ("gridpp", "old", "older"):
        schedd.add("aa11", name=name)
    schedd.add_vms("gone", IDLE, RUNNING)
    schedd.add_vms("gridpp", IDLE)
    results = four_calls(FACTORY, {"names": ["gridpp"], "exclusive": True}, Tools(schedd.answer))
    assert results[1]["actions"] == [
        "remove 1 VMs of gone that do not run",
        "remove 8.0: not wanted",
        "remove 9.0: not wanted",
    ]
    assert [job["VacFactory"] for job in schedd.queue] == ["gridpp"]
    assert schedd.vms == [
        {"VacMachinetype": "gone", "JobStatus": RUNNING, "Owner": "vac"},
        {"VacMachinetype": "gridpp", "JobStatus": IDLE, "Owner": "vac"},
    ]


def test_what_is_of_a_pipe_that_cannot_be_read_is_not_drained() -> None:
    schedd = Schedd()
    for name in ("gridpp", "vo-prod", "vo", "vox", "old"):
        schedd.add("aa11", name=name)
    schedd.add_vms("vo-dev", IDLE)
    given = {"names": ["gridpp"], "exclusive": True, "silent_pipes": ["vo"]}
    assert run(FACTORY, given, tools=Tools(schedd.answer))["changed"]
    assert {job["VacFactory"] for job in schedd.queue} - {"vox", "old"} == {"gridpp", "vo-prod", "vo"}
    assert not {"vox", "old"} & {job["VacFactory"] for job in schedd.queue if job["JobStatus"] != REMOVED}
    assert schedd.vms == [{"VacMachinetype": "vo-dev", "JobStatus": IDLE, "Owner": "vac"}]


@pytest.mark.parametrize("arguments", [{"machinetype": PATH}, {"names": [], "exclusive": True}])
def test_another_users_job_is_no_factory_and_stops_nothing(arguments: dict[str, Any]) -> None:
    """Any user can name a machinetype in a job's ad, and let a job that is removed take its time."""
    schedd = Schedd()
    schedd.add("aa11", owner="mallory")
    schedd.add("0ld0", REMOVED, owner="mallory")
    schedd.vms.append({"VacMachinetype": "gridpp", "JobStatus": IDLE, "Owner": "mallory"})
    schedd.slow = 10**9
    result = run(FACTORY, {**arguments, "timeout": 0}, tools=Tools(schedd.answer))
    assert not result.get("failed"), result
    assert result["actions"] == (["submit"] if "machinetype" in arguments else [])
    assert [job["JobStatus"] for job in schedd.queue if job["Owner"] == "mallory"] == [RUNNING, REMOVED]
    assert len(schedd.vms) == 1
    schedd.add("0ld0", name="old")
    result = run(FACTORY, {"names": ["gridpp"], "exclusive": True, "timeout": 0}, tools=Tools(schedd.answer))
    assert "the factory" in result["msg"], "its own users' job is removed, and waited for"


@pytest.mark.parametrize(
    "broken", [{"JobStatus": None}, {"JobStatus": "x"}, {"VacFactory": "/Expr(x)/"}, {"VacFactory": 5}]
)
def test_an_odd_job_of_the_owner_stops_no_other(broken: dict[str, Any]) -> None:
    schedd = Schedd()
    schedd.add("aa11", name="old")
    schedd.queue[0].update(broken)
    schedd.queue[0] = {key: value for key, value in schedd.queue[0].items() if value is not None}
    schedd.add("aa11")
    result = run(FACTORY, {"machinetype": PATH}, tools=Tools(schedd.answer))
    assert (result.get("failed", False), result["changed"], result["job"]) == (False, False, "8.0")


def test_whose_the_jobs_of_a_machinetype_are(tmp_path: Path) -> None:
    """The directory's owner, who ran the factory last, and who is to run it; what cannot be read is left out."""
    me = pwd.getpwuid(os.geteuid()).pw_name
    states, files = tmp_path / "states", tmp_path / "files"
    for directory in (states / "gridpp", states / "Not a name", files / "atlas.json"):
        directory.mkdir(parents=True)
    (files / "gridpp.json").write_text(json.dumps({"owner": "next"}))
    for name, text in (("empty", ""), ("deep", "[" * 100_000), ("list", "[]"), ("odd", '{"owner": "a\\" || true"}')):
        (files / f"{name}.json").write_text(text)
    found = users_of_machinetypes(str(states), str(files))
    assert found == {"gridpp": {me, "next"}, **{name: set[str]() for name in ("atlas", "empty", "deep", "list", "odd")}}
    assert users_of_machinetypes(str(tmp_path / "none"), str(tmp_path / "none")) == {}


def test_a_users_job_with_a_name_that_is_none_is_left_alone() -> None:
    schedd = Schedd()
    schedd.add("aa11", name='x" || true || "')
    schedd.add_vms('x" || true || "', IDLE)
    result = run(FACTORY, {"names": [], "exclusive": True}, tools=Tools(schedd.answer))
    assert not result["changed"]
    assert len(schedd.queue) == 1


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"names": [], "exclusive": True, "state": "absent"}, "exclusive"),
        ({"names": [], "exclusive": True, "state": "held"}, "exclusive"),
        ({"exclusive": True}, "names"),
        ({"exclusive": True, "names": None}, "names"),
        ({"names": ["gridpp"]}, "names"),
        ({"names": ["gridpp"], "state": "absent"}, "names"),
    ],
)
def test_names_and_exclusive_belong_together(given: dict[str, Any], key: str) -> None:
    """Nothing is asked of the queue before: no combination may drain what was not named."""
    result = run(FACTORY, given)
    assert result["failed"]
    assert result["msg"].startswith(f"{key}: ")


@pytest.mark.parametrize("absent", [CLI, PATH])
def test_check_mode_on_a_node_that_has_nothing_yet_predicts(absent: str) -> None:
    lacking = Plugin(factory, exists=lambda path: path != absent)
    result = run(lacking, {"machinetype": PATH}, check=True)
    assert (result["changed"], result["name"]) == (True, "gridpp")
    assert absent in result["actions"][0]
    drained = run(
        lacking, {"names": [], "exclusive": True}, check=True, tools=Tools(Schedd().answer, missing=["condor_q"])
    )
    assert not drained["changed"]


def test_a_missing_file_is_an_error_when_it_is_meant() -> None:
    def answer(argv: list[str], _stdin: str | None) -> Answer:
        assert "factory-job" in argv
        return 2, "", f"condor_vac factory-job: {PATH}: cannot read: No such file or directory"

    result = run(FACTORY, {"machinetype": PATH}, tools=Tools(answer))
    assert result["failed"]
    assert "No such file" in result["msg"]
