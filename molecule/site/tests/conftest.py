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

# More than there is time for: a factory whose VMs find no work makes no other for an hour, and each test needs one.
TASKS = 100
# So long that vac_watch sees each VM at it, on an idle host too.
TASK_SECONDS = 120


@pytest.fixture(scope="session")
def desk(box: Box, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """The administrator's directory; the tests are steps, and change its inventory."""
    desk = Desk(tmp_path_factory.mktemp("desk"))
    (keys,) = desk.machinetypes.values()
    desk.run_in_the_lab(keys, "images/guest.iso", box.add_task("readme", TASK_SECONDS, TASKS, light=True))
    return desk
