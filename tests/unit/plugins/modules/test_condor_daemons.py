# SPDX-License-Identifier: GPL-3.0-or-later
"""Daemons and the VMs below them, against recorded forms of HTCondor 23.9.6's tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor import tools as condor
from ansible_collections.vacuum.htcondor.plugins.modules import condor_config, condor_daemons

from tests.unit.plugins.condor_node import CondorNode, running_vm
from tests.unit.plugins.harness import Answer, Plugin, Tools, four_calls, run

VM = {"fragments": {"50-vm.config": "VM_TYPE = kvm\n"}}
POLICY = {"fragments": {"60-policy.config": "START = False\n"}}


def config(node: CondorNode) -> Plugin:
    return Plugin(condor_config, owner=None, pending_file=node.pending_file)


def daemons(node: CondorNode) -> Plugin:
    return Plugin(condor_daemons, pending_file=node.pending_file)


def test_applied_restarts_what_needs_it(condor_node: CondorNode) -> None:
    run(config(condor_node), VM, tools=Tools(condor_node))
    schedd = condor_node.pids["SCHEDD"]
    results = four_calls(daemons(condor_node), {"state": "applied"}, Tools(condor_node))
    assert [result["action"] for result in results] == ["restart", "restart", "none", "none"]
    assert condor_node.log == ["reconfig", "restart -peaceful -startd"]
    assert condor_node.pids["SCHEDD"] == schedd
    assert (results[1]["ready"], results[1]["pending"]) == (True, False)


def test_applied_reconfigures_where_that_is_enough(condor_node: CondorNode) -> None:
    run(config(condor_node), POLICY, tools=Tools(condor_node))
    four_calls(daemons(condor_node), {"state": "applied"}, Tools(condor_node))
    assert condor_node.log == ["reconfig"]


def test_applied_does_nothing_after_somebody_else_did_it(condor_node: CondorNode) -> None:
    run(config(condor_node), VM, tools=Tools(condor_node))
    for name in ("COLLECTOR", "SCHEDD", "STARTD", "SHARED_PORT"):
        condor_node.start(name)
    result = run(daemons(condor_node), {"state": "applied"}, tools=Tools(condor_node))
    assert (result["changed"], condor_node.log) == (False, [])


def bare(node: CondorNode, *more: str) -> None:
    """The node as a new installation: nothing below the master but what is named."""
    for name in set(node.pids) - {"MASTER", "SHARED_PORT", *more}:
        del node.pids[name], node.states[name]


def test_a_new_installation_is_restarted_once_and_not_reconfigured_first(condor_node: CondorNode) -> None:
    bare(condor_node)
    run(config(condor_node), {"fragments": {"10-pool.config": "USE_SHARED_PORT = false\n"}}, tools=Tools(condor_node))
    old = dict(condor_node.pids)
    results = [
        run(daemons(condor_node), {"state": "applied"}, check=check, tools=Tools(condor_node))
        for check in (True, False) * 2
    ]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert condor_node.log == ["systemctl restart condor.service"]
    assert condor_node.pids["MASTER"] != old["MASTER"]
    assert results[1]["ready"]
    assert set(results[1]["daemons"]) >= {"COLLECTOR", "SCHEDD", "STARTD"}


@pytest.mark.parametrize("more", ["SCHEDD", "STARTD", "COLLECTOR", "DEFRAG"])
def test_a_master_with_anything_below_it_is_not_restarted_by_its_service(condor_node: CondorNode, more: str) -> None:
    if more not in condor_node.pids:
        condor_node.start(more)
    bare(condor_node, more)
    run(config(condor_node), {"fragments": {"10-pool.config": "USE_SHARED_PORT = false\n"}}, tools=Tools(condor_node))
    run(daemons(condor_node), {"state": "applied", "timeout": 5}, tools=Tools(condor_node))
    assert condor_node.log[0] == "reconfig"


@pytest.mark.parametrize("missing", [(), ("systemctl",)])
def test_a_master_that_no_service_runs_is_restarted_by_its_own_command(
    condor_node: CondorNode, missing: tuple[str, ...]
) -> None:
    bare(condor_node)
    condor_node.by_service = False
    run(config(condor_node), {"fragments": {"10-pool.config": "USE_SHARED_PORT = false\n"}}, tools=Tools(condor_node))
    run(daemons(condor_node), {"state": "applied", "timeout": 5}, tools=Tools(condor_node, missing))
    assert condor_node.log[0] == "reconfig"
    assert not [line for line in condor_node.log if line.startswith("systemctl")]


def test_running_jobs_outlive_a_restart(condor_node: CondorNode) -> None:
    condor_node.vms = [running_vm(1), running_vm(2, universe=5), running_vm(3)]
    result = run(daemons(condor_node), {"state": "restarted", "timeout": 20}, tools=Tools(condor_node))
    assert (result["changed"], result["pending"]) == (True, True)
    assert [(job["slot"], job["job"], job["owner"], job["vm"]) for job in result["jobs"]] == [
        ("slot1_1@box.lab", "1.0", "vac@lab", True),
        ("slot1_2@box.lab", "2.0", "vac@lab", False),
        ("slot1_3@box.lab", "3.0", "vac@lab", True),
    ]
    assert len(condor_node.vms) == 3
    assert condor_node.log == ["restart -peaceful -startd"]


def test_a_restart_waits_until_vms_have_ended(condor_node: CondorNode) -> None:
    condor_node.vms, condor_node.vm_seconds = [running_vm(1)], 15
    old = condor_node.pids["STARTD"]
    result = run(daemons(condor_node), {"state": "restarted", "timeout": 60}, tools=Tools(condor_node))
    assert (result["pending"], result["jobs"], result["ready"]) == (False, [], True)
    assert condor_node.pids["STARTD"] != old


def test_force_does_not_wait(condor_node: CondorNode) -> None:
    condor_node.vms = [running_vm(1)]
    given = {"state": "restarted", "force": True}
    assert run(daemons(condor_node), given, check=True, tools=Tools(condor_node))["changed"]
    assert condor_node.log == []
    run(daemons(condor_node), given, tools=Tools(condor_node))
    assert condor_node.log == ["restart -fast -startd"]
    assert condor_node.vms == []


def test_a_restart_of_everything_still_waits_for_vms(condor_node: CondorNode) -> None:
    condor_node.vms = [running_vm(1)]
    result = run(
        daemons(condor_node), {"state": "restarted", "daemons": ["master"], "timeout": 20}, tools=Tools(condor_node)
    )
    assert result["pending"]
    assert not any("-master" in line for line in condor_node.log)
    assert condor_node.vms


def test_a_restart_of_everything_starts_the_startd_once(condor_node: CondorNode) -> None:
    old = dict(condor_node.pids)
    result = run(
        daemons(condor_node), {"state": "restarted", "daemons": ["master"], "timeout": 20}, tools=Tools(condor_node)
    )
    assert condor_node.log == ["off -peaceful -startd", "restart -graceful -master"]
    assert (result["pending"], result["daemons"]["STARTD"]) == (False, "Alive")
    assert [name for name, pid in old.items() if name != "MASTER" and condor_node.pids[name] == pid] == []


def test_a_vm_that_comes_before_a_restart_of_everything_is_waited_for(
    condor_node: CondorNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    condor_off = condor_node.condor_off

    def one_comes_first(words: list[str]) -> Answer:
        condor_node.vms = [running_vm(1)]
        return condor_off(words)

    monkeypatch.setattr(condor_node, "condor_off", one_comes_first)
    result = run(
        daemons(condor_node), {"state": "restarted", "daemons": ["master"], "timeout": 20}, tools=Tools(condor_node)
    )
    assert (result["pending"], [vm["job"] for vm in result["jobs"]]) == (True, ["1.0"])
    assert condor_node.log == ["off -peaceful -startd", "on -startd"]
    condor_node.vms = []
    condor_node.sleep(1)
    assert condor_node.states["STARTD"] == "Alive"


def test_drained_and_ready_again(condor_node: CondorNode) -> None:
    results = four_calls(daemons(condor_node), {"state": "drained"}, Tools(condor_node))
    assert results[1]["daemons"]["STARTD"] == "Hold"
    assert condor_node.log == ["off -peaceful -startd"]
    four_calls(daemons(condor_node), {"state": "ready"}, Tools(condor_node))
    assert condor_node.states["STARTD"] == "Alive"


def test_a_drain_reports_what_still_runs(condor_node: CondorNode) -> None:
    condor_node.vms = [running_vm(4)]
    result = run(daemons(condor_node), {"state": "drained", "timeout": 10}, tools=Tools(condor_node))
    assert (result["pending"], [vm["job"] for vm in result["jobs"]]) == (True, ["4.0"])
    condor_node.vm_seconds = 5
    result = run(daemons(condor_node), {"state": "drained", "timeout": 10}, tools=Tools(condor_node))
    assert (result["pending"], result["jobs"]) == (False, [])


def test_drained_is_off_only_when_the_vms_have_ended(condor_node: CondorNode) -> None:
    condor_node.vms, condor_node.vm_seconds = [running_vm(1)], 15
    results = four_calls(daemons(condor_node), {"state": "drained", "timeout": 60}, Tools(condor_node))
    assert [(result["daemons"]["STARTD"], result["pending"]) for result in results[1:]] == [("Hold", False)] * 3


def test_a_drain_that_still_waits_can_be_turned_into_a_restart_only(condor_node: CondorNode) -> None:
    condor_node.vms = [running_vm(1)]
    run(daemons(condor_node), {"state": "drained", "timeout": 5}, tools=Tools(condor_node))
    old = condor_node.pids["STARTD"]
    back = run(daemons(condor_node), {"state": "ready", "timeout": 5}, tools=Tools(condor_node))
    assert (back["changed"], back["pending"], len(back["jobs"])) == (True, True, 1)
    condor_node.vms = []
    results = four_calls(daemons(condor_node), {"state": "ready", "timeout": 30}, Tools(condor_node))
    assert (results[1]["daemons"]["STARTD"], results[1]["pending"]) == ("Alive", False)
    assert condor_node.pids["STARTD"] != old


def test_a_restart_that_waits_for_vms_is_not_asked_for_again(condor_node: CondorNode) -> None:
    run(config(condor_node), VM, tools=Tools(condor_node))
    condor_node.vms = [running_vm(1)]
    first = run(daemons(condor_node), {"state": "applied", "timeout": 5}, tools=Tools(condor_node))
    log = list(condor_node.log)
    for state in ("applied", "ready"):
        again = run(daemons(condor_node), {"state": state, "timeout": 5}, tools=Tools(condor_node))
        assert (again["changed"], again["pending"], len(again["jobs"])) == (False, True, 1)
    assert (first["changed"], first["pending"], condor_node.log) == (True, True, log)
    condor_node.vms = []
    condor_node.sleep(1)
    assert run(daemons(condor_node), {"state": "applied"}, tools=Tools(condor_node))["action"] == "none"


def test_another_restart_joins_the_one_that_waits(condor_node: CondorNode) -> None:
    condor_node.vms, given = [running_vm(1)], {"state": "restarted", "timeout": 5}
    assert [run(daemons(condor_node), given, tools=Tools(condor_node))["pending"] for _ in range(2)] == [True, True]


def test_a_daemon_that_does_not_survive_a_reconfig_is_named(condor_node: CondorNode) -> None:
    (condor_node.directory / "60-x.config").write_text("START = deadly\n")
    condor_node.deadly = "deadly"
    result = run(daemons(condor_node), {"state": "reconfig", "timeout": 5}, tools=Tools(condor_node))
    assert result["failed"]
    assert "STARTD Dead" in result["msg"]
    assert "/var/log/condor" in result["remedy"]
    assert result["daemons"]["STARTD"] == "Dead"


def test_a_busy_master_is_asked_again(condor_node: CondorNode, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([(0, "", ""), (1, "", "")])
    patient = condor_node.condor_who
    monkeypatch.setattr(condor_node, "condor_who", lambda words: next(answers, None) or patient(words))
    monkeypatch.setattr(condor, "master_process", lambda: True)
    assert run(daemons(condor_node), {"state": "ready"}, tools=Tools(condor_node))["ready"]


@pytest.mark.parametrize(
    ("names", "runs"), [(["bash", "condor_master"], True), (["condor_startd"], False), ([], False)]
)
def test_a_master_is_known_by_its_process(tmp_path: Path, names: list[str], runs: bool) -> None:
    for pid, name in enumerate(names):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "comm").write_text(f"{name}\n")
    (tmp_path / "99").mkdir()
    (tmp_path / "sys").mkdir()
    assert condor.master_process(str(tmp_path)) == runs


@pytest.mark.parametrize("state", ["ready", "applied", "reconfig", "restarted", "drained"])
def test_no_master(condor_node: CondorNode, state: str) -> None:
    condor_node.pids = {}
    result = run(daemons(condor_node), {"state": state}, tools=Tools(condor_node))
    assert result["failed"]
    assert "start the service condor" in result["msg"]
    assert run(daemons(condor_node), {"state": state}, check=True, tools=Tools(condor_node))["changed"]


def test_an_unreadable_record_is_an_error(condor_node: CondorNode, tmp_path: Any) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "pending.json").write_text("{")
    result = run(daemons(condor_node), {"state": "applied"}, tools=Tools(condor_node))
    assert result["failed"]
    assert "pending.json" in result["msg"]


def test_a_restart_that_is_refused_names_what_allows_it(condor_node: CondorNode) -> None:
    condor_node.refusal = 'SECMAN:2010:Received "DENIED" from server for user condor@lab using method FS.'
    result = run(daemons(condor_node), {"state": "restarted"}, tools=Tools(condor_node))
    assert "Can't send Kill-Daemon-Peacefully command to local startd" in result["msg"]
    assert "ALLOW_ADMINISTRATOR has to name it" in result["remedy"]
