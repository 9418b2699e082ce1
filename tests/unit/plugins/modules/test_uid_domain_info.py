# SPDX-License-Identifier: GPL-3.0-or-later
"""The module: what it reads of HTCondor, and a machine without HTCondor. The rules have tests of their own."""

from __future__ import annotations

import pytest
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor import uid_domain
from ansible_collections.vacuum.htcondor.plugins.modules import uid_domain_info

from tests.unit.plugins.condor_node import CondorNode
from tests.unit.plugins.harness import Tools, no_tools, run


@pytest.mark.parametrize(("domain", "faults"), [("cluster", 1), ("example.org", 0)])
def test_the_nodes_configuration_decides(
    condor_node: CondorNode, monkeypatch: pytest.MonkeyPatch, domain: str, faults: int
) -> None:
    monkeypatch.setattr(uid_domain, "_addresses", lambda name: ["192.0.2.7"])
    monkeypatch.setattr(uid_domain, "names_behind", lambda address: ["ap.example.org"])
    (condor_node.directory / "10-pool.config").write_text(f"UID_DOMAIN = {domain}\n")
    result = run(uid_domain_info, {"access_points": ["ap.example.org"]}, tools=Tools(condor_node))
    assert (result["changed"], result["uid_domain"], len(result["faults"])) == (False, domain, faults)
    assert "UID_DOMAIN" in result["remedy"]
    assert all("ap.example.org" in fault for fault in result["faults"])


def test_without_htcondor_there_is_nothing_to_judge() -> None:
    result = run(
        uid_domain_info, {"access_points": ["192.0.2.7"]}, tools=Tools(no_tools, missing=["condor_config_val"])
    )
    assert (result["uid_domain"], result["faults"]) == ("", [])
