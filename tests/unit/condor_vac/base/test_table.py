# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables for a terminal, by the programs' code and by the plugins' copy of it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import table as copied

from condor_vac.base import table

SOURCE = Path(__file__).resolve().parents[4] / "src"
BOTH = pytest.mark.parametrize("module", [table, copied], ids=["src", "plugins"])
MACHINES = [
    ("ID", "MACHINETYPE", "HOST", "CPU", "MESSAGE"),
    ("1234.0", "atlas-prod-8core", "wn001.physics.example.org", "0.97", "600 Grid proxy has expired since 3 hours"),
    ("1234.1", "gridpp", "wn2.example.org", "-", ""),
]


@BOTH
def test_columns(module: Any) -> None:
    rows = [("NAME", "N", "TEXT"), ("a", "10", ""), ("longer", "7", "x")]
    assert module.columns(rows, None) == ["NAME    N   TEXT", "a       10", "longer  7   x"]
    assert module.columns(rows, None, figures=True) == ["NAME     N  TEXT", "a       10", "longer   7     x"]


@BOTH
@pytest.mark.parametrize("width", [44, 60, 80])
def test_a_narrow_terminal_gets_the_widest_columns_cut(module: Any, width: int) -> None:
    lines = module.columns(MACHINES, width)
    assert [line.split()[0] for line in lines] == ["ID", "1234.0", "1234.1"], "one line a row"
    assert max(map(len, lines)) == width
    assert "…" in lines[1]
    assert "0.97" in lines[1]


@BOTH
def test_nothing_is_cut_that_fits_or_that_no_terminal_shows(module: Any) -> None:
    whole = module.columns(MACHINES, None)
    assert "…" not in "".join(whole)
    longest = max(map(len, whole))
    assert module.columns(MACHINES, longest) == whole
    assert module.columns(MACHINES, longest - 1) != whole


@BOTH
def test_figures_are_never_cut(module: Any) -> None:
    rows = [("POLICY", "NET", "WASTED"), ("a-policy-of-a-long-name", "0.9876543", "123456.7 h")]
    lines = module.columns(rows, 30, figures=True)
    assert lines[1].split() == ["a-poli…", "0.9876543", "123456.7", "h"]
    assert max(map(len, lines)) <= 30
    lines = module.columns(rows, 20, figures=True)
    assert max(map(len, lines)) <= 20
    assert " ".join(lines).split()[-3:] == ["0.9876543", "123456.7", "h"]


@BOTH
@pytest.mark.parametrize("width", [40, 80, 118])
def test_a_long_text_goes_on_below_itself(module: Any, width: int) -> None:
    lines = module.wrapped([("STEP", "RESULT"), ("network", " ".join(["word"] * 60)), ("", "ok")], width)
    assert lines[0] == "STEP     RESULT"
    assert lines[1].startswith("network  word word")
    assert {line[:13] for line in lines[2:-1]} == {" " * 9 + "word"}
    assert lines[-1] == " " * 9 + "ok"
    assert max(map(len, lines)) <= width
    assert " ".join(lines).split().count("word") == 60


@BOTH
def test_a_text_without_room_beside_the_others_goes_below_them(module: Any) -> None:
    rows = [("STEP", "CHECK", "RESULT"), ("network", "running configuration", "a b " * 20), ("", "", "note: c")]
    lines = module.wrapped(rows, 40)
    assert lines[:3] == ["STEP     CHECK", "    RESULT", "network  running configuration"]
    assert {line[:5] for line in lines[3:-1]} == {"    a"}
    assert lines[-1] == "    note: c"
    assert max(map(len, lines)) <= 40
    whole = module.wrapped(rows, None)
    assert len(whole) == 3, "no terminal: a line for each row"
    assert whole[1].startswith("network  running configuration  a b a b")


def test_the_width_is_that_of_the_terminal_and_none_for_a_pipe() -> None:
    script = "from condor_vac.base import table; print(table.terminal())"
    environment = {"PYTHONPATH": str(SOURCE)}
    argv = [sys.executable, "-c", script]
    piped = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    assert piped.stdout == "None\n"
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 57, 0, 0))
        subprocess.run(argv, env=environment, stdout=theirs, check=True)
        assert os.read(ours, 100).split() == [b"57"]
    finally:
        os.close(ours)
        os.close(theirs)
