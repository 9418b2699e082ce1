# SPDX-License-Identifier: GPL-3.0-or-later
"""The line that shows how far something is: not of what is short, and not more often than one can read."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest

from condor_vac.cli.progress import ProgressLine


def show(times: Sequence[float]) -> None:
    """Show the time at each of these, which begin at 0."""
    now = [0.0]
    line = ProgressLine(lambda: now[0])
    for now[0] in times:
        line.show(f"at {now[0]:.0f} s")
    line.end()


def test_without_a_terminal_there_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    show([1, 4, 5, 13, 14, 15, 23, 24])
    assert capsys.readouterr() == ("", "at 4 s\nat 14 s\nat 24 s\n")


def test_a_terminals_line_changes_each_second_and_is_cleared(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    show([2.9, 3, 3.5, 4])
    assert capsys.readouterr().err == "\r\x1b[Kat 3 s\r\x1b[Kat 4 s\r\x1b[K"


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_is_said_of_what_is_short(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    show([0, 1, 2.9])
    assert capsys.readouterr() == ("", "")
