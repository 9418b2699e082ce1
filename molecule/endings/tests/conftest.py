# SPDX-License-Identifier: GPL-3.0-or-later
"""The box on which all endings happen beside each other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared" / "tests"))

from boxes import Box, box
from endings import ENDINGS

__all__ = ["box"]


@pytest.fixture(scope="session", autouse=True)
def roomy(box: Box) -> None:
    """There is room for all VMs at once, and vac_watch does not come before they are as the tests want them."""
    box.run("systemctl stop vac_watch.timer")
    box.clear()
    box.make_room(len(ENDINGS))
