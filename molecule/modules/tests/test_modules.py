# SPDX-License-Identifier: GPL-3.0-or-later
"""The four calls of each module on a real node, there and back, after which the node is as the roles want it.

``nfs_server`` needs a kernel of its own: the scenario ``machine`` has it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from boxes import Box

from tests.module_calls import Step, assert_four, four, play

NETWORK = {"name": "modules", "bridge": "vacmod0", "subnet": "192.168.99.0/24"}
RULE = {"name": "modules_test", "users": ["vac"], "commands": ["/usr/bin/true"]}
# Away from what the roles want, and back to it (or a thing of its own, and its removal).
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "condor_config": (
        {"fragments": {"99-modules-test.config": "MAX_HISTORY_ROTATIONS = 3\n"}, "apply": "reconfig"},
        {"fragments": {"99-modules-test.config": None}, "apply": "reconfig"},
    ),
    "condor_daemons": ({"state": "drained", "timeout": 300}, {"state": "ready", "timeout": 120}),
    # It is held while these tests run (`alone`): one that is released has VMs at once.
    "factory": (
        {"machinetype": "/etc/condor_vac/machinetypes/lab.json", "state": "absent"},
        {"machinetype": "/etc/condor_vac/machinetypes/lab.json", "state": "held"},
    ),
    "ip_forward": ({"state": "absent"}, {"state": "present"}),
    "programs": (
        {"entry_points": ["cli", "worker"], "interpreter": "/usr/bin/python3.13"},
        {"entry_points": ["cli", "worker"]},
    ),
    "libvirt_network": (NETWORK, {**NETWORK, "state": "absent"}),
    "sudoers_rule": (RULE, {"name": "modules_test", "state": "absent"}),
}


@pytest.fixture
def call(tmp_path: Path) -> Any:
    """Runs steps on the box."""

    def run(*steps: Step) -> list[dict[str, Any]]:
        return play(os.environ["MOLECULE_INVENTORY_FILE"], "box", tmp_path, list(steps))

    return run


@pytest.mark.parametrize("module", CASES)
def test_there_and_back(call: Any, module: str) -> None:
    there, back = CASES[module]
    results = call(*four(module, there), *four(module, back))
    assert_four(results[:4])
    assert_four(results[4:])


@pytest.mark.parametrize("module", ["pool_info", "virtualization_info"])
def test_what_only_looks_changes_nothing(call: Any, module: str) -> None:
    results = call(*four(module, {}))
    assert [result["changed"] or result["failed"] for result in results] == [False] * 4


def test_pool_info_sees_the_node(call: Any) -> None:
    seen = call(("pool_info", {"scope": "node", "wait": 120}, False))[0]
    assert seen["unable"] == []
    assert [machine["vm_type"] for machine in seen["machines"]] == ["kvm"]


def test_a_token_is_created_and_given(call: Any, box: Box) -> None:
    domain = box.run("condor_config_val TRUST_DOMAIN")
    wanted = {"identity": f"condor@{domain}", "authorizations": ["READ"], "lifetime": 1000}
    key, created = call(
        ("condor_signing_key", {}, False),
        ("condor_token_create", {"requests": [{"host": "box", **wanted}]}, False),
    )
    assert not key["changed"], "the central manager has had its key since the roles ran"
    given = {**wanted, "name": "modules-test", "renew_before": 10, "token": created["tokens"]["box"]}
    try:
        assert_four(call(*four("condor_token", given)))
        compared = {key: value for key, value in given.items() if key != "token"}
        found = call(*four("condor_token_info", compared))
        assert [(result["changed"], result["needed"]) for result in found] == [(False, False)] * 4
        assert '"scope":"condor:\\/READ"' in box.run("condor_token_list")
        assert box.host.file("/etc/condor/tokens.d/modules-test").mode == 0o600
    finally:
        box.run("rm -f /etc/condor/tokens.d/modules-test")
        call(("condor_daemons", {"state": "applied"}, False))


def test_files_of_a_node(call: Any, box: Box) -> None:
    files = {"files": {"/etc/condor_vac/modules_test": "a line\n"}, "record": "/etc/condor_vac/modules_test.json"}
    try:
        assert_four(call(*four("node_files", files)))
        assert box.host.file("/etc/condor_vac/modules_test").content_string == "a line\n"
    finally:
        box.run("rm -f /etc/condor_vac/modules_test /etc/condor_vac/modules_test.json")
