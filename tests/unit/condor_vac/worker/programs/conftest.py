# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of several programs begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from condor_vac.worker.lease.store import Lease
from condor_vac.worker.programs import xml_script
from tests.unit.condor_vac.worker.conftest import Node


@pytest.fixture
def lease(node: Node, monkeypatch: pytest.MonkeyPatch) -> Lease:
    """The lease of a VM whose disks are in its sandbox, as the XML script finds it."""
    monkeypatch.setattr(xml_script, "Store", lambda: node.store)
    found = node.acquire()
    for name in ("cernvm.iso", "scratch.raw"):
        Path(found.sandbox, name).write_bytes(b"x")
    return found
