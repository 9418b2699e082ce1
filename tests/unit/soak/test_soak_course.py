# SPDX-License-Identifier: GPL-3.0-or-later
"""When a fault is made and undone, and what counts as recovered; the report of it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, cast

import pytest

from tests.demo.screen import Screen
from tests.soak import report
from tests.soak.course import Course, Happened
from tests.soak.plan import Fault, Planned
from tests.soak.pool import Look, NotDoneError, Pool

NODES = ("node1", "node2")
LASTING = Fault("it is away", NODES, "make", "VMs", "undo", 30)
BRIEF = Fault("it is killed", NODES, "kill", "VMs")


def look(time: float, vms: dict[str, str] | None = None, **broken: list[str]) -> Look:
    """A look at a pool that is well, with these VMs on node1."""
    return Look(time, {"head": [], "node1": [], "node2": [], **broken}, {"node1": vms or {}, "node2": {}}, NODES)


class FakePool:
    """A pool on which time passes as it is looked at; ``scripts`` is what was done. What is in ``fail`` fails once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.scripts: list[tuple[float, str, str]] = []
        self.fail: list[str] = []
        monkeypatch.setattr("tests.soak.course.time.time", lambda: self.now)
        monkeypatch.setattr("tests.soak.course.time.sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def act(self, node: str, script: str) -> str:
        self.scripts.append((self.now - 1000, node, script))
        if script in self.fail:
            self.fail.remove(script)
            raise NotDoneError("it does not work")
        return "17\n"

    def look(self) -> Look:
        return look(self.now, {f"vm{self.now:.0f}": f"{self.now:.0f}.0"})


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> FakePool:
    return FakePool(monkeypatch)


def run(pool: FakePool, tmp_path: Path, *plan: Planned) -> Course:
    screen = Screen(io.StringIO(), terminal=False, clock=lambda: pool.now)
    found = Course(cast(Pool, pool), screen, plan, tmp_path / "journal")
    found.run()
    return found


def test_faults_are_made_and_undone_in_their_time(pool: FakePool, tmp_path: Path) -> None:
    found = run(pool, tmp_path, Planned(0, LASTING, "node1"), Planned(60, BRIEF, "node2"))
    assert [(node, script) for _, node, script in pool.scripts] == [
        ("node1", "make"),
        ("node1", "undo"),
        ("node2", "kill"),
    ]
    times = [round(at) for at, _, _ in pool.scripts]
    assert times == [0, 32, 60]
    assert found.happened[0].over
    # node2 gets no VM.
    assert report.not_recovered(found.happened) == ["node2 has got no VM since after: it is killed: "]
    assert len((tmp_path / "journal").read_text().splitlines()) > 10


def test_what_cannot_be_undone_is_tried_again(pool: FakePool, tmp_path: Path) -> None:
    pool.fail = ["undo"]
    found = run(pool, tmp_path, Planned(0, LASTING, "node1"))
    assert [script for *_, script in pool.scripts] == ["make", "undo", "undo"]
    assert found.happened[0].over


def test_a_fault_that_finds_nothing_is_none_but_undone(pool: FakePool, tmp_path: Path) -> None:
    pool.fail = ["make"]
    found = run(pool, tmp_path, Planned(0, LASTING, "node1"))
    assert [script for *_, script in pool.scripts] == ["make", "undo"]
    assert found.happened[0].failed == "it does not work"
    assert "not made: it does not work" in report.table(found.happened)[-1]
    assert report.totals(found.happened, {"200": 3}, 4, 1)[0] == "Faults: 0 made, 1 found nothing to hit."


def happened(node: str = "node1", **changes: Any) -> Happened:
    return Happened(Planned(0, BRIEF, node), 100.0, undone=110.0, **changes)


def test_a_node_has_recovered_when_all_is_well_and_it_has_a_new_vm() -> None:
    found = happened(known={"old"})
    found.take(look(105, {"new": "1.0"}))
    assert (found.well, found.again) == (None, None)
    found.take(look(116, {"old": "1.0"}, node1=["libvirt: no"]))
    assert (found.well, found.again, found.wrong) == (None, None, ["libvirt: no"])
    found.take(look(120, {"old": "1.0"}))
    assert (found.well, found.again, found.over) == (120, None, False)
    found.take(look(130, {"new": "2.0"}, node1=["something later"]))
    assert (found.well, found.again, found.over) == (120, 130, True)
    row = report.table([found])[-1]
    assert "| 00:01:40 | it is killed | node1 | VMs | 10 s | 20 s |" in row


def test_what_is_wrong_with_the_head_or_another_node() -> None:
    found = happened()
    found.take(look(112, {"new": "1.0"}, head=["the schedd: no"], node2=["it is off"]))
    assert (found.well, found.wrong) == (None, ["the schedd: no"])
    of_head = happened("head")
    of_head.take(look(114, {"new": "1.0"}, node2=["it is off"]))
    assert (of_head.well, of_head.again) == (None, 114)
    of_head.take(look(115, {"new": "1.0"}, node2=["it is off"]))
    assert of_head.over


def test_a_node_that_offers_no_vms_is_not_well() -> None:
    seen = Look(1.0, {"head": [], "node1": [], "node2": ["it is off"]}, {}, ("node2",), {"1": 2, "4": 5})
    assert seen.trouble("node1") == ["it offers no VMs"]
    assert str(seen) == ("VMs: node1 0, node2 0; 2 idle, 0 held, 5 ended. node1: it offers no VMs; node2: it is off")
