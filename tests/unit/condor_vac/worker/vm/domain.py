# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's ad, and what libvirt_cernvm_script prints for it."""

from __future__ import annotations

import io

import pytest

from condor_vac.worker.programs import xml_script

AD = """\
ClusterId = 7
ProcId = 0
User = "vac@lab"
Owner = "vac"
Cmd = "vac-atlas"
Iwd = "/home/vac"
JobUniverse = 13
JobVMType = "kvm"
JobVMMemory = 2048
JobVMNetworking = true
JobVMNetworkingType = "nat"
VMPARAM_vm_Disk = "cernvm.iso:hda:r:raw,scratch.raw:vda:w:raw"
VMPARAM_VM_NAME = "vac_lab_7.0"
UserData = "user_data"
WantIOProxy = true
RequiresVac = true
"""


def described(data: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What libvirt_cernvm_script prints for an ad."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert xml_script.main() == 0
    out = capsys.readouterr().out
    assert out.endswith("</domain>\n")
    assert out.count("\n") == 1
    return out
