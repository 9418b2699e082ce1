# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes run src/condor_vac by the distribution's Python: its unit tests on every other Python of this machine.

All of them on the oldest, those that are not slow on the others. Without any other Python the stage skips.
"""

from __future__ import annotations

import os
import subprocess

import pytest

from tests import interpreters
from tests.interpreters import CONSTRAINTS, ROOT, Version, dotted
from tests.pythons import FOUND

REQUIREMENTS = ROOT / "tests" / "pythons" / "requirements.txt"
TESTS = ("tests/unit/condor_vac",)
# A picture needs matplotlib, which is an operator's and not a node's.
LEFT_OUT = "tests/unit/condor_vac/cli/test_simulate_command.py::test_plot_is_a_picture"
OTHERS = [version for version in FOUND if version != interpreters.own()]
SHOWN_LINES = 80


def test_this_machine_has_another_python() -> None:
    if not OTHERS:
        pytest.skip(f"no Python but {dotted(interpreters.own())} is on this machine")
    assert interpreters.own() not in OTHERS


@pytest.mark.parametrize("version", OTHERS, ids=dotted)
def test_the_unit_tests_pass(version: Version) -> None:
    python = interpreters.environment(
        f"pythons/{dotted(version)}", FOUND[version], REQUIREMENTS, "-c", str(CONSTRAINTS)
    )
    chosen = () if version == min(FOUND) else ("-m", "not slow", "--hypothesis-profile", "check")
    options = ("-q", "--tb=short", "-p", "no:cacheprovider", "--deselect", LEFT_OUT)
    done = subprocess.run(
        (python, "-m", "pytest", *options, *chosen, *TESTS),
        cwd=ROOT,
        env={**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    # Some assertions show whole files.
    shown = [line[:300] for line in done.stdout.splitlines()[-SHOWN_LINES:]]
    assert done.returncode == 0, "\n".join([*shown, done.stderr[-2000:]])
