# SPDX-License-Identifier: GPL-3.0-or-later
"""The box on which everything drifts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import testinfra

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared" / "tests"))

from boxes import Box


@pytest.fixture(scope="session")
def box() -> Box:
    """The pool in a box."""
    uri = f"ansible://worker_node?ansible_inventory={os.environ['MOLECULE_INVENTORY_FILE']}"
    return Box(testinfra.get_hosts([uri])[0])
