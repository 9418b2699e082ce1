# SPDX-License-Identifier: GPL-3.0-or-later
"""A consumption policy on a node whose SLOT_WEIGHT would end the pool's negotiator."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.modules import condor_config

from tests.unit.plugins.condor_node import CondorNode
from tests.unit.plugins.harness import Plugin, Tools, run

POLICY = {"50-vm-universe.config": "CONSUMPTION_POLICY = True\nNUM_CLAIMS = 8\n"}
OTHER = {"50-vm-universe.config": "VM_TYPE = kvm\n"}


def config(node: CondorNode) -> Plugin:
    return Plugin(condor_config, owner=None, pending_file=node.pending_file)


def site(node: CondorNode, text: str) -> None:
    """A file of the site's own."""
    (node.directory / "20-site.config").write_text(f"{text}\n")


def apply(node: CondorNode, fragments: dict[str, str], **options: Any) -> dict[str, Any]:
    result: dict[str, Any] = run(config(node), {"fragments": fragments}, tools=Tools(node, **options))
    return result


def test_a_policy_and_its_number_need_a_restart_of_the_startd(condor_node: CondorNode) -> None:
    site(condor_node, "SLOT_WEIGHT = Cpus")
    result = apply(condor_node, POLICY)
    assert (result["action"], result["daemons"]) == ("restart", ["STARTD"])
    assert [reason.partition(":")[0] for reason in result["reasons"]] == ["CONSUMPTION_POLICY", "NUM_CLAIMS"]


@pytest.mark.parametrize("check", [True, False])
def test_a_weight_of_other_things_is_refused_before_anything_changes(condor_node: CondorNode, check: bool) -> None:
    site(condor_node, "# ours\nSLOT_WEIGHT = GPUs")
    result = run(config(condor_node), {"fragments": POLICY}, check=check, tools=Tools(condor_node))
    assert result["failed"]
    place = condor_node.directory / "20-site.config"
    assert f"SLOT_WEIGHT on {socket.gethostname()} is GPUs ({place}, line 2), which uses GPUs" in result["msg"]
    assert "SLOT_WEIGHT = Cpus" in result["remedy"]
    assert "worker_starts_per_cycle to 0" in result["remedy"]
    assert "\n" not in result["msg"] + result["remedy"]
    assert [path.name for path in condor_node.directory.iterdir()] == ["20-site.config"]
    # Without a policy the negotiator takes any weight.
    assert not apply(condor_node, OTHER).get("failed")


def test_a_weight_that_changed_after_the_policy_is_refused_too(condor_node: CondorNode) -> None:
    assert not apply(condor_node, POLICY).get("failed")
    site(condor_node, "SLOT_TYPE_1_SLOT_WEIGHT = 1")
    assert "SLOT_TYPE_1_SLOT_WEIGHT on" in apply(condor_node, POLICY)["msg"]
    # What somebody else's policy needs is not this fragment's business.
    assert not apply(condor_node, {"60-other.config": "START = True\n"}).get("failed")


def test_a_policy_that_is_switched_off_needs_no_weight(condor_node: CondorNode) -> None:
    site(condor_node, "SLOT_WEIGHT = 1")
    off = {"50-vm-universe.config": "CONSUMPTION_POLICY = False\n"}
    assert not apply(condor_node, off).get("failed")


def test_htcondors_own_tool_evaluates_it(condor_node: CondorNode, monkeypatch: pytest.MonkeyPatch) -> None:
    site(condor_node, "SLOT_WEIGHT = Memory/Cpus")
    asked: list[list[str]] = []

    def classad_eval(words: list[str]) -> tuple[int, str, str]:
        asked.append(words)
        return 0, ("error\n" if "Cpus = 0" in words else "2048\n"), ""

    monkeypatch.setattr(condor_node, "classad_eval", classad_eval)
    assert "which is error for a full node, and must be a number" in apply(condor_node, POLICY)["msg"]
    assert [words[0] for words in asked] == ["-quiet", "-quiet"]
    # Where the tool is missing, names are all that is checked.
    assert not apply(condor_node, POLICY, missing=["classad_eval"]).get("failed")
