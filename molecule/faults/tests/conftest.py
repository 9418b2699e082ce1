# SPDX-License-Identifier: GPL-3.0-or-later
"""The box on which everything is killed in turn."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared" / "tests"))

from boxes import Box, box
from halfway import HalfWay

__all__ = ["box"]

VMS = 6
WATCH_SECONDS = 10


@pytest.fixture(scope="session", autouse=True)
def roomy(box: Box) -> None:
    """There is room for all VMs at once, and vac_watch, which repairs what a fault leaves, comes more often."""
    box.clear()
    box.make_room(VMS)
    timer = f"[Timer]\nOnBootSec=\nOnUnitActiveSec=\nOnBootSec={WATCH_SECONDS}\nOnUnitActiveSec={WATCH_SECONDS}\n"
    box.put("/etc/systemd/system/vac_watch.timer.d/often.conf", timer.encode())
    box.run("systemctl daemon-reload && systemctl restart vac_watch.timer")


@pytest.fixture(scope="module")
def half_way(box: Box) -> Iterator[HalfWay]:
    """Holds prepare hooks half-way, and none of them afterwards."""
    hold = HalfWay(box)
    yield hold
    hold.end()
