#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a node can run virtual machines, and what to do if it cannot."""

from __future__ import annotations

DOCUMENTATION = r"""
module: virtualization_info
short_description: Whether a node can run virtual machines, and what to do if it cannot
version_added: 0.1.0
description:
  - Looks at the processor's flags, makes a virtual machine with one virtual CPU through C(/dev/kvm) and throws it away,
    and asks libvirt for its own opinion if libvirt is there.
  - The processor's flag decides. C(/dev/kvm) may exist and make machines, and ordinary guests still fail, where the
    processor has neither V(svm) nor V(vmx).
  - Where virtual machines may be emulated (O(emulation)), what keeps them from KVM is not an error. libvirt is then
    asked whether it can emulate.
  - Every finding comes with a remedy.
  - Changes nothing. Opening C(/dev/kvm) needs root or membership of its group.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
  idempotent:
    support: full
  platform:
    support: full
    platforms: linux
options:
  uri:
    description: The connection to libvirt.
    type: str
    default: qemu:///system
  emulation:
    description:
      - Whether virtual machines may be emulated where KVM does not work, 5 to 20 times slower. For trials and tests.
      - Findings of the checks V(flags) and V(device) are then of severity V(warning).
    type: bool
    default: false
author:
  - The vacuum.htcondor developers (@vacuum-htcondor)
extends_documentation_fragment:
  - vacuum.htcondor.attributes.info
"""

EXAMPLES = r"""
- name: Look at the node
  vacuum.htcondor.virtualization_info:
  register: virtualization

- name: Stop on a node that cannot run virtual machines
  ansible.builtin.assert:
    that: virtualization.usable
    fail_msg: "{{ virtualization.findings | map(attribute='message') | join('; ') }}"
"""

RETURN = r"""
usable:
  description: Whether there is no finding of severity V(error).
  returned: success
  type: bool
emulated:
  description: Whether virtual machines are emulated on this node, since O(emulation) allows it and KVM does not work.
  returned: success
  type: bool
findings:
  description: What is wrong.
  returned: success
  type: list
  elements: dict
  contains:
    check:
      description: What was checked.
      type: str
      sample: flags
    severity:
      description: V(error) if no virtual machine can run, V(warning) if some may not, V(note) if nothing is wrong yet.
      type: str
      sample: error
    message:
      description: What is wrong.
      type: str
      sample: no CPU has the flag svm
    remedy:
      description: What to do.
      type: str
      sample: enable AMD-V (SVM mode) in the BIOS
architecture:
  description: The kernel's name for the processor's architecture.
  returned: success
  type: str
  sample: x86_64
processor:
  description: The processor.
  returned: success
  type: dict
  contains:
    vendor:
      description: Its maker's mark.
      type: str
      sample: AuthenticAMD
    model:
      description: Its name.
      type: str
      sample: AMD EPYC 7543 32-Core Processor
    count:
      description: Number of logical CPUs.
      type: int
      sample: 64
    flag:
      description: V(svm), V(vmx), or nothing.
      type: str
      sample: svm
    flagged:
      description: How many CPUs have the flag.
      type: int
      sample: 64
    virtual:
      description: Whether the node is a virtual machine itself.
      type: bool
      sample: false
device:
  description: What C(/dev/kvm) did.
  returned: success
  type: dict
  contains:
    present:
      description: Whether it exists and is a device.
      type: bool
    opens:
      description: Whether it could be opened.
      type: bool
    creates_vm:
      description: Whether it made a virtual machine.
      type: bool
    creates_vcpu:
      description: Whether it gave the machine a virtual CPU.
      type: bool
    error:
      description: The first failure.
      type: str
modules:
  description: KVM's modules in the kernel.
  returned: success
  type: list
  elements: str
  sample: [kvm, kvm_amd]
nested:
  description: Whether guests could have guests. Nothing if no module of KVM is loaded.
  returned: success
  type: bool
libvirt:
  description: What libvirt reports.
  returned: success
  type: dict
  contains:
    installed:
      description: Whether C(virsh) is there.
      type: bool
    kvm:
      description: Whether libvirt can run guests with KVM. Not asked where virtual machines are emulated.
      type: bool
    emulation:
      description: Whether libvirt can emulate guests. Only asked where virtual machines are emulated.
      type: bool
    emulator:
      description: The program that would run them.
      type: str
      sample: /usr/bin/qemu-system-x86_64
    max_vcpus:
      description: The most virtual CPUs of one guest.
      type: int
      sample: 255
    error:
      description: libvirt's reason if not.
      type: str
"""

import os
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._command import Command
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import FileError, run_module
from ansible_collections.vacuum.htcondor.plugins.module_utils._libvirt import kvm
from ansible_collections.vacuum.htcondor.plugins.module_utils._libvirt import network as vm_network
from ansible_collections.vacuum.htcondor.plugins.module_utils._libvirt.virsh import Virsh

# The images of the experiments are for this one.
ARCHITECTURE = "x86_64"


class VirtualizationInfo:
    """Gathers the facts, then judges them."""

    def __init__(self, module: AnsibleModule, root: str = "/") -> None:
        self.module = module
        self.root = root
        self.command = Command(module)
        self.findings: list[dict[str, str]] = []
        self.emulated = False

    def run(self) -> dict[str, Any]:
        """Facts and findings. Raises FileError if /proc is not there."""
        architecture = os.uname().machine
        try:
            processor = kvm.read_processor(os.path.join(self.root, "proc/cpuinfo"))
        except OSError as error:
            raise FileError(f"cannot read {error.filename} ({error.strerror})", "mount /proc") from error
        device = kvm.probe_device(os.path.join(self.root, "dev/kvm"))
        loaded = kvm.modules(self.root)
        self.emulated = self.module.params["emulation"] and not (processor.flag and device.creates_vcpu)
        libvirt = self._libvirt()
        if architecture != ARCHITECTURE:
            self._find("architecture", "error", f"the processor is {architecture}", f"use {ARCHITECTURE} nodes")
        self._judge_processor(processor, device)
        if processor.flag:
            self._judge_device(processor, device, loaded)
        if processor.flag or self.emulated:
            self._judge_libvirt(libvirt)
        return {
            "changed": False,
            "usable": all(finding["severity"] != "error" for finding in self.findings),
            "emulated": self.emulated,
            "findings": self.findings,
            "architecture": architecture,
            "processor": processor.describe(),
            "device": device.describe(),
            "modules": loaded,
            "nested": kvm.nested(self.root),
            "libvirt": libvirt,
        }

    def _libvirt(self) -> dict[str, Any]:
        answer: dict[str, Any] = {"installed": False, "kvm": False, "emulation": False}
        answer.update(emulator="", max_vcpus=0, error="")
        if self.command.find("virsh") is None:
            return answer
        kind = "qemu" if self.emulated else "kvm"
        result = Virsh(self.command, self.module.params["uri"]).domain_capabilities(kind)
        if not result.ok:
            return {**answer, "installed": True, "error": result.complaint()}
        root = vm_network.parse(result.stdout)
        vcpu = root.find("vcpu")
        return {
            "installed": True,
            "kvm": not self.emulated and root.findtext("domain") == kind,
            "emulation": self.emulated and root.findtext("domain") == kind,
            "emulator": root.findtext("path") or "",
            "max_vcpus": int(vcpu.get("max", "0")) if vcpu is not None else 0,
            "error": "",
        }

    def _judge_processor(self, processor: kvm.Processor, device: kvm.Device) -> None:
        flag = processor.expected_flag
        _module, name = kvm.FLAGS[flag]
        if processor.flag is None:
            message = f"no CPU has the flag {flag}"
            if device.creates_vm:
                message += ", so ordinary guests fail although /dev/kvm makes virtual machines"
            remedy = f"enable {name} in the BIOS"
            if processor.virtual:
                remedy = f"the node is a virtual machine: let its host pass {flag} on (nested=1, host-passthrough)"
            self._keeps_from_kvm("flags", message, remedy)
        elif processor.flagged < processor.count:
            message = f"only {processor.flagged} of {processor.count} CPUs have the flag {flag}"
            self._find("flags", "warning", message, f"enable {name} in the BIOS for all of them")

    def _judge_device(self, processor: kvm.Processor, device: kvm.Device, loaded: list[str]) -> None:
        module, name = kvm.FLAGS[processor.expected_flag]
        if device.error and not device.present:
            remedy = f"remove it, and what makes it from /etc/tmpfiles.d; then modprobe {module}"
            self._keeps_from_kvm("device", f"/dev/kvm is {device.error}", remedy)
        elif not device.present and module not in loaded:
            remedy = f"modprobe {module}; if that fails, enable {name} in the BIOS or install the kernel's modules"
            self._keeps_from_kvm("device", f"there is no /dev/kvm, and module {module} is not loaded", remedy)
        elif not device.present:
            self._keeps_from_kvm("device", "there is no /dev/kvm", "restart systemd-udevd, or leave the container")
        elif not device.opens:
            self._keeps_from_kvm("device", f"/dev/kvm does not open ({device.error})", "run this task with become")
        elif not device.creates_vcpu:
            what = "a virtual CPU" if device.creates_vm else "a virtual machine"
            remedy = "stop other hypervisors (VirtualBox, VMware), and check dmesg for kvm"
            self._keeps_from_kvm("device", f"/dev/kvm does not make {what} ({device.error})", remedy)

    def _judge_libvirt(self, libvirt: dict[str, Any]) -> None:
        if not libvirt["installed"]:
            self._find("libvirt", "note", "libvirt is not installed yet", "install it with the worker role")
        elif "failed to connect" in libvirt["error"]:
            self._find("libvirt", "warning", libvirt["error"], "start libvirtd, or virtqemud")
        elif not libvirt["emulation" if self.emulated else "kvm"]:
            reason = libvirt["error"] or f"libvirt offers no {'emulation' if self.emulated else 'KVM'}"
            remedy = "install qemu-kvm (Debian: qemu-system-x86) and restart libvirt, which remembers what it saw"
            self._find("libvirt", "error", reason, remedy)

    def _keeps_from_kvm(self, check: str, message: str, remedy: str) -> None:
        if self.emulated:
            self._find(check, "warning", f"{message}: virtual machines are emulated, 5 to 20 times slower", remedy)
        else:
            self._find(check, "error", message, remedy)

    def _find(self, check: str, severity: str, message: str, remedy: str) -> None:
        finding = {"check": check, "severity": severity, "message": message, "remedy": remedy}
        self.findings.append(finding)


ARGUMENTS: dict[str, Any] = {
    "uri": {"type": "str", "default": "qemu:///system"},
    "emulation": {"type": "bool", "default": False},
}


def main(build: Callable[[AnsibleModule], VirtualizationInfo] = VirtualizationInfo) -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    run_module(module, lambda: build(module).run())


if __name__ == "__main__":
    main()
