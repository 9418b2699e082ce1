# SPDX-License-Identifier: GPL-3.0-or-later
"""The box, and the directory of an administrator who has copied every example into one inventory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared" / "tests"))

from boxes import Box, box
from desk import Desk
from examples import at_a_desk

__all__ = ["box"]


@pytest.fixture(scope="session")
def desk(box: Box, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """The directory, with every machinetype of the examples so that it runs here; the box has room for them all."""
    desk = Desk(tmp_path_factory.mktemp("desk"))
    at_a_desk(desk, box)
    box.clear()
    box.make_room(len(desk.machinetypes) + 1)
    return desk


@pytest.fixture(scope="session")
def played(desk: Desk) -> dict[str, dict[str, Any]]:
    """The machinetypes, once the site playbook has made them."""
    done = desk.play("vacuum.htcondor.site")
    assert done.returncode == 0, done.stdout[-4000:]
    return desk.machinetypes
