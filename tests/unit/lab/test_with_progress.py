# SPDX-License-Identifier: GPL-3.0-or-later
"""tests/with_progress is its command, and a line about it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[3] / "tests" / "with_progress"


@pytest.mark.slow
@pytest.mark.parametrize("status", [0, 3])
def test_output_and_exit_code_are_the_commands(status: int) -> None:
    done = subprocess.run(
        [PROGRAM, "doing it", "sh", "-c", f'echo "$1"; exit {status}', "sh", "a  b"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, "a  b\n", "== doing it\n")


@pytest.mark.slow
def test_without_a_terminal_a_line_comes_now_and_then() -> None:
    done = subprocess.run([PROGRAM, "doing it", "sleep", "7"], capture_output=True, text=True, check=True)
    first, *others = done.stderr.splitlines()
    assert first == "== doing it"
    assert others
    assert all(line.split() == ["[", line.split()[1], "s]", "doing", "it"] for line in others)
