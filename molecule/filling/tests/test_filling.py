# SPDX-License-Identifier: GPL-3.0-or-later
"""Three nodes of 8 slots, shares 2 to 1, 4 starts on a node in a cycle; the tests are steps, in this order."""

from __future__ import annotations

import json
from typing import Any

import pytest
from filled import BY_FILE_SYSTEM, EXPERIMENTS, HEAD, NODES, Pool

SLOTS, STARTS, MORE_STARTS = 8, 4, 6
ALL = SLOTS * len(NODES)
DRAINED, RESTARTED = "node3", "node2"


def divided(pool: Pool) -> bool:
    """Whether the pool is full, and two thirds of it are alpha's, give or take a VM."""
    found = pool.shares()
    return found.total() == ALL and abs(found["alpha"] - 2 * ALL // 3) <= 1


def test_the_nodes_fill_in_two_cycles_by_the_shares(pool: Pool) -> None:
    # Both experiments have VMs that wait before the first cycle, so that it is the negotiator who divides.
    pool.run(HEAD, f"{BY_FILE_SYSTEM} condor_off -negotiator")
    pool.run(HEAD, "condor_release -constraint 'JobUniverse == 7'")
    pool.until("both have VMs that wait", lambda: all(pool.idle()[name] >= ALL for name in EXPERIMENTS))
    before = len(pool.log())
    pool.run(HEAD, f"{BY_FILE_SYSTEM} condor_on -negotiator")
    pool.until("the pool is full", lambda: pool.shares().total() == ALL)
    cycles = pool.cycles(before)
    assert [dict(cycle) for cycle in cycles[:2]] == [dict.fromkeys(NODES, STARTS)] * 2
    assert max(max(cycle.values()) for cycle in cycles) == STARTS
    assert divided(pool), pool.shares()
    print(f"cycles: {cycles}; running: {pool.running()}")


def test_the_vms_are_real(pool: Pool) -> None:
    pool.until("each has a domain", lambda: all(len(pool.domains(node)) == SLOTS for node in NODES))


def test_the_doctor_and_explain_find_nothing_wrong(pool: Pool) -> None:
    report = json.loads(pool.run(HEAD, "condor_vac doctor --json"))
    assert {entry["check"]: entry["findings"] for entry in report["checks"] if entry["findings"]} == {}
    assert [entry["notes"] for entry in report["checks"] if entry["check"] == "shares of nodes"] == [[]]
    assert "consumption policy" not in pool.run(HEAD, "condor_vac explain alpha || true")
    for node in NODES:
        report = json.loads(pool.run(node, "condor_vac doctor --json --step condor || true"))
        (entry,) = [entry for entry in report["checks"] if entry["check"] == "matching"]
        assert entry["findings"] == []


def test_an_access_point_with_htcondors_default_is_found(pool: Pool) -> None:
    other = "/etc/condor/config.d/99-site.config"
    pool.run(HEAD, f"echo 'CLAIM_PARTITIONABLE_LEFTOVERS = True' > {other}; pkill -HUP -x condor_master")
    try:
        pool.until(
            "the doctor finds it", lambda: "NUM_CLAIMS limits 3 nodes" in pool.run(HEAD, "condor_vac doctor || true")
        )
        assert "NUM_CLAIMS limits 3 nodes" in pool.run(HEAD, "condor_vac explain beta || true")
        play = pool.converge(HEAD)
        assert play.status != 0
        assert f"CLAIM_PARTITIONABLE_LEFTOVERS: {other}, line 1, sets it after" in " ".join(play.failures())
    finally:
        pool.run(HEAD, f"rm {other}; pkill -HUP -x condor_master")
    pool.until("the doctor finds nothing", lambda: "0 with a finding" in pool.run(HEAD, "condor_vac doctor || true"))


def test_a_drained_node_fills_again_at_the_same_pace(pool: Pool) -> None:
    others = {node: pool.domains(node) for node in NODES if node != DRAINED}
    # HTCondor's own drain, which gives VMs MAXJOBRETIREMENTTIME: none here.
    pool.run(DRAINED, f"{BY_FILE_SYSTEM} condor_drain $(hostname -f)")
    state = f"condor_status -af State -constraint 'PartitionableSlot && Machine == \"{DRAINED}.lab\"'"
    pool.until("the node is drained", lambda: pool.run(HEAD, state) == "Drained" and not pool.domains(DRAINED))
    assert {node: pool.domains(node) for node in others} == others
    before = len(pool.log())
    pool.run(DRAINED, f"{BY_FILE_SYSTEM} condor_drain -cancel $(hostname -f)")
    pool.until("the pool is full again", lambda: pool.shares().total() == ALL)
    cycles = [cycle[DRAINED] for cycle in pool.cycles(before)]
    assert cycles[:2] == [STARTS] * 2
    assert max(cycles) == STARTS
    assert divided(pool), pool.shares()


@pytest.fixture(scope="module")
def restarting(pool: Pool) -> dict[str, Any]:
    """A node for which another number was set while its VMs run: its VMs before, and the play."""
    pool.until("all its VMs run", lambda: len(pool.domains(RESTARTED)) == SLOTS)
    before = pool.domains(RESTARTED)
    return {"domains": before, "play": pool.converge(RESTARTED, worker_starts_per_cycle=MORE_STARTS)}


def test_another_number_ends_no_vm(pool: Pool, restarting: dict[str, Any]) -> None:
    play = restarting["play"]
    assert play.status == 0, play.output[-4000:]
    waits = f"{SLOTS} jobs still run; the startd loads its new configuration when no job runs any more"
    assert waits in " ".join(play.output.split())
    assert pool.domains(RESTARTED) == restarting["domains"]
    activity = f"condor_status -af Activity -constraint 'DynamicSlot && Machine == \"{RESTARTED}.lab\"'"
    pool.until("its slots retire", lambda: set(pool.run(HEAD, activity).split()) == {"Retiring"})
    report = pool.run(RESTARTED, "condor_vac doctor --step condor || true")
    assert f"the startd started with NUM_CLAIMS {STARTS}, and the files have {MORE_STARTS}" in " ".join(report.split())


@pytest.mark.usefixtures("restarting")
def test_the_node_takes_it_up_when_its_vms_have_ended(pool: Pool) -> None:
    before = len(pool.log())
    jobs = [f"{ad['ClusterId']}.{ad['ProcId']}" for ad in pool.vms() if RESTARTED in str(ad.get("RemoteHost"))]
    assert len(jobs) == SLOTS
    pool.run(HEAD, f"condor_rm {' '.join(jobs)}")
    pool.until("the pool is full again", lambda: pool.shares().total() == ALL)
    cycles = [number for number in (cycle[RESTARTED] for cycle in pool.cycles(before)) if number]
    # On a busy host the first cycle gave fewer; the old number allows no cycle that gives so many.
    assert max(cycles) == MORE_STARTS, cycles
    assert sum(cycles) >= SLOTS, cycles
    assert divided(pool), pool.shares()
