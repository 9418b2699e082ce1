# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's pool in a box, and the directory in which its administrator types the README's commands."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared" / "tests"))

from boxes import Box, box
from desk import Desk

__all__ = ["box"]


@pytest.fixture(scope="session")
def desk(box: Box, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """The administrator's directory; the tests are steps, and change its inventory."""
    desk = Desk(tmp_path_factory.mktemp("desk"))
    (keys,) = desk.machinetypes.values()
    desk.run_in_the_lab(keys, "images/guest.iso", box.queue("lab"))
    return desk
