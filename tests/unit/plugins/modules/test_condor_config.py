# SPDX-License-Identifier: GPL-3.0-or-later
"""Fragments tried out, judged, swapped and rolled back, against recorded forms of HTCondor 23.9.6's tools."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.modules import condor_config

from tests.unit.plugins.condor_node import CondorNode, running_vm
from tests.unit.plugins.harness import Plugin, Tools, four_calls, run

REFUSAL = 'SECMAN:2010:Received "DENIED" from server for user condor@lab using method FS.'
VM = {"50-vm.config": "VM_TYPE = kvm\nVM_MEMORY = 4096\n"}
POLICY = {"60-policy.config": "START = (RequiresVac =?= True)\n"}


def config(node: CondorNode) -> Plugin:
    return Plugin(condor_config, owner=None, pending_file=node.pending_file)


def files(node: CondorNode) -> dict[str, str]:
    return {path.name: path.read_text() for path in node.directory.iterdir()}


def test_four_calls(condor_node: CondorNode) -> None:
    results = four_calls(config(condor_node), {"fragments": {**VM, **POLICY}}, Tools(condor_node))
    assert files(condor_node) == {**VM, **POLICY}
    assert results[1]["knobs"] == {
        "START": {"before": "True", "after": "(RequiresVac =?= True)"},
        "VM_MEMORY": {"before": "0", "after": "4096"},
        "VM_TYPE": {"before": "", "after": "kvm"},
    }
    assert [result["action"] for result in results] == ["restart"] * 4, "a daemon still has to take it up"
    assert results[3]["daemons"] == ["STARTD"]
    assert "VM_TYPE: the startd examines the VM universe when it starts" in results[3]["reasons"]
    assert condor_node.log == [], "apply is none"
    assert {"before": "START = True\nVM_MEMORY = 0\nVM_TYPE = \n"}.items() <= results[0]["diff"][-1].items()


def test_what_a_template_of_htcondors_sets_is_not_an_error(condor_node: CondorNode) -> None:
    given = {"fragments": {"10-pool.config": "UPDATE_INTERVAL = 60\nuse role:get_htcondor_execute\n"}}
    assert run(config(condor_node), given, tools=Tools(condor_node))["knobs"]["SECURITY_MODEL"]["after"] == "24.0"
    given["fragments"]["10-pool.config"] += "SECURITY_MODEL = 24.0\n"
    result = run(config(condor_node), given, tools=Tools(condor_node))
    assert "10-pool.config line 3: HTCondor has no SECURITY_MODEL" in result["msg"]


def test_without_htcondor_check_mode_shows_what_would_be_written(condor_node: CondorNode) -> None:
    tools = Tools(condor_node, missing=["condor_config_val"])
    given = {"fragments": {**VM, "20-old.config": None}}
    result = run(config(condor_node), given, check=True, tools=tools)
    assert (result["changed"], result["files"]) == (True, ["/etc/condor/config.d/50-vm.config"])
    assert [(entry["before"], entry["after"]) for entry in result["diff"]] == [("", VM["50-vm.config"])]
    assert run(config(condor_node), given, tools=tools)["msg"].startswith("condor_config_val is not installed")
    assert files(condor_node) == {}


def test_a_node_without_htcondor_may_have_its_fragments_already(condor_node: CondorNode) -> None:
    run(config(condor_node), {"fragments": VM}, tools=Tools(condor_node))
    tools = Tools(condor_node, missing=["condor_config_val"])
    result = run(
        config(condor_node), {"fragments": VM, "directory": str(condor_node.directory)}, check=True, tools=tools
    )
    assert (result["changed"], result["files"], result["diff"]) == (False, [], [])


def test_a_reconfig_is_enough(condor_node: CondorNode) -> None:
    results = four_calls(config(condor_node), {"fragments": POLICY, "apply": "reconfig"}, Tools(condor_node))
    assert [result["action"] for result in results] == ["reconfig", "none", "none", "none"]
    assert condor_node.log == ["reconfig"]


def test_a_comment_alone_needs_nothing(condor_node: CondorNode) -> None:
    run(config(condor_node), {"fragments": POLICY, "apply": "reconfig"}, tools=Tools(condor_node))
    fragment = {name: f"# why\n{text}" for name, text in POLICY.items()}
    result = run(config(condor_node), {"fragments": fragment}, tools=Tools(condor_node))
    assert (result["changed"], result["knobs"], result["action"]) == (True, {}, "none")


def test_a_fragment_is_removed(condor_node: CondorNode) -> None:
    (condor_node.directory / "20-old.config").write_text("UPDATE_INTERVAL = 77\n")
    (condor_node.directory / "30-others.config").write_text("NUM_CPUS = 3\n")
    given = {"fragments": {"20-old.config": None, **POLICY}}
    results = four_calls(config(condor_node), given, Tools(condor_node))
    assert sorted(files(condor_node)) == ["30-others.config", "60-policy.config"]
    assert results[1]["knobs"]["UPDATE_INTERVAL"] == {"before": "77", "after": "300"}
    assert "NUM_CPUS" not in results[1]["knobs"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("use feature : Nonsense\n", ["does not recognise Nonsense", "60-x.config", "Line 1"]),
        ("A = 1\nthis is not a setting\n", ["60-x.config", "Line 2"]),
        ("VM_TYPE = kvm\nVM_MEMROY = 5\n", ["60-x.config line 2", "VM_MEMROY", "did you mean VM_MEMORY"]),
        ("VM_MEMORY = lots\n", ["60-x.config line 1", "lots is not a whole number"]),
        ("USE_SHARED_PORT = maybe\n", ["maybe is neither true nor false"]),
        ("START = (a && (b)\n", ["60-x.config line 1", "START is not a valid ClassAd expression"]),
        ("VM_TYPE = kvm\nVM_MEMROY = 5\nVM_MEMORY = lots\n", ["line 2", "line 3"]),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_what_htcondor_would_not_take_is_refused(
    condor_node: CondorNode, text: str, words: list[str], check: bool
) -> None:
    (condor_node.directory / "50-vm.config").write_text("VM_MEMORY = 1\n")
    before = files(condor_node)
    given = {"fragments": {"60-x.config": text, **VM}, "apply": "restart"}
    result = run(config(condor_node), given, check=check, tools=Tools(condor_node))
    assert result["failed"]
    for word in words:
        assert word in result["msg"]
    assert "nothing was changed" in result["remedy"]
    assert str(condor_node.root / "60") not in result["msg"], "files have their real names"
    assert files(condor_node) == before
    assert condor_node.log == []


def test_an_own_variable_has_to_be_used_or_allowed(condor_node: CondorNode) -> None:
    given: dict[str, Any] = {"fragments": {"60-x.config": "MY_SITE = cern\n"}}
    assert run(config(condor_node), given, check=True, tools=Tools(condor_node))["failed"]
    used = {"60-x.config": "MY_SITE = cern\nSTART = $(MY_SITE)\n"}
    assert not run(config(condor_node), {"fragments": used}, check=True, tools=Tools(condor_node)).get("failed")
    allowed = {**given, "allow_unknown": ["MY_*"]}
    assert not run(config(condor_node), allowed, check=True, tools=Tools(condor_node)).get("failed")


def test_a_variable_whose_use_a_later_file_overrides_is_a_conflict_and_not_unknown(condor_node: CondorNode) -> None:
    (condor_node.directory / "99-site.config").write_text("\nSTART = NodeOk =?= True\n")
    given = {"fragments": {"50-x.config": "MY_START = True\nSTART = ($(START)) && ($(MY_START))\n"}}
    result = run(config(condor_node), given, check=True, tools=Tools(condor_node))
    assert not result.get("failed"), result
    assert [(found["name"], found["line"]) for found in result["conflicts"]] == [("START", 2)]
    itself = {"fragments": {"50-x.config": "MY_START = $(MY_START) && True\n"}}
    refused = run(config(condor_node), itself, check=True, tools=Tools(condor_node))
    assert "HTCondor has no MY_START" in refused["msg"]


@pytest.mark.parametrize("daemon", ["STARTD", "VM_GAHP", "vm_gahp", "SHARED_PORT", "GRIDMANAGER", "KBDD", "C_GAHP"])
def test_a_daemons_name_may_stand_before_a_variable(condor_node: CondorNode, daemon: str) -> None:
    good = {"fragments": {"60-x.config": f"{daemon}.VM_MEMORY = 1024\n"}}
    assert not run(config(condor_node), good, check=True, tools=Tools(condor_node)).get("failed")
    for wrong in (f"{daemon}.VM_MEMROY", "SOMETHING.VM_MEMORY"):
        given = {"fragments": {"60-x.config": f"{wrong} = 1024\n"}}
        assert wrong in run(config(condor_node), given, check=True, tools=Tools(condor_node))["msg"]


def test_a_daemon_that_dies_of_it_brings_the_old_fragments_back(condor_node: CondorNode) -> None:
    (condor_node.directory / "60-policy.config").write_text("START = True\n")
    before = files(condor_node)
    condor_node.deadly = "=?="
    fragments = {**POLICY, "70-more.config": "UPDATE_INTERVAL = 99\n"}
    result = run(config(condor_node), {"fragments": fragments, "apply": "reconfig"}, tools=Tools(condor_node))
    assert result["failed"]
    assert result["rolled_back"]
    assert "STARTD" in result["msg"]
    assert "previous configuration was put back" in result["msg"]
    assert files(condor_node) == before
    assert condor_node.log == ["reconfig", "reconfig"]
    assert condor_node.states["STARTD"] == "Alive"


def test_a_running_vm_is_waited_for(condor_node: CondorNode) -> None:
    condor_node.vms = [running_vm(1)]
    given = {"fragments": VM, "apply": "restart", "timeout": 30}
    result = run(config(condor_node), given, tools=Tools(condor_node))
    assert (result["changed"], result["action"]) == (True, "restart"), "it still waits for the VM"
    assert condor_node.vms
    assert not any("-fast" in line for line in condor_node.log)
    condor_node.vms = []
    condor_node.sleep(1)
    again = run(config(condor_node), given, tools=Tools(condor_node))
    assert (again["changed"], again["action"]) == (False, "none"), "the startd has been started anew by itself"


def test_a_broken_configuration_can_be_repaired(condor_node: CondorNode) -> None:
    (condor_node.directory / "60-policy.config").write_text("this is not a setting\n")
    results = four_calls(config(condor_node), {"fragments": POLICY}, Tools(condor_node))
    assert results[1]["knobs"]["START"]["after"] == "(RequiresVac =?= True)"


def test_another_broken_fragment_is_named(condor_node: CondorNode) -> None:
    (condor_node.directory / "10-theirs.config").write_text("use feature : Nonsense\n")
    result = run(config(condor_node), {"fragments": POLICY}, tools=Tools(condor_node))
    assert result["failed"]
    assert str(condor_node.directory / "10-theirs.config") in result["msg"]
    assert sorted(files(condor_node)) == ["10-theirs.config"]


@pytest.mark.parametrize("name", ["60-x.config~", ".hidden", "a/b", "..", "x.rpmsave"])
def test_a_name_that_htcondor_skips(condor_node: CondorNode, name: str) -> None:
    result = run(config(condor_node), {"fragments": {name: "A = 1\n"}}, tools=Tools(condor_node))
    assert result["failed"]
    assert "50-vm-universe.config" in result["remedy"]


def test_a_directory_that_htcondor_does_not_read(condor_node: CondorNode) -> None:
    given = {"fragments": POLICY, "directory": "/etc/elsewhere"}
    result = run(config(condor_node), given, tools=Tools(condor_node))
    assert result["failed"]
    assert "does not read /etc/elsewhere" in result["msg"]


def test_without_a_master_nothing_is_due(condor_node: CondorNode) -> None:
    condor_node.pids = {}
    result = run(config(condor_node), {"fragments": VM, "apply": "restart"}, tools=Tools(condor_node))
    assert (result["changed"], result["action"]) == (True, "none")


def test_a_node_without_htcondor(condor_node: CondorNode) -> None:
    tools = Tools(condor_node, missing=["condor_config_val"])
    assert run(config(condor_node), {"fragments": VM}, check=True, tools=tools)["changed"]
    assert run(config(condor_node), {"fragments": VM}, tools=tools)["failed"]


def test_a_lost_root_configuration_is_an_error_with_its_name(condor_node: CondorNode) -> None:
    condor_node.main.write_text("this is not a setting\n")
    tools = Tools(condor_node)
    assert run(config(condor_node), {"fragments": POLICY}, tools=tools)["failed"]
    condor_node.main.unlink()
    tools.answer = lambda _argv, _stdin: (1, "", "ERROR: Can't read config source\n")
    result = run(config(condor_node), {"fragments": POLICY}, tools=tools)
    assert result["failed"]
    assert str(condor_node.main) in result["msg"]


@pytest.mark.parametrize("check", [True, False])
def test_a_restart_that_htcondor_refuses_to_root_is_named_before_anything_is_written(
    condor_node: CondorNode, check: bool
) -> None:
    condor_node.refusal = REFUSAL
    result = run(config(condor_node), {"fragments": VM}, check=check, tools=Tools(condor_node))
    assert result["failed"]
    assert "for user condor@lab using method FS" in result["msg"]
    assert "ALLOW_ADMINISTRATOR = $(ALLOW_ADMINISTRATOR) condor@$(UID_DOMAIN)" in result["remedy"]
    assert list(condor_node.directory.iterdir()) == []
    condor_node.refusal = ""
    assert not run(config(condor_node), {"fragments": VM}, check=check, tools=Tools(condor_node)).get("failed")


@pytest.mark.parametrize(
    ("refusal", "fragment"),
    [
        (REFUSAL, "MY_POLICY = True\nSTART = $(MY_POLICY)\n"),
        (REFUSAL, "VM_TYPE = kvm\nALLOW_ADMINISTRATOR = condor@lab\n"),
        ("AUTHENTICATE:1004:Failed to authenticate using FS", "VM_TYPE = kvm\n"),
    ],
    ids=["a reconfig is enough", "the change may allow it", "another failure"],
)
def test_what_needs_no_such_restart_or_may_allow_it_is_written(
    condor_node: CondorNode, refusal: str, fragment: str
) -> None:
    condor_node.refusal = refusal
    given = {"fragments": {"60-x.config": fragment}}
    assert not run(config(condor_node), given, tools=Tools(condor_node)).get("failed")
    assert (condor_node.directory / "60-x.config").exists()


def test_without_condor_ping_nothing_is_asked(condor_node: CondorNode) -> None:
    condor_node.refusal = REFUSAL
    assert not run(config(condor_node), {"fragments": VM}, tools=Tools(condor_node, ["condor_ping"])).get("failed")
