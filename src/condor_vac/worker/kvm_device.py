# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether VMs can have KVM on this node: by the processor's own word, and by making a virtual CPU.

The processor's flag comes first: /dev/kvm may exist and make virtual CPUs, and ordinary guests still fail, where
the processor has neither svm nor vmx. Imports little, since a VM waits for a program that asks here.
"""

from __future__ import annotations

import fcntl
import os
import stat
from typing import NamedTuple

from condor_vac.base.errors import VacError
from condor_vac.base.shared import KVM_CREATE_VCPU, KVM_CREATE_VM, KVM_DEVICE

CPUINFO = "/proc/cpuinfo"
# Has an empty file made in the device's place where VMs are emulated: condor_vm-gahp only asks whether it can be read.
PLACEHOLDER = "/etc/tmpfiles.d/vac_kvm.conf"
FLAGS = frozenset({"svm", "vmx"})


class Trouble(NamedTuple):
    """Why KVM cannot be used, and what to do about it."""

    what: str
    remedy: str


def trouble(root: str = "") -> Trouble | None:
    """Why VMs cannot have KVM here; None if they can. ``root`` goes before every path.

    For root: others may not be let into the device. Raises VacError if /proc cannot be read.
    """
    return processor_trouble(root) or device_trouble(root)


def processor_trouble(root: str = "") -> Trouble | None:
    """Whether a processor has the flag; reads no further than that. Raises VacError if /proc cannot be read."""
    try:
        with open(root + CPUINFO, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                if line.startswith("flags") and not FLAGS.isdisjoint(line.split()):
                    return None
    except OSError as error:
        raise VacError(f"{CPUINFO}: {error.strerror}; mount /proc") from error
    remedy = "enable AMD-V (SVM) or Intel VT-x in the BIOS; on a virtual node, let its host pass the flag on"
    return Trouble("no processor has the flag svm or vmx", remedy)


def device_trouble(root: str = "") -> Trouble | None:
    """Whether /dev/kvm makes a virtual machine with a virtual CPU; both are gone again afterwards."""
    path = root + KVM_DEVICE
    try:
        if not stat.S_ISCHR(os.stat(path).st_mode):
            remedy = f"rm {KVM_DEVICE} {PLACEHOLDER}, then modprobe kvm_amd or kvm_intel"
            return Trouble(f"{KVM_DEVICE} is a file, not a device", remedy)
    except FileNotFoundError:
        return Trouble(f"there is no {KVM_DEVICE}", "modprobe kvm_amd or kvm_intel; see dmesg if that fails")
    handles: list[int] = []
    try:
        handles.append(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        handles.append(fcntl.ioctl(handles[0], KVM_CREATE_VM, 0))
        handles.append(fcntl.ioctl(handles[1], KVM_CREATE_VCPU, 0))
    except OSError as error:
        made = ("does not open", "makes no virtual machine", "makes no virtual CPU")[len(handles)]
        remedy = "stop other hypervisors (VirtualBox, VMware), and check dmesg for kvm"
        return Trouble(f"{KVM_DEVICE} {made}: {error.strerror}", remedy)
    finally:
        for handle in reversed(handles):
            os.close(handle)
    return None
