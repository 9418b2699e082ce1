# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on the access point, with stand-ins for HTCondor and the task queue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.predict import inside

UUID = "11111111-2222-3333-4444-555555555555"


def ad(proc: int, status: int, **more: Any) -> dict[str, Any]:
    return {"ClusterId": 7, "ProcId": proc, "JobStatus": status, "Iwd": "/none", **more}


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[dict[str, Any]]]:
    """What condor_q and condor_history show; the task queue has two tasks taken."""
    shown: dict[str, list[dict[str, Any]]] = {"condor_q": [], "condor_history": []}
    monkeypatch.setattr(inside, "run", lambda *argv: json.dumps(shown[argv[0]]) if shown[argv[0]] else "")
    monkeypatch.setattr(inside, "ask", lambda what, method="POST": {"taken": 2, "asked": (what, method)})
    monkeypatch.setattr(inside, "STATE", tmp_path / "state.json")
    return shown


def test_a_look_before_there_is_anything(pool: dict[str, list[dict[str, Any]]]) -> None:
    found = inside.look()
    assert found.pop("time") > 1e9
    assert found == {"idle": 0, "in_use": 0, "working": 2, "decided": None, "avoided": [], "shown": []}


def test_a_look(pool: dict[str, list[dict[str, Any]]]) -> None:
    pool["condor_q"] += [ad(0, 1), ad(1, 1), ad(2, 2), ad(3, 6), ad(4, 4), ad(6, 4), ad(5, 5)]
    state = {"last": {"time": 17.5}, "avoid": ["node4.lab"], "worked": ["7.3:1", "7.2:2"]}
    inside.STATE.write_text(json.dumps(state), "utf-8")
    found = inside.look()
    assert (found["idle"], found["in_use"], found["decided"]) == (2, 2, 17.5)
    assert (found["avoided"], found["shown"]) == (["node4.lab"], ["7.2", "7.3"])


def test_the_vms_that_had_a_slot(pool: dict[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    (tmp_path / "joboutputs").mkdir()
    line = f"2026-11-29T19:00:00Z agent of work in head.lab, VM {UUID}, mode ok; outputs: x\n"
    (tmp_path / "joboutputs" / "vm-pilot.log").write_text(line, "utf-8")
    over = {"JobCurrentStartDate": 100, "CompletionDate": 300, "LastRemoteHost": "slot1_1@node2.lab"}
    pool["condor_history"].append(ad(0, 4, ShutdownCode=200, **{**over, "Iwd": str(tmp_path)}))
    pool["condor_q"] += [
        ad(1, 2, JobCurrentStartDate=250, RemoteHost="slot1_3@node1.lab", CompletionDate=0),
        ad(2, 1),
    ]
    assert inside.vms() == [
        {"job": "7.0", "uuid": UUID, "host": "node2.lab", "matched": 100, "ended": 300, "code": 200},
        {"job": "7.1", "uuid": None, "host": "node1.lab", "matched": 250, "ended": None, "code": None},
    ]


def test_the_negotiators_cycles() -> None:
    log = (
        "11/29/26 19:00:05 ---------- Started Negotiation Cycle ----------\n"
        "11/29/26 19:00:05 Phase 1:  Obtaining ads from collector ...\n"
        "11/29/26 19:00:06 ---------- Finished Negotiation Cycle ----------\n"
        "11/29/26 19:01:06 ---------- Started Negotiation Cycle ----------\n"
    )
    first, second = inside.cycles(log)
    assert second - first == 61


def test_tasks_are_added_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(inside, "ask", asked.append)
    assert inside.fill("270", "438") == 2
    assert asked == ["add?n=1&seconds=270&light=yes", "add?n=1&seconds=438&light=yes"]
