# SPDX-License-Identifier: GPL-3.0-or-later
"""The libvirt domain of a VM, from the job's validated ad and its lease: a tree, so that no value is markup.

QEMU runs as the job's user (static DAC label, no relabelling): a name in the sandbox that is swapped for a
link leads no further than that user's own rights, and libvirt changes no file's owner. Disks that a VM
writes to die with it, so they are cached without any flush (``unsafe``); a full or failing disk is an error
that the guest sees (``report``), since a VM that QEMU pauses stays for ever.
"""

from __future__ import annotations

import os
import stat
import xml.etree.ElementTree as ET
from typing import NamedTuple

from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.shared import KVM_DEVICE, one_line
from condor_vac.image import qcow2
from condor_vac.worker import kvm_device
from condor_vac.worker.lease.store import Lease
from condor_vac.worker.settings import Settings
from condor_vac.worker.vm.job_ad import FORMATS, Disk, JobAd

# Both are names without a version: a VM starts on any host, whatever its QEMU is called.
_MACHINES = {"x86_64": "q35", "aarch64": "virt"}


class Host(NamedTuple):
    """What a VM is run by: the node's architecture, KVM or emulation, and the group that may use KVM (or None)."""

    architecture: str
    kvm: bool
    kvm_gid: int | None = None

    @classmethod
    def here(cls, *, emulation: bool) -> Host:
        """This node, as root finds it. Raises VacError where KVM does not work and VMs must not be emulated."""
        trouble = kvm_device.trouble()
        if trouble is None:
            status = os.stat(KVM_DEVICE)
            open_to_all = status.st_mode & 0o006 == 0o006
            return cls(os.uname().machine, True, None if open_to_all else status.st_gid)
        if not emulation:
            raise VacError(f"KVM does not work on this node: {trouble.what}; {trouble.remedy}")
        return cls(os.uname().machine, False)


def build(job: JobAd, lease: Lease, settings: Settings, host: Host) -> str:
    """The domain's XML on one line. Raises VacError for what cannot or must not be granted."""
    check(job, lease)
    root = ET.Element("domain", {"type": "kvm" if host.kvm else "qemu"})
    _text(root, "name", job.domain)
    _text(root, "uuid", lease.uuid)
    _text(root, "memory", str(job.memory_mb), unit="MiB")
    _text(root, "vcpu", str(job.processors))
    machine = _MACHINES.get(host.architecture)
    if machine is None:
        raise VacError(f"this node is {host.architecture}; VMs run on {' and '.join(_MACHINES)}")
    _text(ET.SubElement(root, "os"), "type", "hvm", arch=host.architecture, machine=machine)
    features = ET.SubElement(root, "features")
    for feature in ("acpi", "apic") if host.architecture == "x86_64" else ("acpi",):
        ET.SubElement(features, feature)
    _processor(root, host)
    ET.SubElement(root, "clock", {"offset": "utc"})
    for event in ("on_poweroff", "on_reboot", "on_crash"):
        _text(root, event, "destroy")
    devices = ET.SubElement(root, "devices")
    _devices(devices, job, lease, settings)
    if host.architecture == "x86_64":
        # By this a guest whose kernel panics is seen to have crashed; without it it would hold its slot and do nothing.
        ET.SubElement(devices, "panic", {"model": "isa"})
    _identity(root, lease, host)
    return printed(root)


def check(job: JobAd, lease: Lease) -> None:
    """Whether the job and the lease belong together and the VM can be as the job asks. Raises VacError."""
    if lease.domain != job.domain:
        raise VacError(f"{job.domain}: its lease belongs to {lease.domain}")
    if job.working_dir is not None and job.working_dir != lease.sandbox:
        raise VacError(f"{job.domain}: its lease is for another sandbox, {lease.sandbox}")
    if not job.networking:
        raise UsageError("JobVMNetworking: must be true (vm_networking = true): a VM shares by its network")
    if job.mac not in {None, lease.mac}:
        raise UsageError(f"JobVM_MACADDR: the lease gives {lease.mac}; leave vm_macaddr out")


def refusal(reason: str) -> str:
    """A domain that libvirt cannot create, with the reason in libvirt's error message.

    Should LIBVIRT_XML_SCRIPT fail instead, vm-gahp would build a domain of its own, unfiltered and as the
    ad has; this one is an error that the node shows as VMOfflineReason.
    """
    root = ET.Element("domain", {"type": "kvm"})
    _text(root, "name", "condor_vac-refused")
    _text(root, "memory", "1", unit="MiB")
    _text(ET.SubElement(root, "os"), "type", f"condor_vac: {one_line(reason, 300)}")
    return printed(root)


def printed(root: ET.Element) -> str:
    """The element on one line, in ASCII: nobody knows the locale of who prints it."""
    text = ET.tostring(root, encoding="unicode").encode("ascii", "xmlcharrefreplace").decode("ascii")
    if "\n" in text:
        raise VacError("a value of the domain has a line end; is the VM's lease damaged?")
    return text


def _processor(root: ET.Element, host: Host) -> None:
    if host.kvm:
        ET.SubElement(root, "cpu", {"mode": "host-passthrough", "check": "none", "migratable": "off"})
    else:
        ET.SubElement(root, "cpu", {"mode": "maximum"})


def _devices(devices: ET.Element, job: JobAd, lease: Lease, settings: Settings) -> None:
    targets = [_target(disk)["dev"] for disk in job.disks]
    if len(set(targets)) != len(targets):
        raise UsageError(f"vm_disk: two disks would be one device ({', '.join(targets)}); hda is sda here")
    for index, disk in enumerate(job.disks):
        _disk(devices, disk, lease, settings, first=index == 0)
    ET.SubElement(devices, "controller", {"type": "usb", "model": "none"})
    _interface(devices, lease)
    serial = ET.SubElement(devices, "serial", {"type": "file"})
    ET.SubElement(serial, "source", {"path": lease.console, "append": "off"})
    ET.SubElement(serial, "target", {"port": "0"})
    ET.SubElement(ET.SubElement(devices, "video"), "model", {"type": "vga"})
    if job.vnc:
        # A socket in the domain's own directory, which libvirt opens to root and QEMU's user alone; a port on
        # 127.0.0.1 is everybody's on the node, and VNC's passwords have eight characters.
        ET.SubElement(ET.SubElement(devices, "graphics", {"type": "vnc"}), "listen", {"type": "socket"})
    rng = ET.SubElement(devices, "rng", {"model": "virtio"})
    _text(rng, "backend", "/dev/urandom", model="random")
    ET.SubElement(devices, "memballoon", {"model": "none"})


def _interface(devices: ET.Element, lease: Lease) -> None:
    """nat and bridge alike: on the network where the lease's address, filter and exports are."""
    interface = ET.SubElement(devices, "interface", {"type": "network"})
    ET.SubElement(interface, "mac", {"address": lease.mac})
    ET.SubElement(interface, "source", {"network": lease.network})
    ET.SubElement(interface, "model", {"type": "virtio"})
    # Nothing boots from the network, and the option ROM would cost seconds.
    ET.SubElement(interface, "rom", {"enabled": "no"})
    filterref = ET.SubElement(interface, "filterref", {"filter": lease.filter})
    ET.SubElement(filterref, "parameter", {"name": "IP", "value": lease.address})


def _disk(devices: ET.Element, disk: Disk, lease: Lease, settings: Settings, *, first: bool) -> None:
    path = locate(disk, lease.sandbox, settings.image_dir)
    element = ET.SubElement(devices, "disk", {"type": "file", "device": "cdrom" if disk.cdrom else "disk"})
    driver = {"name": "qemu", "type": disk.format}
    if disk.writable and not disk.cdrom:
        driver.update(cache="unsafe", discard="unmap", error_policy="report")
    ET.SubElement(element, "driver", driver)
    source = ET.SubElement(element, "source", {"file": path})
    # The job's user owns what is written to, and the site's images are everybody's to read.
    ET.SubElement(source, "seclabel", {"model": "dac", "relabel": "no"})
    ET.SubElement(element, "target", _target(disk))
    if settings.disk_mb_per_second:
        limits = ET.SubElement(element, "iotune")
        _text(limits, "total_bytes_sec", str(settings.disk_mb_per_second << 20))
    if disk.cdrom or not disk.writable:
        ET.SubElement(element, "readonly")
    if first:
        ET.SubElement(element, "boot", {"order": "1"})


def _target(disk: Disk) -> dict[str, str]:
    """The bus: virtio for vd*, else SATA, since today's machine types have no IDE; hda and sda are one."""
    name = disk.device.rstrip("0123456789")
    if name[:-1] not in {"hd", "sd", "vd", "xvd"}:
        raise UsageError(f"vm_disk: {disk.device}: more disks than letters; use hda to hdd or vda to vdz")
    if name.startswith("vd") and not disk.cdrom:
        return {"dev": name, "bus": "virtio"}
    return {"dev": "sd" + name[-1], "bus": "sata"}


def locate(disk: Disk, sandbox: str, image_dir: str) -> str:
    """The real path of a disk's file: in the job's sandbox, or, to read, an image of the site.

    Raises VacError for anything else, be it a device, another user's file or a link that leads out.
    """
    named = disk.file if disk.file.startswith("/") else f"{sandbox}/{disk.file}"
    path = os.path.realpath(named)
    in_sandbox = path.startswith(os.path.realpath(sandbox) + "/")
    in_images = path.startswith(os.path.realpath(image_dir) + "/")
    if not in_sandbox and not (in_images and not disk.writable):
        raise UsageError(
            f"vm_disk: {named}: neither in the job's sandbox nor, read-only, below {image_dir}; put it there"
        )
    try:
        status = os.stat(path)
    except OSError as error:
        if in_sandbox:
            raise UsageError(f"vm_disk: {named}: {error.strerror}; add it to transfer_input_files") from error
        raise VacError(f"vm_disk: {named}: {error.strerror}; is the image on this node?") from error
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"vm_disk: {named}: not a regular file; give an image")
    if disk.format == "qcow2":
        _check_chain(path, image_dir, of_site=in_images)
    return path


def _check_chain(path: str, image_dir: str, *, of_site: bool) -> None:
    """Whether all that QEMU reads for a qcow2 image may be read. Raises UsageError.

    A site's image stands for itself. One in the sandbox may have a site's image behind it: by its whole path, and with
    its format, since QEMU guesses one that is not named. So there is no third image in the chain.
    """
    header = qcow2.read(path)
    if of_site or header.backing is None:
        qcow2.check_alone(header, f"vm_disk: {path}")
        return
    qcow2.check_data(header, f"vm_disk: {path}")
    shown = f"vm_disk: {path}: its backing file {header.backing[:120]!a}"
    backing = os.path.realpath(header.backing)
    if not header.backing.startswith("/") or not backing.startswith(os.path.realpath(image_dir) + "/"):
        raise UsageError(f"{shown} is not below {image_dir}")
    if not os.path.isfile(backing):
        raise UsageError(f"{shown} is no file on this node")
    if header.backing_format not in FORMATS:
        raise UsageError(f"{shown} has no format in the image; name it, {' or '.join(FORMATS)} (qemu-img rebase -u -F)")
    if header.backing_format == "qcow2":
        qcow2.check_alone(qcow2.read(backing), f"vm_disk: {backing}")


def _identity(root: ET.Element, lease: Lease, host: Host) -> None:
    """QEMU runs as the job's user; libvirt gives that user the files that it makes for QEMU (relabel)."""
    gid = lease.gid if host.kvm_gid is None else host.kvm_gid
    label = ET.SubElement(root, "seclabel", {"type": "static", "model": "dac", "relabel": "yes"})
    _text(label, "label", f"+{lease.uid}:+{gid}")


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, tag, attributes).text = text
