# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the commands' tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from condor_vac.base import tools
from tests.unit.condor_vac.cli.pretended_node import (
    STAND_INS,
    Pretended,
)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pretended:
    monkeypatch.setattr(tools, "SYSTEM_PATH", f"{tmp_path}/bin")
    made = Pretended(tmp_path)
    for name in STAND_INS:
        made.write(f"/bin/{name}", "", 0o755)
    monkeypatch.setattr(tools, "run", made.run)
    return made
