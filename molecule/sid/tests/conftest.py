# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM over NFS and one over HTTP on the newest HTCondor."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared" / "tests"))

from boxes import Box, alone, box
from kinds import Vm, start

__all__ = ["alone", "box", "vms"]


@pytest.fixture(scope="session")
def vms(box: Box) -> dict[str, Vm]:
    """Kind to its VM; the machine goes with them."""
    return {name: start(box, name) for name in ("cernvm-nfs", "cernvm-http")}
