# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs of a pretended node, for the tests of the hooks."""

from __future__ import annotations

from typing import Any

from condor_vac.worker.lease.store import Lease, boottime
from tests.unit.condor_vac.worker.conftest import Node


def started(node: Node, **changes: Any) -> Lease:
    values = {"started": 1, "started_boottime": boottime() - 5000, **changes}
    return node.change(node.acquire(), **values)
