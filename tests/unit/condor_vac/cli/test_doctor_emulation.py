# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac doctor`` on a node without KVM, where VMs may or must not be emulated."""

from __future__ import annotations

import json

import pytest

from condor_vac.cli import doctor
from condor_vac.worker import kvm_device
from condor_vac.worker.checks import host
from condor_vac.worker.checks.node import Node
from tests.unit.condor_vac.cli.pretended_node import (
    OWNER,
    Pretended,
)

PLAIN = "/dev/kvm is a file, not a device"
NO_FLAG = "no processor has the flag svm or vmx"


def preflight(node: Pretended) -> dict[str, tuple[bool, list[str], list[str]]]:
    """Of each check of the hardware: whether all is well, the findings, the notes."""
    report = doctor.examine(Node(str(node.base)), list(host.PREFLIGHT))
    return {
        entry["check"]: (entry["ok"], *([item["what"] for item in entry[key]] for key in ("findings", "notes")))
        for entry in report["checks"]
    }


def without_kvm(node: Pretended, emulation: bool) -> None:
    """No processor has the flag, and there is an empty file in the place of /dev/kvm."""
    node.write("/proc/cpuinfo", "flags : fpu\nflags : fpu\n")
    node.write("/dev/kvm", "")
    node.write("/etc/condor_vac/worker.json", json.dumps({"emulation": emulation, "owners": [OWNER]}))


def domain_capabilities(node: Pretended, offered: str) -> None:
    """libvirt runs this type of guest only."""
    for kind in ("kvm", "qemu"):
        answer = (0, f"<d><domain>{kind}</domain></d>") if kind == offered else (1, f"accel '{kind}' is not supported")
        node.answers[f"--virttype {kind}"] = answer


def test_without_kvm_a_node_that_may_emulate_is_well_and_reports_it(node: Pretended) -> None:
    without_kvm(node, emulation=True)
    domain_capabilities(node, "qemu")
    found = preflight(node)
    assert found["processor"] == (True, [], [f"VMs are emulated, 5 to 20 times slower (worker_emulation): {NO_FLAG}"])
    assert found["KVM"] == (True, [], [f"VMs are emulated, 5 to 20 times slower (worker_emulation): {PLAIN}"])
    assert found["libvirt and KVM"] == (True, [], [])
    assert found["confinement of VMs"] == (True, [], [])


def test_without_kvm_a_node_that_must_not_emulate_has_findings(node: Pretended) -> None:
    without_kvm(node, emulation=False)
    domain_capabilities(node, "qemu")
    found = preflight(node)
    assert found["processor"] == (False, [NO_FLAG], [])
    assert found["KVM"] == (False, [PLAIN], [])
    assert found["libvirt and KVM"][0] is False
    assert "libvirt offers no KVM" in found["libvirt and KVM"][1][0]


@pytest.mark.parametrize("emulation", [False, True])
@pytest.mark.parametrize("flags", [["", ""], ["svm", "svm"]])
def test_a_device_that_makes_no_virtual_cpu_counts_whatever_the_flag_is(
    node: Pretended, flags: list[str], emulation: bool
) -> None:
    without_kvm(node, emulation)
    node.write("/proc/cpuinfo", "".join(f"flags : fpu {line}\n" for line in flags))
    domain_capabilities(node, "qemu" if emulation else "kvm")
    found = preflight(node)
    assert found["KVM"][0] is emulation
    assert PLAIN in "".join(found["KVM"][1] + found["KVM"][2])
    assert found["libvirt and KVM"] == (True, [], []), "libvirt is asked for what the VMs will be"


def test_emulation_that_libvirt_does_not_offer_is_a_finding(node: Pretended) -> None:
    without_kvm(node, emulation=True)
    domain_capabilities(node, "kvm")
    ok, found, _notes = preflight(node)["libvirt and KVM"]
    assert not ok
    assert "libvirt offers no emulation" in found[0]


def test_with_kvm_a_node_that_may_emulate_is_as_any_other(node: Pretended, monkeypatch: pytest.MonkeyPatch) -> None:
    node.write("/etc/condor_vac/worker.json", json.dumps({"emulation": True, "owners": [OWNER]}))
    domain_capabilities(node, "kvm")
    monkeypatch.setattr(kvm_device, "device_trouble", lambda _root: None)
    assert preflight(node) == {check.name: (True, [], []) for check in host.PREFLIGHT}


def test_settings_that_cannot_be_read_allow_no_emulation(node: Pretended) -> None:
    without_kvm(node, emulation=True)
    node.write("/etc/condor_vac/worker.json", '{"emulation": true,')
    assert preflight(node)["processor"] == (False, [NO_FLAG], [])
