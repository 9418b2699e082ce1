# SPDX-License-Identifier: GPL-3.0-or-later
"""The box on which two experiments share a pool."""

from __future__ import annotations

import os
from typing import Any

import pytest
import testinfra


@pytest.fixture(scope="session")
def box() -> Any:
    """The pool in a box, as testinfra reaches it."""
    uri = f"ansible://worker_node?ansible_inventory={os.environ['MOLECULE_INVENTORY_FILE']}"
    return testinfra.get_hosts([uri])[0]
