# SPDX-License-Identifier: GPL-3.0-or-later
"""Slots as a collector of HTCondor 23.9.6 knows them (recorded on a lab machine; names and jobs vary)."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.vacuum.htcondor.plugins.modules import pool_info

from tests.unit.plugins.harness import Answer, Plugin, Tools, run

IDLE = json.loads("""
{
  "Activity": "Benchmarking",
  "CondorVersion": "$CondorVersion: 23.9.6 2026-07-12 PackageID: 23.9.6+dfsg-2.1+b10 $",
  "Cpus": 1,
  "EnteredCurrentState": 1795630712,
  "HasVM": true,
  "Machine": "box.lab",
  "Memory": 5932,
  "Name": "slot1@box.lab",
  "SlotType": "Partitionable",
  "State": "Unclaimed",
  "TotalCpus": 1.0,
  "TotalMemory": 5932,
  "VM_AvailNum": 10000,
  "VM_GAHP_VERSION": "0.0.1",
  "VM_Memory": 1073741824,
  "VM_Networking": true,
  "VM_Networking_Types": "nat",
  "VM_Type": "kvm"
}
""")
UNREACHABLE = "Error: communication error\nCEDAR:6001:Failed to connect to <10.77.0.1:9618>\n"


def slot(machine: str, **changes: Any) -> dict[str, Any]:
    """IDLE on another machine; None takes an attribute away."""
    ad = {**IDLE, "Machine": machine, "Name": f"slot1@{machine}", **changes}
    return {key: value for key, value in ad.items() if value is not None}


def running(machine: str, number: int, universe: int = 13) -> dict[str, Any]:
    """A dynamic slot with a job in it."""
    return slot(
        machine,
        Name=f"slot1_{number}@{machine}",
        SlotType="Dynamic",
        State="Claimed",
        Activity="Busy",
        JobUniverse=universe,
        JobId=f"{number}.0",
        GlobalJobId=f"ap.lab#{number}.0#1795630000",
        RemoteOwner="vac@lab",
        Cpus=2,
        Memory=2048,
    )


class Collector:
    """Answers condor_status; ``slots`` grow by what is in ``later``, one for each query."""

    def __init__(self, *slots: dict[str, Any]) -> None:
        self.slots = list(slots)
        self.later: list[dict[str, Any]] = []
        self.deaf = 0

    def __call__(self, argv: list[str], _stdin: str | None) -> Answer:
        if argv[0].endswith("condor_config_val"):
            assert argv[1:] == ["FULL_HOSTNAME"]
            return 0, "node1.lab\n", ""
        if self.deaf:
            self.deaf -= 1
            return 1, "", UNREACHABLE
        slots = self.slots
        if "-constraint" in argv:
            slots = [ad for ad in slots if f'Machine == "{ad["Machine"]}"' in argv]
        answer = json.dumps(slots) if slots else ""
        self.slots = self.slots + self.later[:1]
        del self.later[:1]
        return 0, answer, ""


IMPATIENT = Plugin(pool_info, period=0)


def test_machines_vms_and_what_is_free() -> None:
    ads = [
        running("node2.lab", 2),
        slot("node2.lab", Cpus=3, Memory=1000, TotalCpus=8.0, TotalMemory=6000),
        running("node2.lab", 1),
        running("node2.lab", 3, universe=5),
        slot("node1.lab", Cpus=4, Memory=500),
        slot("off.lab", HasVM=False, VM_Type=None, Cpus=16, Memory=9000),
    ]
    result = run(IMPATIENT, {}, tools=Tools(Collector(*ads)))
    assert [machine["name"] for machine in result["machines"]] == ["node1.lab", "node2.lab", "off.lab"]
    node2 = result["machines"][1]
    assert (node2["cpus"], node2["memory"], node2["free_cpus"], node2["free_memory"]) == (8, 6000, 3, 1000)
    assert (node2["vms"], node2["states"], node2["version"]) == (2, ["Claimed", "Unclaimed"], "23.9.6")
    assert (node2["networking"], node2["vm_type"], node2["vm_available"]) == (["nat"], "kvm", 10000)
    assert [(vm["slot"], vm["job"], vm["owner"]) for vm in result["vms"]] == [
        ("slot1_1@node2.lab", "1.0", "vac@lab"),
        ("slot1_2@node2.lab", "2.0", "vac@lab"),
    ]
    assert result["free"] == {"cpus": 7, "memory": 1500}, "what a machine without VM universe has free counts not"
    assert (result["changed"], result["unable"], "msg" in result) == (False, [], False)


def test_an_offline_vm_universe_has_its_reason() -> None:
    ad = slot("node1.lab", HasVM=False, VM_Type=None, VMOfflineReason="out of leases", VMOfflineTime=1795630800)
    result = run(IMPATIENT, {"machines": ["node1.lab"]}, tools=Tools(Collector(ad)))
    machine = result["machines"][0]
    assert (machine["has_vm"], machine["offline_reason"], machine["offline_since"]) == (
        *(False, "out of leases"),
        1795630800,
    )
    assert result["unable"] == ["node1.lab"]
    assert result["msg"].startswith("node1.lab: its VM universe is offline: out of leases (read VMGahpLog")


def test_static_slots_are_free_only_when_they_are_unclaimed() -> None:
    ads = [
        slot("old.lab", Name="slot1@old.lab", SlotType="Static", State="Claimed", JobUniverse=13, Cpus=1, Memory=100),
        slot("old.lab", Name="slot2@old.lab", SlotType="Static", Cpus=1, Memory=70),
        slot("old.lab", Name="slot3@old.lab", SlotType="Static", State="Owner", Cpus=1, Memory=50),
    ]
    result = run(IMPATIENT, {}, tools=Tools(Collector(*ads)))
    assert result["free"] == {"cpus": 1, "memory": 70}
    assert len(result["vms"]) == 1


def test_the_node_itself() -> None:
    tools = Tools(Collector(slot("node1.lab"), slot("node2.lab")))
    result = run(IMPATIENT, {"scope": "node"}, tools=tools)
    assert [machine["name"] for machine in result["machines"]] == ["node1.lab"]
    assert result["unable"] == []


def test_it_waits_for_a_node_that_comes() -> None:
    collector = Collector()
    collector.deaf = 2
    collector.later = [slot("node2.lab"), slot("node1.lab", HasVM=False), slot("node1.lab", Name="slot2@node1.lab")]
    tools = Tools(collector)
    collector.later[2]["Name"] = "slot0@node1.lab"
    result = run(IMPATIENT, {"scope": "node", "wait": 600}, tools=tools)
    assert result["unable"] == []
    assert len([call for call in tools.calls if call[0].endswith("condor_status")]) == 6


def test_it_waits_no_longer_than_its_timeout() -> None:
    tools = Tools(Collector(slot("node2.lab")))
    result = run(IMPATIENT, {"machines": ["node1.lab", "NODE2.lab"]}, tools=tools)
    assert result["unable"] == ["node1.lab"]
    assert "knows no slot" in result["msg"]
    assert len(tools.calls) == 1


def test_a_collector_that_does_not_answer_is_an_error_and_not_an_empty_pool() -> None:
    collector = Collector(slot("node1.lab"))
    collector.deaf = 1
    result = run(IMPATIENT, {"collector": "cm.lab"}, tools=Tools(collector))
    assert result["failed"]
    assert "Failed to connect" in result["msg"]
    assert "CONDOR_HOST" in result["remedy"]


def test_another_collector_is_asked() -> None:
    tools = Tools(Collector(slot("node1.lab")))
    run(IMPATIENT, {"collector": "cm.lab:9619"}, tools=tools)
    assert tools.calls[0][1:3] == ["-pool", "cm.lab:9619"]
