# SPDX-License-Identifier: GPL-3.0-or-later
"""The tool that interrupts a command: its signals reach the command, and what is left is reported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import interrupts, leftovers


@pytest.fixture(autouse=True)
def own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(interrupts, "CHECKOUT", tmp_path)
    monkeypatch.setattr(interrupts, "PATIENCE_SECONDS", 30)
    monkeypatch.setattr(leftovers, "found", list)


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tests.interrupts", "--times", "2", "--within", "1", "--seed", "1", *words])
    return interrupts.main()


@pytest.mark.slow
def test_both_signals_reach_the_command_and_its_children(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # It passes when it runs a third time: then it ends at once.
    count = tmp_path / "count"
    script = f"echo x >> {count}; test $(wc -l < {count}) -eq 3 || sleep 3600 | cat"
    assert run(monkeypatch, "sh", "-c", script) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "SIGINT after" in lines[1]
    assert "exit -2; nothing is left" in lines[1]
    assert "SIGKILL after" in lines[2]
    assert "exit -9; nothing is left" in lines[2]
    assert lines[3] == "undisturbed: exit 0; nothing is left"


def test_a_last_run_that_fails_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "false") == 1


def test_what_is_left_is_a_failure_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(interrupts, "PATIENCE_SECONDS", 0)
    answers = iter([[], ["process 7: qemu"], [], []])
    monkeypatch.setattr(leftovers, "found", lambda: next(answers))
    assert run(monkeypatch, "true") == 1
    assert "had ended by itself, exit 0; process 7: qemu" in capsys.readouterr().out


def test_beside_a_lab_that_runs_nothing_is_started(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(leftovers, "found", lambda: ["process 7: qemu"])
    assert run(monkeypatch, "touch", str(tmp_path / "ran")) == 1
    assert not (tmp_path / "ran").exists()
    assert capsys.readouterr().err == "a lab runs:\nprocess 7: qemu\n"
