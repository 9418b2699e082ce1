# SPDX-License-Identifier: GPL-3.0-or-later
"""One VM of each kind on the pool in a box."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared" / "tests"))

from boxes import Box, alone, box
from kinds import KINDS, Vm, start

__all__ = ["alone", "box", "vms"]


@pytest.fixture(scope="session")
def vms(box: Box) -> Iterator[dict[str, Vm]]:
    """Kind to its VM; nothing of them is left afterwards.

    The real Debian has the emulated processor to itself first: beside three others its services time out.
    """
    started: dict[str, Vm] = {}
    for name in KINDS:
        started[name] = start(box, name)
        if name == "cloud-http":
            started[name].ended()
    yield started
    box.remove(*(vm.cluster for vm in started.values()))
    box.run("rm -f /var/lib/condor_vac/images/cloud.qcow2")
