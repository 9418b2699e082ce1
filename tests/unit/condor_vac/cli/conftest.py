# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the commands' tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from condor_vac.base import tools
from condor_vac.cli import explain, machines, status, survey, trace
from tests.unit.condor_vac.cli.pretended_node import (
    STAND_INS,
    Pretended,
)
from tests.unit.condor_vac.cli.surveyed import Site
from tests.unit.condor_vac.standins import NOW


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pretended:
    monkeypatch.setattr(tools, "SYSTEM_PATH", f"{tmp_path}/bin")
    made = Pretended(tmp_path)
    for name in STAND_INS:
        made.write(f"/bin/{name}", "", 0o755)
    monkeypatch.setattr(tools, "run", made.run)
    return made


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Site:
    made = Site(tmp_path, capsys)
    for module in (explain, machines, status, trace):
        monkeypatch.setattr(module, "Pool", lambda _bindings: made.pool)
    monkeypatch.setattr(survey, "now", lambda: NOW)
    return made
