# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether KVM can be used: the processor's flag, the device, and a virtual CPU that is really made."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from condor_vac.base.errors import VacError
from condor_vac.worker import kvm_device


class Kernel:
    """KVM's calls: they fail from ``fails`` on (open, vm, vcpu), and what they opened has to be closed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails: str = "", error: int = errno.EBUSY) -> None:
        self.fails, self.error = fails, error
        self.handles: list[int] = []
        self.made: list[str] = []
        monkeypatch.setattr(os, "open", lambda _path, _flags: self.step("open", 100))
        monkeypatch.setattr(os, "close", self.handles.remove)
        monkeypatch.setattr(fcntl, "ioctl", self.ioctl)

    def ioctl(self, handle: int, request: int, _value: int) -> int:
        name, of = {0xAE01: ("vm", 100), 0xAE41: ("vcpu", 101)}[request]
        assert handle == of
        return self.step(name, handle + 1)

    def step(self, name: str, handle: int) -> int:
        if name == self.fails:
            raise OSError(self.error, os.strerror(self.error))
        self.handles.append(handle)
        self.made.append(name)
        return handle


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A node whose processors have svm, and whose /dev/kvm is a device."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "dev").mkdir()
    cpuinfo(tmp_path, "svm", "svm")
    # A device that every user has; no call reaches it.
    (tmp_path / "dev/kvm").symlink_to("/dev/null")
    return tmp_path


def cpuinfo(root: Path, *flags: str) -> None:
    """One entry per CPU."""
    entries = (
        f"processor\t: {n}\nmodel name\t: x\nflags\t\t: fpu {line} nx\nbugs\t: y\n\n" for n, line in enumerate(flags)
    )
    (root / "proc/cpuinfo").write_text("".join(entries))


@pytest.mark.parametrize("flags", [("svm",), ("vmx", "vmx"), ("", "vmx")])
def test_a_flag_and_a_virtual_cpu_are_kvm(root: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]) -> None:
    cpuinfo(root, *flags)
    kernel = Kernel(monkeypatch)
    assert kvm_device.trouble(str(root)) is None
    assert (kernel.made, kernel.handles) == (["open", "vm", "vcpu"], [])


@pytest.mark.parametrize("flags", [(), ("",), ("svm_lock xvmx hypervisor", "sse")])
def test_without_the_flag_a_device_that_works_is_none(
    root: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    cpuinfo(root, *flags)
    kernel = Kernel(monkeypatch)
    found = kvm_device.trouble(str(root))
    assert found is not None
    assert "no processor has the flag svm or vmx" in found.what
    assert "BIOS" in found.remedy
    assert kernel.made == []


def test_a_flag_on_another_line_of_cpuinfo_does_not_count(root: Path) -> None:
    (root / "proc/cpuinfo").write_text(
        "processor : 0\nmodel name : svm vmx\nvmx flags : vnmi\nflags : fpu\nbugs : svm\n"
    )
    assert kvm_device.processor_trouble(str(root)) is not None


@pytest.mark.parametrize(
    ("fails", "error", "words"),
    [
        ("open", errno.EACCES, "does not open: Permission denied"),
        ("vm", errno.EBUSY, "makes no virtual machine: Device or resource busy"),
        ("vcpu", errno.ENOMEM, "makes no virtual CPU: Cannot allocate memory"),
    ],
)
def test_a_device_that_does_not_work(
    root: Path, monkeypatch: pytest.MonkeyPatch, fails: str, error: int, words: str
) -> None:
    kernel = Kernel(monkeypatch, fails, error)
    found = kvm_device.trouble(str(root))
    assert found is not None
    assert found.what == f"/dev/kvm {words}"
    assert "dmesg" in found.remedy
    assert kernel.handles == []


def test_no_device(root: Path) -> None:
    (root / "dev/kvm").unlink()
    found = kvm_device.trouble(str(root))
    assert found is not None
    assert (found.what, found.remedy[:12]) == ("there is no /dev/kvm", "modprobe kvm")


@pytest.mark.parametrize("content", ["", "x"])
def test_a_file_in_the_devices_place_is_never_kvm(root: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    (root / "dev/kvm").unlink()
    (root / "dev/kvm").write_text(content)
    kernel = Kernel(monkeypatch)
    found = kvm_device.trouble(str(root))
    assert found is not None
    assert found.what == "/dev/kvm is a file, not a device"
    assert "/etc/tmpfiles.d/vac_kvm.conf" in found.remedy
    assert kernel.made == []


def test_no_proc(root: Path) -> None:
    (root / "proc/cpuinfo").unlink()
    with pytest.raises(VacError, match="mount /proc"):
        kvm_device.trouble(str(root))
