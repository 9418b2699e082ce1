# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the processor and the kernel report about hardware virtualisation, and whether KVM really works."""

from __future__ import annotations

import fcntl
import os
import re
import stat
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import KVM_CREATE_VCPU, KVM_CREATE_VM, KVM_DEVICE

# linux/kvm.h: _IO(0xAE, n)
GET_API_VERSION = 0xAE00
# The only version since Linux 2.6.22.
API_VERSION = 12
# CPU flag: its kernel module, and what firmware calls it.
FLAGS = {"svm": ("kvm_amd", "AMD-V (SVM mode)"), "vmx": ("kvm_intel", "Intel VT-x")}


@dataclass(frozen=True)
class Processor:
    """From /proc/cpuinfo: ``flag`` is svm, vmx or None, ``flagged`` how many of ``count`` CPUs have it."""

    vendor: str
    model: str
    count: int
    flag: str | None
    flagged: int
    virtual: bool

    @property
    def expected_flag(self) -> str:
        """The flag that a processor of this maker would have."""
        return self.flag or ("svm" if self.vendor in {"AuthenticAMD", "HygonGenuine"} else "vmx")

    def describe(self) -> dict[str, Any]:
        """As part of a module's result."""
        return asdict(self)


@dataclass(frozen=True)
class Device:
    """What /dev/kvm did: ``error`` is the first thing that failed, in words, or None.

    What is not a device, such as the empty file that has condor_vm-gahp offer emulated VMs, is not present.
    """

    present: bool
    opens: bool = False
    creates_vm: bool = False
    creates_vcpu: bool = False
    error: str | None = None

    def describe(self) -> dict[str, Any]:
        """As part of a module's result."""
        return asdict(self)


def read_processor(path: str = "/proc/cpuinfo") -> Processor:
    """Raises OSError."""
    with open(path, encoding="utf-8", errors="replace") as stream:
        text = stream.read()
    flags = [set(line.split()) for line in re.findall(r"^flags\s*:(.*)$", text, re.MULTILINE)]
    counts = {flag: sum(flag in found for found in flags) for flag in FLAGS}
    flag = max(counts, key=lambda name: counts[name])
    return Processor(
        vendor=_first(text, "vendor_id"),
        model=_first(text, "model name"),
        count=len(re.findall(r"^processor\s*:", text, re.MULTILINE)),
        flag=flag if counts[flag] else None,
        flagged=counts[flag],
        virtual=any("hypervisor" in found for found in flags),
    )


def probe_device(path: str = KVM_DEVICE) -> Device:
    """Open the device, make a virtual machine with one virtual CPU, and throw both away."""
    try:
        if not stat.S_ISCHR(os.stat(path).st_mode):
            return Device(present=False, error="a file, not a device")
    except FileNotFoundError:
        return Device(present=False)
    handles: list[int] = []
    failure = None
    try:
        handles.append(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        version = fcntl.ioctl(handles[0], GET_API_VERSION, 0)
        if version == API_VERSION:
            handles.append(fcntl.ioctl(handles[0], KVM_CREATE_VM, 0))
            handles.append(fcntl.ioctl(handles[1], KVM_CREATE_VCPU, 0))
        else:
            failure = f"API version {version}"
    except OSError as error:
        failure = error.strerror or str(error)
    finally:
        for handle in reversed(handles):
            os.close(handle)
    made = len(handles)
    return Device(True, opens=made > 0, creates_vm=made > 1, creates_vcpu=made > 2, error=failure)


def nested(root: str = "/") -> bool | None:
    """Whether guests of this node could have guests; None if no module of KVM is loaded."""
    for module, _name in FLAGS.values():
        try:
            with open(os.path.join(root, f"sys/module/{module}/parameters/nested"), encoding="ascii") as stream:
                return stream.read().strip() in {"1", "Y"}
        except FileNotFoundError:
            continue
    return None


def modules(root: str = "/") -> list[str]:
    """The modules of KVM that the kernel has, loaded or built in."""
    folder = os.path.join(root, "sys/module")
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(name for name in names if name == "kvm" or name.startswith("kvm_"))


def _first(text: str, key: str) -> str:
    match = re.search(rf"^{key}\s*:\s*(.*)$", text, re.MULTILINE)
    return match.group(1).strip() if match else ""
