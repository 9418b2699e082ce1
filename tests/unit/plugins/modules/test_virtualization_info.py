# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts and findings about virtualisation, from what real processors, kernels and libvirt 11.3.0 said."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.module_utils._libvirt import kvm
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import KVM_CREATE_VCPU, KVM_CREATE_VM
from ansible_collections.vacuum.htcondor.plugins.modules import virtualization_info

from tests.unit.plugins.harness import Answer, Plugin, Tools, run

CAPABILITIES = """<domainCapabilities>
  <path>/usr/bin/qemu-system-x86_64</path>
  <domain>kvm</domain>
  <machine>pc-i440fx-10.0</machine>
  <arch>x86_64</arch>
  <vcpu max='255'/>
</domainCapabilities>
"""
NO_KVM = (
    "error: failed to get emulator capabilities\n"
    "error: invalid argument: KVM is not supported by '/usr/bin/qemu-system-x86_64' on this host\n"
)
NO_LIBVIRT = (
    "error: failed to connect to the hypervisor\n"
    "error: Failed to connect socket to '/var/run/libvirt/libvirt-sock': No such file or directory\n"
)
GOOD: Answer = (0, CAPABILITIES, "")


def cpuinfo(vendor: str, *flags: str) -> str:
    """One entry per CPU, as Linux 6.12 prints them."""
    return "".join(
        f"processor\t: {number}\nvendor_id\t: {vendor}\nmodel name\t: Test CPU 3000\nflags\t\t: fpu vme {line} nx\n\n"
        for number, line in enumerate(flags)
    )


class Device:
    """/dev/kvm: the calls fail from *fails* on (open, vm, vcpu), and every handle must be closed."""

    def __init__(self, fails: str = "", error: int = errno.EBUSY, version: int = 12) -> None:
        self.fails, self.error, self.version = fails, error, version
        self.handles: list[int] = []

    def open(self, _path: str, _flags: int) -> int:
        return self.step("open", 100)

    def ioctl(self, _handle: int, request: int, _value: int) -> int:
        if request == kvm.GET_API_VERSION:
            return self.version
        return self.step({KVM_CREATE_VM: "vm", KVM_CREATE_VCPU: "vcpu"}[request], request)

    def step(self, name: str, handle: int) -> int:
        if name == self.fails:
            raise OSError(self.error, os.strerror(self.error))
        self.handles.append(handle)
        return handle


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for directory in ("proc", "dev", "sys/module"):
        (tmp_path / directory).mkdir(parents=True)
    return tmp_path


def look(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    processors: str,
    device: Device | None = None,
    modules: tuple[str, ...] = (),
    libvirt: Answer | None = GOOD,
    emulation: bool = False,
) -> dict[str, Any]:
    (root / "proc/cpuinfo").write_text(processors)
    for name in modules:
        (root / "sys/module" / name / "parameters").mkdir(parents=True)
        (root / "sys/module" / name / "parameters/nested").write_text("Y\n" if name == "kvm_intel" else "0\n")
    if device is not None:
        # A device that every user has; none of its calls reaches it.
        (root / "dev/kvm").symlink_to("/dev/null")
        monkeypatch.setattr(kvm.os, "open", device.open)
        monkeypatch.setattr(kvm.os, "close", device.handles.remove)
        monkeypatch.setattr(kvm.fcntl, "ioctl", device.ioctl)
    tools = Tools(lambda _argv, _stdin: libvirt or GOOD, missing=[] if libvirt else ["virsh"])
    result = run(Plugin(virtualization_info, root=str(root)), {"emulation": True} if emulation else {}, tools=tools)
    asked = "qemu" if result["emulated"] else "kvm"
    assert [words[-2:] for words in tools.calls] == ([["--virttype", asked]] if libvirt else [])
    assert emulation or not result["emulated"]
    monkeypatch.undo()
    assert not device or device.handles == []
    assert result["changed"] is False
    assert all(finding["remedy"] for finding in result["findings"])
    return result


def summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    return [(finding["check"], finding["severity"]) for finding in result["findings"]]


@pytest.mark.parametrize(
    ("vendor", "flags", "module", "nested"),
    [
        ("AuthenticAMD", ["svm", "svm sse"], "kvm_amd", False),
        ("GenuineIntel", ["vmx ept"] * 3, "kvm_intel", True),
    ],
)
def test_a_good_node(
    root: Path, monkeypatch: pytest.MonkeyPatch, vendor: str, flags: list[str], module: str, nested: bool
) -> None:
    result = look(root, monkeypatch, processors=cpuinfo(vendor, *flags), device=Device(), modules=("kvm", module))
    assert summary(result) == []
    assert result["usable"]
    assert result["processor"]["flag"] == flags[0].split()[0]
    assert result["processor"]["flagged"] == result["processor"]["count"] == len(flags)
    assert result["modules"] == ["kvm", module]
    assert result["nested"] is nested
    assert result["libvirt"]["max_vcpus"] == 255
    assert all(result["device"][key] for key in ("present", "opens", "creates_vm", "creates_vcpu"))


@pytest.mark.parametrize(
    ("vendor", "extra", "words"),
    [
        ("AuthenticAMD", "", ["svm", "AMD-V (SVM mode) in the BIOS"]),
        ("GenuineIntel", "", ["vmx", "Intel VT-x in the BIOS"]),
        ("GenuineIntel", "hypervisor", ["vmx", "let its host pass vmx on"]),
    ],
)
def test_without_the_flag_nothing_else_counts(
    root: Path, monkeypatch: pytest.MonkeyPatch, vendor: str, extra: str, words: list[str]
) -> None:
    result = look(root, monkeypatch, processors=cpuinfo(vendor, extra, extra), device=Device(), modules=("kvm_pvm",))
    assert summary(result) == [("flags", "error")]
    assert not result["usable"]
    finding = result["findings"][0]
    assert words[0] in finding["message"]
    assert "although /dev/kvm makes virtual machines" in finding["message"]
    assert words[1] in finding["remedy"]


def test_a_name_that_only_contains_the_flag_is_none(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = look(root, monkeypatch, processors=cpuinfo("AuthenticAMD", "svm_lock xvmx"))
    assert result["processor"]["flag"] is None


def test_some_processors_without_the_flag(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = look(root, monkeypatch, processors=cpuinfo("GenuineIntel", "vmx", "", "vmx"), device=Device())
    assert summary(result) == [("flags", "warning")]
    assert result["usable"]
    assert "2 of 3" in result["findings"][0]["message"]


@pytest.mark.parametrize(
    ("device", "modules", "words"),
    [
        (None, (), ["kvm_amd is not loaded", "modprobe kvm_amd"]),
        (None, ("kvm", "kvm_amd"), ["there is no /dev/kvm", "udev"]),
        (Device("open", errno.EACCES), ("kvm_amd",), ["does not open (Permission denied)", "become"]),
        (Device("vm", errno.EBUSY), ("kvm_amd",), ["make a virtual machine (Device or resource busy)", "hypervisors"]),
        (Device("vcpu", errno.ENOMEM), ("kvm_amd",), ["make a virtual CPU (Cannot allocate memory)", "dmesg"]),
        (Device(version=11), ("kvm_amd",), ["API version 11", "dmesg"]),
    ],
)
def test_devices_that_do_not_work(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    device: Device | None,
    modules: tuple[str, ...],
    words: list[str],
) -> None:
    result = look(root, monkeypatch, processors=cpuinfo("AuthenticAMD", "svm"), device=device, modules=modules)
    assert summary(result) == [("device", "error")]
    assert words[0] in result["findings"][0]["message"]
    assert words[1] in result["findings"][0]["remedy"]


@pytest.mark.parametrize(
    ("answer", "severity", "word"),
    [
        (None, "note", "install"),
        ((1, "", NO_LIBVIRT), "warning", "start libvirtd"),
        ((1, "", NO_KVM), "error", "restart libvirt"),
        ((0, CAPABILITIES.replace("<domain>kvm", "<domain>qemu"), ""), "error", "restart libvirt"),
    ],
)
def test_libvirts_own_opinion(
    root: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer | None, severity: str, word: str
) -> None:
    result = look(root, monkeypatch, processors=cpuinfo("AuthenticAMD", "svm"), device=Device(), libvirt=answer)
    assert summary(result) == [("libvirt", severity)]
    assert word in result["findings"][0]["remedy"]
    assert result["usable"] == (severity != "error")


EMULATES: Answer = (0, CAPABILITIES.replace("<domain>kvm", "<domain>qemu"), "")


@pytest.mark.parametrize(
    ("processors", "device", "found"),
    [
        (cpuinfo("AuthenticAMD", ""), None, [("flags", "warning")]),
        (cpuinfo("AuthenticAMD", ""), Device(), [("flags", "warning")]),
        (cpuinfo("GenuineIntel", "vmx"), None, [("device", "warning")]),
        (cpuinfo("GenuineIntel", "vmx"), Device("open", errno.EACCES), [("device", "warning")]),
        (cpuinfo("GenuineIntel", "vmx"), Device("vcpu"), [("device", "warning")]),
    ],
)
def test_missing_kvm_is_not_an_error_where_emulation_is_allowed(
    root: Path, monkeypatch: pytest.MonkeyPatch, processors: str, device: Device | None, found: list[tuple[str, str]]
) -> None:
    result = look(root, monkeypatch, processors=processors, device=device, libvirt=EMULATES, emulation=True)
    assert summary(result) == found
    assert (result["usable"], result["emulated"]) == (True, True)
    assert "virtual machines are emulated, 5 to 20 times slower" in result["findings"][0]["message"]
    assert (result["libvirt"]["emulation"], result["libvirt"]["kvm"]) == (True, False)


def test_kvm_that_works_is_used_where_emulation_is_allowed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processors = cpuinfo("AuthenticAMD", "svm", "svm")
    result = look(root, monkeypatch, processors=processors, device=Device(), emulation=True)
    assert (summary(result), result["emulated"]) == ([], False)
    assert (result["libvirt"]["emulation"], result["libvirt"]["kvm"]) == (False, True)


def test_kvm_that_works_and_libvirt_does_not_offer_is_an_error_all_the_same(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processors = cpuinfo("AuthenticAMD", "svm")
    answer = (1, "", NO_KVM)
    result = look(root, monkeypatch, processors=processors, device=Device(), libvirt=answer, emulation=True)
    assert (summary(result), result["usable"]) == ([("libvirt", "error")], False), "VMs would be of type kvm"


@pytest.mark.parametrize(
    ("answer", "severity"),
    [(None, "note"), ((1, "", NO_LIBVIRT), "warning"), ((1, "", "error: no emulator"), "error"), (GOOD, "error")],
)
def test_emulation_must_be_possible(
    root: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer | None, severity: str
) -> None:
    result = look(root, monkeypatch, processors=cpuinfo("AuthenticAMD", ""), libvirt=answer, emulation=True)
    assert summary(result) == [("flags", "warning"), ("libvirt", severity)]
    assert result["usable"] == (severity != "error")


@pytest.mark.parametrize(("emulation", "severity"), [(False, "error"), (True, "warning")])
def test_a_file_in_the_devices_place_is_not_a_device(
    root: Path, monkeypatch: pytest.MonkeyPatch, emulation: bool, severity: str
) -> None:
    (root / "dev/kvm").write_text("")
    answer = EMULATES if emulation else GOOD
    result = look(root, monkeypatch, processors=cpuinfo("AuthenticAMD", "svm"), libvirt=answer, emulation=emulation)
    assert summary(result) == [("device", severity)]
    assert result["device"]["present"] is False
    assert "/dev/kvm is a file, not a device" in result["findings"][0]["message"]
    assert "/etc/tmpfiles.d" in result["findings"][0]["remedy"]


def test_no_proc(root: Path) -> None:
    result = run(Plugin(virtualization_info, root=str(root)), {}, tools=Tools(lambda _argv, _stdin: GOOD))
    assert result["failed"]
    assert "proc/cpuinfo" in result["msg"]
