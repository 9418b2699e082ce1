# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables for a terminal, by the programs' code and by the plugins' copy of it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import table as copied

from condor_vac.base import table

BOTH = pytest.mark.parametrize("module", [table, copied], ids=["src", "plugins"])


@BOTH
def test_columns(module: Any) -> None:
    rows = [("NAME", "N", "TEXT"), ("a", "10", ""), ("longer", "7", "x")]
    assert module.columns(rows) == ["NAME    N   TEXT", "a       10", "longer  7   x"]
    assert module.columns(rows, figures=True) == ["NAME     N  TEXT", "a       10", "longer   7     x"]


@BOTH
def test_a_long_text_goes_on_below_itself(module: Any) -> None:
    lines = module.wrapped([("STEP", "RESULT"), ("network", " ".join(["word"] * 60)), ("", "ok")])
    assert lines[0] == "STEP     RESULT"
    assert lines[1].startswith("network  word word")
    assert {line[:13] for line in lines[2:-1]} == {" " * 9 + "word"}
    assert lines[-1] == " " * 9 + "ok"
    assert max(map(len, lines)) <= module.WIDTH
    assert " ".join(lines).split().count("word") == 60
