# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac doctor --nagios`` and ``--textfile``."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from condor_vac.base.findings import Finding
from condor_vac.cli import dispatch, doctor
from condor_vac.worker.checks.node import Check, Node

WRONG = Finding("the net | is\n<down>", "start it")
SOON = Finding("a token expires in 10 days", "make another", later=True)
NOTE = Finding("VMs are emulated", "buy another node", note=True)
LINE = r"CONDOR_VAC (OK|WARNING|CRITICAL|UNKNOWN) - ([^|]+) \| findings=(\d+);;0;0 warnings=(\d+);0;;0 checks=(\d+);;;0"

CASES: dict[str, tuple[list[Finding], int, str]] = {
    "all is well": ([], 0, "OK"),
    "a note": ([NOTE], 0, "OK"),
    "what will be wrong": ([SOON], 1, "WARNING"),
    "what is wrong": ([WRONG], 2, "CRITICAL"),
    "both": ([SOON, WRONG], 2, "CRITICAL"),
    "many": ([WRONG] * 50, 2, "CRITICAL"),
}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.setattr(doctor, "RUN_DIRECTORY", f"{tmp_path}/run")
    monkeypatch.setattr(Node, "is_worker", True)
    monkeypatch.setattr(Node, "is_access_point", True)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return monkeypatch


@pytest.mark.parametrize("name", CASES)
def test_one_line_with_figures_and_nagios_exit_codes(
    machine: pytest.MonkeyPatch, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, code, word = CASES[name]
    checks = (Check("nfs", "exports", lambda _node: found), Check("nfs", "versions", lambda _node: []))
    machine.setattr(doctor, "CHECKS", checks)
    machine.setattr(doctor, "ACCESS_POINT", checks[:1])
    assert dispatch.main(["doctor", "--nagios"]) == code
    out = capsys.readouterr().out
    match = re.fullmatch(LINE + "\n", out)
    assert match, out
    later = sum(each.later for each in found)
    assert match[1] == word
    assert (int(match[3]), int(match[4]), int(match[5])) == (len([f for f in found if not f.note]) - later, later, 2)
    if WRONG in found:
        assert "exports: the net / is <down>" in match[2]
    assert len(out) < 600


def test_a_machine_that_cannot_be_checked_is_unknown(
    machine: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.setattr(os, "geteuid", lambda: 1000)
    assert dispatch.main(["doctor", "--nagios"]) == 3
    assert capsys.readouterr().out.startswith("CONDOR_VAC UNKNOWN - needs root")
    machine.setattr(Node, "is_worker", False)
    machine.setattr(Node, "is_access_point", False)
    assert dispatch.main(["doctor", "--nagios"]) == 3
    assert "not a worker node" in capsys.readouterr().out


def test_findings_as_metrics(machine: pytest.MonkeyPatch, tmp_path: Path) -> None:
    checks = (Check("nfs", "exports", lambda _node: [WRONG, SOON]), Check("nfs", "versions", lambda _node: [NOTE]))
    machine.setattr(doctor, "CHECKS", checks)
    machine.setattr(doctor, "ACCESS_POINT", ())
    assert dispatch.main(["doctor", "--textfile", str(tmp_path)]) == 0
    (file,) = tmp_path.glob("*.prom")
    assert file.name == "condor_vac_doctor.prom"
    text = file.read_text()
    assert 'condor_vac_doctor_findings{check="exports",step="nfs"} 2.0' in text or (
        'condor_vac_doctor_findings{step="nfs",check="exports"} 2.0' in text
    )
    assert 'check="versions"' in text
    assert "condor_vac_doctor_last_run_timestamp_seconds " in text
    assert dispatch.main(["doctor", "--textfile", str(tmp_path / "none")]) == 2
