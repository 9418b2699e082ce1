# SPDX-License-Identifier: GPL-3.0-or-later
"""One VM of each kind on the pool in a box."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared" / "tests"))

from boxes import Box, alone, box
from kinds import OVER_HTTP, Vm, start

__all__ = ["alone", "box", "vms"]


@pytest.fixture(scope="session")
def vms(box: Box) -> Iterator[dict[str, Vm]]:
    """Kind to its VM; nothing of them is left afterwards."""
    started = {name: start(box, name) for name in OVER_HTTP}
    yield started
    box.remove(*(vm.cluster for vm in started.values()))
    box.run("rm -f /var/lib/condor_vac/images/cloud.qcow2")
