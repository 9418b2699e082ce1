# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker node remembers of ``condor_vac doctor`` for its startd's ad."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import pytest

from condor_vac.base.errors import VacError
from condor_vac.base.findings import Finding
from condor_vac.cli import dispatch, doctor
from condor_vac.worker.checks import remembered
from condor_vac.worker.checks.node import Check, Node

WRONG = Finding("it is broken", "repair it")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The run directory of a worker node on which the doctor may run."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(Node, "is_worker", True)
    monkeypatch.setattr(Node, "is_access_point", False)
    monkeypatch.setattr(doctor, "RUN_DIRECTORY", f"{tmp_path}/run")
    return tmp_path / "run"


def checks(monkeypatch: pytest.MonkeyPatch, *found: list[Finding]) -> None:
    """The node's checks are these, each of a step of its own."""
    steps = ("condor", "images", "network", "nfs")
    made = tuple(Check(step, step, partial(_answer, each)) for step, each in zip(steps, found))
    monkeypatch.setattr(doctor, "CHECKS", made)


def _answer(found: list[Finding], _node: Node) -> list[Finding]:
    return found


def test_the_number_of_checks_with_findings_is_left(monkeypatch: pytest.MonkeyPatch, run: Path) -> None:
    checks(monkeypatch, [], [])
    assert dispatch.main(["doctor"]) == 0
    assert remembered.number(str(run)) == 0
    checks(monkeypatch, [WRONG, WRONG], [], [WRONG], [Finding("emulated", "", note=True)])
    assert dispatch.main(["doctor", "--json"]) == 1
    assert remembered.number(str(run)) == 2
    # A part of the checks says nothing about the others.
    assert dispatch.main(["doctor", "--step", "images"]) == 0
    assert remembered.number(str(run)) == 2
    assert dispatch.main(["doctor", "--nagios"]) == 2
    checks(monkeypatch, [], [WRONG])
    assert dispatch.main(["doctor", "--nagios"]) == 2
    assert remembered.number(str(run)) == 1


def test_an_access_point_has_no_such_number(monkeypatch: pytest.MonkeyPatch, run: Path) -> None:
    monkeypatch.setattr(Node, "is_worker", False)
    monkeypatch.setattr(Node, "is_access_point", True)
    monkeypatch.setattr(doctor, "ACCESS_POINT", (Check("condor", "tokens", lambda _node: [WRONG]),))
    assert dispatch.main(["doctor"]) == 1
    assert not run.exists()


@pytest.mark.parametrize(("found", "code"), [([], 0), ([WRONG], 1)])
def test_where_it_cannot_be_left_the_report_is_printed(
    monkeypatch: pytest.MonkeyPatch, run: Path, capsys: pytest.CaptureFixture[str], found: list[Finding], code: int
) -> None:
    checks(monkeypatch, found)
    run.write_text("in its place")
    assert dispatch.main(["doctor"]) == code
    shown = capsys.readouterr()
    assert f"1 checks, {code} with a finding" in shown.out
    assert f"the number of findings is not in the startd's ad: {run}" in shown.err


@pytest.mark.parametrize(("seconds", "left"), [(0, 3), (86400, 3), (3 * 86400, 0), (-3600, 0)])
def test_what_is_old_says_nothing(tmp_path: Path, seconds: float, left: int) -> None:
    remembered.leave(str(tmp_path), 3)
    when = time.time() - seconds
    os.utime(tmp_path / remembered.NAME, (when, when))
    assert remembered.number(str(tmp_path)) == left


@pytest.mark.parametrize("damage", [b"", b"-1", b"3 4", b"x" * 100, b"\xc2\xb2"])
def test_damage_is_named(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / remembered.NAME).write_bytes(damage)
    with pytest.raises(VacError, match=remembered.NAME):
        remembered.number(str(tmp_path))


def test_a_directory_in_its_place_is_named(tmp_path: Path) -> None:
    assert remembered.number(str(tmp_path)) == 0
    (tmp_path / remembered.NAME).mkdir()
    with pytest.raises(VacError, match=remembered.NAME):
        remembered.number(str(tmp_path))
