# SPDX-License-Identifier: GPL-3.0-or-later
"""The VM universe of a pretended node: vac_watch takes it away and gives it back."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

from condor_vac.base.errors import VacError
from condor_vac.worker import kvm_device
from tests.unit.condor_vac.worker.conftest import Node, Time
from tests.unit.condor_vac.worker.watched import look

OFFLINE = {"PartitionableSlot": True, "HasVM": False, "VMOfflineReason": "VMGAHP_ERR_INTERNAL"}
ONLINE = ["HasVM = true"]


def slots(node: Node, **changes: Any) -> None:
    """What the startd publishes about its slots."""
    (node.base / "slots").write_text(json.dumps([{**OFFLINE, **changes}, {"HasVM": True}]))


def last_look(node: Node, seconds: float) -> None:
    """The watch checked the VM universe so long ago."""
    when = time.time() - seconds
    os.utime(f"{node.store.run_directory}/vm_universe_looked", (when, when))


def test_a_node_that_lost_its_vm_universe_to_a_failed_start_gets_it_back(
    node: Node, clock: Time, capsys: pytest.CaptureFixture[str]
) -> None:
    slots(node)
    assert look(node) == []
    assert node.called("condor_update_machine_ad") == ONLINE
    assert "the startd offered no VMs (VMGAHP_ERR_INTERNAL)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "changes",
    [
        {"HasVM": True, "VMOfflineReason": None},
        {"HasVM": True},
        {"VMOfflineReason": "taken away by hand"},
        {"VMOfflineReason": None},
        {"VMOfflineReason": ["VMGAHP_ERR_INTERNAL"]},
    ],
)
def test_a_vm_universe_that_is_there_or_was_taken_away_otherwise_stays_as_it_is(
    node: Node, clock: Time, changes: dict[str, Any]
) -> None:
    slots(node, **changes)
    assert look(node) == []
    assert node.called("condor_update_machine_ad") == []


NO_KVM = kvm_device.Trouble('/dev/kvm makes no virtual CPU: "no"', "check dmesg for kvm")
TAKEN = "condor_vac: KVM does not work: /dev/kvm makes no virtual CPU: "


@pytest.mark.parametrize(
    "changes",
    [{}, {"HasVM": True, "VMOfflineReason": None}, {"VMOfflineReason": "condor_vac: KVM does not work: other"}],
)
def test_without_kvm_the_startd_offers_no_vms_and_has_the_reason(
    node: Node, clock: Time, capsys: pytest.CaptureFixture[str], changes: dict[str, Any]
) -> None:
    node.kvm_trouble = NO_KVM
    slots(node, **changes)
    assert look(node) == []
    recorded = node.called("condor_update_machine_ad")
    assert recorded == ["HasVM = false", f'VMOfflineReason = "{TAKEN}\\"no\\""']
    assert 'makes no virtual CPU: "no"): the startd now offers no VMs; check dmesg for kvm' in capsys.readouterr().out


def test_without_kvm_what_is_taken_away_already_stays_so_and_kvm_brings_it_back(node: Node, clock: Time) -> None:
    node.kvm_trouble = NO_KVM
    slots(node, VMOfflineReason=f'{TAKEN}"no"')
    assert look(node) == []
    assert node.called("condor_update_machine_ad") == []
    node.kvm_trouble = None
    last_look(node, 301)
    assert look(node) == []
    assert node.called("condor_update_machine_ad") == ONLINE


@pytest.mark.parametrize(("offered", "recorded"), [(True, []), (False, ONLINE)])
def test_without_kvm_a_node_that_may_emulate_offers_vms(
    node: Node, clock: Time, offered: bool, recorded: list[str]
) -> None:
    node.kvm_trouble = NO_KVM
    node.settings = node.settings._replace(emulation=True)
    slots(node, HasVM=offered)
    assert look(node) == []
    assert node.called("condor_update_machine_ad") == recorded


def test_without_kvm_what_an_administrator_took_away_keeps_its_reason(node: Node, clock: Time) -> None:
    node.kvm_trouble = NO_KVM
    slots(node, VMOfflineReason="taken away by hand")
    assert look(node) == []
    assert node.called("condor_update_machine_ad") == []


@pytest.mark.parametrize(("seconds", "looks"), [(0, 1), (280, 1), (310, 2), (-3600, 2)])
def test_the_vm_universe_is_checked_every_five_minutes(node: Node, clock: Time, seconds: float, looks: int) -> None:
    look(node)
    last_look(node, seconds)
    look(node)
    assert len(node.called("condor_who")) == looks


def test_a_vm_universe_that_does_not_return_is_reported_and_tried_again(node: Node, clock: Time) -> None:
    slots(node)
    node.fail("condor_update_machine_ad")
    assert "Unable to update machine ad" in look(node)[0]
    node.mend("condor_update_machine_ad")
    assert look(node) == []
    assert node.called("condor_update_machine_ad") == []
    last_look(node, 301)
    assert look(node) == []
    assert node.called("condor_update_machine_ad") == ONLINE


@pytest.mark.parametrize(
    ("tool", "script", "printed"),
    [
        ("condor_who", "exit 1", "condor_who: exit code 1"),
        ("condor_status", "exit 1", "condor_status: exit code 1"),
        ("condor_status", "echo nonsense", "condor_status: its answer is not JSON"),
    ],
)
def test_an_htcondor_that_does_not_answer_is_logged_and_not_an_error(
    node: Node, clock: Time, capsys: pytest.CaptureFixture[str], tool: str, script: str, printed: str
) -> None:
    slots(node)
    (node.base / "bin" / tool).write_text(f"#!/bin/sh\n{script}\n")
    assert look(node) == []
    assert f"cannot read whether the startd offers VMs ({printed}" in capsys.readouterr().out
    assert node.called("condor_update_machine_ad") == []


def test_without_an_htcondor_there_is_nothing_to_offer(node: Node, clock: Time) -> None:
    (node.base / "bin" / "condor_who").write_text("#!/bin/sh\necho 'MASTER = \"Alive\"'\n")
    (node.base / "slots").write_text("")
    assert look(node) == []
    assert node.called("condor_update_machine_ad") == []


def test_without_libvirt_no_vm_is_offered(node: Node, clock: Time) -> None:
    slots(node)
    node.fail("virsh", "error: failed to connect")
    with pytest.raises(VacError, match="failed to connect"):
        look(node)
    assert node.called("condor_who") == []
