# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM over NFS and one over HTTP on the newest HTCondor."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import testinfra

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared" / "tests"))

from boxes import Box
from kinds import Vm, start


@pytest.fixture(scope="session")
def box() -> Box:
    """The pool in a box."""
    uri = f"ansible://worker_node?ansible_inventory={os.environ['MOLECULE_INVENTORY_FILE']}"
    return Box(testinfra.get_hosts([uri])[0])


@pytest.fixture(scope="session")
def vms(box: Box) -> dict[str, Vm]:
    """Kind to its VM; the machine goes with them."""
    return {name: start(box, name) for name in ("cernvm-nfs", "cernvm-http")}
