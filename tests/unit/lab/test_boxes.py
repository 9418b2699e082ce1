# SPDX-License-Identifier: GPL-3.0-or-later
"""How the molecule scenarios check a node: what cannot be read is not taken for empty."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

SHARED = Path(__file__).parents[3] / "molecule/shared/tests"
UUID = "11111111-2222-3333-4444-555555555555"
OTHER = "99999999-2222-3333-4444-555555555555"


def load(name: str) -> ModuleType:
    """A module of the scenarios, which are not a package."""
    spec = importlib.util.spec_from_file_location(f"molecule_{name}", SHARED / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """vm_jobs.py on a node of small programs, each of which prints a file of its name and exits as one defines."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    module = load("vm_jobs")
    for name in ("vac_lease", "virsh", "exportfs", "condor_q", "condor_history", "condor_config_val"):
        tool(tmp_path, name)
    (tmp_path / "condor_config_val.out").write_text("MASTER, SCHEDD STARTD\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(module, "LEASE", str(tmp_path / "vac_lease"))
    (tmp_path / "worker.json").write_text('{"sharing": ["nfs", "http"]}')
    (tmp_path / "vac_lease.out").write_text("[]")
    for attribute, name in (("EXECUTE", "execute"), ("CONSOLES", "consoles"), ("WORKER", "worker.json")):
        monkeypatch.setattr(module, attribute, tmp_path / name)
    for name in ("execute", "consoles"):
        (tmp_path / name).mkdir()
    return module


def tool(place: Path, name: str, status: int = 0) -> None:
    """A program that prints NAME.out, if there is one."""
    path = place / name
    path.write_text(f"#!/bin/sh\ncat {path}.out 2> /dev/null\n[ {status} = 0 ] || echo broken >&2\nexit {status}\n")
    path.chmod(0o755)


def seen(jobs: ModuleType, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    jobs.state()
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_an_empty_node_is_empty(jobs: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    found = seen(jobs, capsys)
    assert found["unknown"] == {}
    parts = ("leases", "domains", "exports", "shares", "consoles", "sandboxes", "jobs")
    assert {name: found[name] for name in parts} == {
        "leases": [], "domains": {}, "exports": [], "shares": {}, "consoles": [], "sandboxes": [], "jobs": {},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("broken", "parts"),
    [
        ("virsh", {"domains"}),
        ("exportfs", {"exports"}),
        ("vac_lease", {"leases", "again"}),
        ("condor_q", {"jobs"}),
        ("condor_history", {"jobs"}),
        ("condor_config_val", {"jobs"}),
    ],
)
def test_what_does_not_answer_is_unknown(
    jobs: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str, parts: set[str]
) -> None:
    tool(tmp_path, broken, 1)
    found = seen(jobs, capsys)
    assert set(found["unknown"]) == parts
    assert not parts & set(found)
    assert all("broken" in reason for reason in found["unknown"].values())


def test_a_missing_program_and_a_missing_directory_are_unknown(
    jobs: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "virsh").unlink()
    (tmp_path / "consoles").rmdir()
    assert set(seen(jobs, capsys)["unknown"]) == {"domains", "consoles"}


def test_who_has_no_nfs_server_is_not_asked_for_exports(
    jobs: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "worker.json").write_text('{"sharing": ["http"]}')
    tool(tmp_path, "exportfs", 1)
    assert seen(jobs, capsys)["exports"] == []


def test_a_worker_node_without_a_schedd_has_no_jobs(
    jobs: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "condor_config_val.out").write_text("MASTER STARTD\n")
    tool(tmp_path, "condor_q", 1)
    found = seen(jobs, capsys)
    assert (found["unknown"], found["jobs"]) == ({}, {})


def test_what_is_there_is_seen(jobs: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lease = {"uuid": UUID, "sandbox": str(tmp_path / "execute/dir_7"), "joboutputs": str(tmp_path / "execute/dir_7")}
    (tmp_path / "execute/dir_7").mkdir()
    (tmp_path / "execute/dir_7/heartbeat").touch()
    (tmp_path / f"consoles/vac-{UUID}.console").touch()
    (tmp_path / "vac_lease.out").write_text(json.dumps([lease]))
    (tmp_path / "virsh.out").write_text(" 4   vac_x_1.0   running\n\n")
    (tmp_path / "exportfs.out").write_text("/a/joboutputs  192.168.86.10(rw,sync)\n")
    (tmp_path / "condor_q.out").write_text('[{"ClusterId": 1, "ProcId": 0, "JobStatus": 2}]')
    found = seen(jobs, capsys)
    assert found["unknown"] == {}
    assert (found["leases"][0]["heartbeat"] > 0, found["leases"][0]["sandbox_there"]) == (True, True)
    assert (found["domains"], found["sandboxes"]) == ({"vac_x_1.0": 4}, ["dir_7"])
    assert found["exports"] == [["/a/joboutputs", "192.168.86.10"]]
    assert found["consoles"] == [f"vac-{UUID}.console"]
    assert found["jobs"]["1.0"]["JobStatus"] == 2


def state(**changes: Any) -> dict[str, Any]:
    """What a clean node with one VM, shared by HTTP, holds."""
    lease = {
        "uuid": UUID, "domain": "vac_x_1.0", "sandbox": "/e/dir_7", "sandbox_there": True, "address": "192.168.86.10",
        "sharing": "http", "heartbeat": 5.0,
    }  # fmt: skip
    shares = {"192.168.86.10": ["machinefeatures", "jobfeatures", "joboutputs", "metadata"]}
    return {
        "unknown": {}, "leases": [lease], "domains": {"vac_x_1.0": 4}, "exports": [], "shares": shares, "consoles": [],
        "sandboxes": ["dir_7"], "jobs": {}, **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"domains": {"vac_x_1.0": 4, "vac_x_2.0": 5}}, "vac_x_2.0"),
        ({"exports": [["/e/dir_7/joboutputs", "192.168.86.11"]]}, "192.168.86.11"),
        ({"shares": {"192.168.86.12": ["joboutputs"]}}, "192.168.86.12"),
        ({"consoles": [f"vac-{OTHER}.console"]}, OTHER),
    ],
)
def test_what_belongs_to_no_vm_is_a_leak(changes: dict[str, Any], words: str) -> None:
    boxes = load("boxes")
    assert boxes.leaks(state()) == []
    (leak,) = boxes.leaks(state(**changes))
    assert words in leak


@pytest.mark.parametrize(
    ("changes", "works"),
    [
        ({}, True),
        ({"domains": {}}, False),
        ({"shares": {}}, False),
        ({"shares": {"192.168.86.10": ["machinefeatures", "jobfeatures", "metadata"]}}, False),
    ],
)
def test_a_vm_works_with_everything_that_it_was_given(changes: dict[str, Any], works: bool) -> None:
    boxes = load("boxes")
    now = state(**changes)
    assert boxes.working(now["leases"][0], now) is works


def test_a_wait_does_not_take_unknown_for_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = load("boxes")
    monkeypatch.setattr(boxes, "LOOK_SECONDS", 0.01)
    clean = state(leases=[], domains={}, shares={}, sandboxes=[])
    dead = {**clean, "domains": {}, "unknown": {"domains": "virsh -q: exit code 1"}}
    looks = [json.dumps(each) for each in (dead, dead, state(), clean)]
    asked: list[str] = []

    def run(command: str) -> Any:
        asked.append(command)
        looking = command.endswith("state")
        return SimpleNamespace(rc=0, stdout=looks.pop(0) if looking else "", stderr="")

    box = boxes.Box(SimpleNamespace(run=run))
    found = box.until("the node is clean", lambda now: not now["leases"] and boxes.nothing_leaked(now))
    assert found == clean
    assert sum(command.endswith("state") for command in asked) == 4
