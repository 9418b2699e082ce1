# SPDX-License-Identifier: GPL-3.0-or-later
"""The node that condor_config and condor_daemons act on."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor import control as condor_control
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor import knobs as condor_knobs
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor import tools as condor

from tests.unit.plugins.condor_node import CondorNode


@pytest.fixture
def condor_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CondorNode:
    """A central manager, access point and worker node in one, ready."""
    node = CondorNode(tmp_path, ("COLLECTOR", "SCHEDD", "STARTD"))
    monkeypatch.setenv("CONDOR_CONFIG", str(node.main))
    monkeypatch.setattr(condor_control.os, "kill", node.kill)
    for module in (condor, condor_control):
        monkeypatch.setattr(module.time, "sleep", node.sleep)
        monkeypatch.setattr(module.time, "monotonic", node.monotonic)
    # No program of HTCondor's is on the controller, in which names without a default would be looked up.
    monkeypatch.setattr(condor_knobs, "_programs", lambda _configuration: [])
    return node
