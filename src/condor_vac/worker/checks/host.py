# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine itself: processor, KVM, libvirt's opinion, confinement, programs, services and their order."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from condor_vac.base import tools
from condor_vac.base.errors import VacError
from condor_vac.base.findings import Finding
from condor_vac.worker import kvm_device
from condor_vac.worker.checks.node import CONVERGE, Check, Node, program, unit_findings

# Each line: programs of which one must be there, and what for.
_PROGRAMS = (
    (("virsh",), "asking libvirt"),
    (("qemu-system-x86_64", "qemu-kvm"), "running VMs"),
    (("qemu-img",), "making disks"),
    (("dnsmasq",), "the VMs' DHCP and DNS"),
    (("exportfs",), "sharing directories with VMs"),
    (("xorriso", "genisoimage"), "making context ISOs"),
    (("sudo",), "the hooks' way to vac_lease"),
    (("condor_vm-gahp",), "HTCondor's VM universe"),
)


def processor(node: Node) -> list[Finding]:
    """Every processor can virtualize (flag svm or vmx), or VMs may be emulated."""
    trouble = kvm_device.processor_trouble(node.root)
    if trouble is not None:
        return [_unless_emulated(node, trouble)]
    flags = [set(line.split()) for line in re.findall(r"^flags\s*:(.*)$", node.text(kvm_device.CPUINFO), re.MULTILINE)]
    able = sum(1 for found in flags if found & kvm_device.FLAGS)
    if able < len(flags):
        remedy = "enable AMD-V (SVM) or Intel VT-x in the BIOS for all of them"
        return [Finding(f"only {able} of {len(flags)} processors have the flag svm or vmx", remedy)]
    return []


def kvm(node: Node) -> list[Finding]:
    """/dev/kvm makes a virtual machine with a virtual CPU; both are gone again afterwards."""
    trouble = kvm_device.device_trouble(node.root)
    return [] if trouble is None else [_unless_emulated(node, trouble)]


def libvirt(node: Node) -> list[Finding]:
    """libvirt runs guests in the way in which this node's VMs run: with KVM, or emulated."""
    emulated = node.emulation and kvm_device.trouble(node.root) is not None
    kind, name = ("qemu", "emulation") if emulated else ("kvm", "KVM")
    try:
        root = parse(node.virsh("domcapabilities", "--virttype", kind))
    except tools.ToolError as error:
        remedy = f"systemctl restart {node.libvirt_unit} (running VMs continue)"
        return [Finding(f"libvirt offers no {name}: {error}", remedy)]
    if root.findtext("domain") != kind:
        remedy = "install qemu-kvm (Debian: qemu-system-x86) and restart libvirt"
        return [Finding(f"libvirt offers no {name}", remedy)]
    return []


def _unless_emulated(node: Node, trouble: kvm_device.Trouble) -> Finding:
    """What keeps VMs from KVM: a note where they may be emulated instead."""
    if not node.emulation:
        return Finding(trouble.what, trouble.remedy)
    return Finding(f"VMs are emulated, 5 to 20 times slower (worker_emulation): {trouble.what}", trouble.remedy, True)


def confinement(node: Node) -> list[Finding]:
    """Where the kernel has AppArmor or SELinux on, libvirt confines VMs by it."""
    armed = node.text("/sys/module/apparmor/parameters/enabled").strip() == "Y"
    enforcing = node.text("/sys/fs/selinux/enforce").strip()
    if enforcing == "0":
        return [Finding("SELinux is permissive: it only logs what VMs must not do", "setenforce 1, and in its config")]
    kind = "selinux" if enforcing == "1" else "apparmor" if armed else None
    if kind is None:
        return []
    models = {element.text for element in parse(node.virsh("capabilities")).iter("model") if element.text}
    if kind not in models:
        remedy = f"install {kind}'s user-space tools and restart {node.libvirt_unit} (running VMs continue)"
        return [Finding(f"{kind} is on, but libvirt does not confine VMs by it", remedy)]
    return []


def programs(node: Node) -> list[Finding]:
    """Every tool that the node's programs call is installed."""
    sbin = [node.knobs[name] for name in ("sbin", "libexec", "bin") if name in node.knobs]
    found = []
    for names, purpose in _PROGRAMS:
        if not any(program(name, [*sbin, "/usr/libexec"]) for name in names):
            found.append(Finding(f"{' or '.join(names)} is missing ({purpose})", CONVERGE))
    return found


def libvirt_service(node: Node) -> list[Finding]:
    """libvirt runs now and after a reboot."""
    return unit_findings(node, node.libvirt_unit)


def condor_service(node: Node) -> list[Finding]:
    """HTCondor runs now and after a reboot, and starts after libvirt, which its startd probes when it starts."""
    found = unit_findings(node, "condor.service")
    if node.libvirt_unit not in node.unit("condor.service").get("After", "").split():
        what = f"HTCondor may start before {node.libvirt_unit}, and then finds no VM universe"
        found.append(Finding(what, CONVERGE))
    return found


def parse(xml: str) -> ET.Element:
    """libvirt's XML. Raises VacError."""
    try:
        return ET.fromstring(xml)  # noqa: S314 - it comes from root's own libvirt
    except ET.ParseError as error:
        raise VacError(f"libvirt's answer is not XML: {error}") from error


PREFLIGHT = (
    Check("preflight", "processor", processor),
    Check("preflight", "KVM", kvm),
    Check("preflight", "libvirt and KVM", libvirt),
    Check("preflight", "confinement of VMs", confinement),
    Check("packages", "programs", programs),
)
SERVICES = (
    Check("services", "libvirt", libvirt_service),
    Check("services", "HTCondor", condor_service),
)
