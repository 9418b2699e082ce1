# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole of a domain, element by element: libvirt passes over a misspelled one without a word."""

from __future__ import annotations

import os
import stat
import types
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.shared import KVM_DEVICE
from condor_vac.image import qcow2
from condor_vac.worker import kvm_device
from condor_vac.worker.lease.store import Lease
from condor_vac.worker.vm import domain_xml
from condor_vac.worker.vm.domain_xml import Host
from condor_vac.worker.vm.job_ad import Disk, JobAd
from tests.unit.condor_vac.worker.conftest import GID, UID, Node

RAW = "<source file='{}'><seclabel model='dac' relabel='no' /></source>"
DEVICES = """
<controller type='usb' model='none' />
<interface type='network'><mac address='{lease.mac}' /><source network='vac' /><model type='virtio' />
<rom enabled='no' /><filterref filter='clean-traffic'><parameter name='IP' value='192.168.86.10' /></filterref>
</interface>
<serial type='file'><source path='{lease.console}' append='off' /><target port='0' /></serial>
<video><model type='vga' /></video>
{graphics}
<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
<memballoon model='none' />
"""
ON_KVM = """
<domain type='kvm'>
<name>vac_lab_7.0</name><uuid>{lease.uuid}</uuid><memory unit='MiB'>2048</memory><vcpu>2</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os>
<features><acpi /><apic /></features>
<cpu mode='host-passthrough' check='none' migratable='off' />
<clock offset='utc' />
<on_poweroff>destroy</on_poweroff><on_reboot>destroy</on_reboot><on_crash>destroy</on_crash>
<devices>
<disk type='file' device='cdrom'><driver name='qemu' type='raw' />{iso}<target dev='sda' bus='sata' />
<readonly /><boot order='1' /></disk>
<disk type='file' device='disk'>
<driver name='qemu' type='raw' cache='unsafe' discard='unmap' error_policy='report' />{scratch}
<target dev='vda' bus='virtio' /></disk>
{devices}
<panic model='isa' />
</devices>
<seclabel type='static' model='dac' relabel='yes'><label>+{uid}:+993</label></seclabel>
</domain>
"""
EMULATED = """
<domain type='qemu'>
<name>vac_lab_7.0</name><uuid>{lease.uuid}</uuid><memory unit='MiB'>2048</memory><vcpu>2</vcpu>
<os><type arch='aarch64' machine='virt'>hvm</type></os>
<features><acpi /></features>
<cpu mode='maximum' />
<clock offset='utc' />
<on_poweroff>destroy</on_poweroff><on_reboot>destroy</on_reboot><on_crash>destroy</on_crash>
<devices>
<disk type='file' device='disk'><driver name='qemu' type='raw' />{scratch}<target dev='vda' bus='virtio' />
<iotune><total_bytes_sec>5242880</total_bytes_sec></iotune><readonly /><boot order='1' /></disk>
{devices}
</devices>
<seclabel type='static' model='dac' relabel='yes'><label>+{uid}:+{gid}</label></seclabel>
</domain>
"""
VNC = "<graphics type='vnc'><listen type='socket' /></graphics>"


@pytest.fixture
def lease(node: Node) -> Lease:
    found = node.acquire()
    for name in ("cernvm.iso", "scratch.raw"):
        Path(found.sandbox, name).write_bytes(b"x")
    return found


def expected(text: str, lease: Lease, graphics: str = "") -> str:
    iso, scratch = (RAW.format(f"{lease.sandbox}/{name}") for name in ("cernvm.iso", "scratch.raw"))
    devices = DEVICES.format(lease=lease, graphics=graphics)
    made = text.format(lease=lease, iso=iso, scratch=scratch, devices=devices, uid=UID, gid=GID)
    return made.replace("\n", "").replace("'", '"')


def test_a_domain_on_kvm(node: Node, job: JobAd, lease: Lease) -> None:
    made = domain_xml.build(job, lease, node.settings, Host("x86_64", True, 993))
    assert made == expected(ON_KVM, lease)


def test_an_emulated_domain_of_another_architecture(node: Node, job: JobAd, lease: Lease) -> None:
    node.settings = node.settings._replace(disk_mb_per_second=5)
    job = job._replace(vnc=True, disks=(Disk("scratch.raw", "vda", False, "raw"),))
    made = domain_xml.build(job, lease, node.settings, Host("aarch64", False))
    assert made == expected(EMULATED, lease, VNC)


def test_an_architecture_that_runs_none(node: Node, job: JobAd, lease: Lease) -> None:
    with pytest.raises(VacError, match=r"^this node is riscv64; VMs run on x86_64 and aarch64$"):
        domain_xml.build(job, lease, node.settings, Host("riscv64", True))


def test_a_refusal() -> None:
    assert domain_xml.refusal("no\nlease") == (
        '<domain type="kvm"><name>condor_vac-refused</name><memory unit="MiB">1</memory>'
        "<os><type>condor_vac: no lease</type></os></domain>"
    )
    assert len(ET.fromstring(domain_xml.refusal("x" * 1000)).findtext("os/type") or "") == len("condor_vac: ") + 300


@pytest.mark.parametrize(
    ("mode", "gid"), [(0o666, None), (0o660, 7), (0o667, None), (0o662, 7), (0o664, 7), (0o661, 7)]
)
def test_whose_group_may_use_kvm(node: Node, monkeypatch: pytest.MonkeyPatch, mode: int, gid: int | None) -> None:
    real = os.stat

    def fake(path: Any, **options: Any) -> Any:
        if path == KVM_DEVICE:
            return types.SimpleNamespace(st_mode=stat.S_IFCHR | mode, st_gid=7)
        return real(path, **options)

    monkeypatch.setattr(os, "stat", fake)
    assert Host.here(emulation=False) == Host(os.uname().machine, True, gid)


def test_where_kvm_does_not_work_vms_are_emulated_if_they_may(node: Node) -> None:
    node.kvm_trouble = kvm_device.Trouble("no device", "load a module")
    assert Host.here(emulation=True) == Host(os.uname().machine, False, None)
    with pytest.raises(VacError, match=r"^KVM does not work on this node: no device; load a module$"):
        Host.here(emulation=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"domain": "vac_lab_8.0"}, r"^vac_lab_8\.0: its lease belongs to vac_lab_7\.0$"),
        ({"working_dir": "/x"}, r"^vac_lab_7\.0: its lease is for another sandbox, /.*/dir_1$"),
        (
            {"networking": False},
            r"^JobVMNetworking: must be true \(vm_networking = true\): a VM shares by its network$",
        ),
        ({"mac": "52:54:00:00:00:01"}, r"^JobVM_MACADDR: the lease gives ([0-9a-f]{2}:?){6}; leave vm_macaddr out$"),
    ],
)
def test_a_job_and_a_lease_that_do_not_belong_together(
    job: JobAd, lease: Lease, changes: dict[str, Any], message: str
) -> None:
    domain_xml.check(job._replace(mac=lease.mac, working_dir=lease.sandbox), lease)
    with pytest.raises(VacError, match=message):
        domain_xml.check(job._replace(**changes), lease)


@pytest.mark.parametrize(
    ("device", "cdrom", "target"),
    [
        ("hda", False, ("sda", "sata")),
        ("hdd2", False, ("sdd", "sata")),
        ("sdb", False, ("sdb", "sata")),
        ("xvdc", False, ("sdc", "sata")),
        ("vdz10", False, ("vdz", "virtio")),
        ("vda", True, ("sda", "sata")),
    ],
)
def test_which_device_a_disk_is(device: str, cdrom: bool, target: tuple[str, str]) -> None:
    disk = Disk("a.iso" if cdrom else "a.raw", device, False, "raw")
    assert domain_xml._target(disk) == dict(zip(("dev", "bus"), target))


def test_more_disks_than_letters() -> None:
    message = r"^vm_disk: vdaa: more disks than letters; use hda to hdd or vda to vdz$"
    with pytest.raises(UsageError, match=message):
        domain_xml._target(Disk("a.raw", "vdaa", True, "raw"))


def test_two_disks_of_one_device(node: Node, job: JobAd, lease: Lease) -> None:
    job = job._replace(disks=tuple(Disk("scratch.raw", name, True, "raw") for name in ("hda", "vdb", "sda")))
    message = r"^vm_disk: two disks would be one device \(sda, vdb, sda\); hda is sda here$"
    with pytest.raises(UsageError, match=message):
        domain_xml.build(job, lease, node.settings, Host("x86_64", True))


def test_where_a_disk_may_be(node: Node, lease: Lease) -> None:
    images = node.settings.image_dir
    Path(images, "site.raw").touch()
    Path(lease.sandbox, "sub").mkdir()

    def located(file: str, writable: bool) -> str:
        return domain_xml.locate(Disk(file, "vda", writable, "raw"), lease.sandbox, images)

    site, own = f"{images}/site.raw", f"{lease.sandbox}/scratch.raw"
    assert (located(site, False), located(own, True), located("scratch.raw", True)) == (site, own, own)
    outside = f"neither in the job's sandbox nor, read-only, below {images}; put it there"
    for file, writable, message in (
        (site, True, outside),
        ("/etc/hostname", False, outside),
        (f"{lease.sandbox}x/a", False, outside),
        (f"{images}x/a", False, outside),
        (lease.sandbox, False, outside),
        (images, False, outside),
        (f"{lease.sandbox}/none", True, "No such file or directory; add it to transfer_input_files"),
        (f"{lease.sandbox}/sub", True, "not a regular file; give an image"),
        (f"{images}/none", False, "No such file or directory; is the image on this node?"),
    ):
        with pytest.raises(VacError) as found:
            located(file, writable)
        assert str(found.value) == f"vm_disk: {file}: {message}"
        assert isinstance(found.value, UsageError) is not message.endswith("on this node?")


def test_a_domain_is_one_line_of_ascii() -> None:
    element = ET.Element("a")
    element.text = "caf\N{LATIN SMALL LETTER E WITH ACUTE}"
    assert domain_xml.printed(element) == "<a>caf&#233;</a>"
    element.text = "a\nb"
    with pytest.raises(VacError, match=r"^a value of the domain has a line end; is the VM's lease damaged\?$"):
        domain_xml.printed(element)


def test_a_backing_file_without_a_format_is_refused_with_those_there_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a.raw").touch()
    header = types.SimpleNamespace(backing=f"{tmp_path}/a.raw", backing_format=None)
    monkeypatch.setattr(qcow2, "read", lambda path: header)
    monkeypatch.setattr(qcow2, "check_data", lambda *_: None)
    message = "has no format in the image; name it, raw or qcow2 (qemu-img rebase -u -F)"
    with pytest.raises(UsageError) as found:
        domain_xml._check_chain("/s/b.qcow2", str(tmp_path), of_site=False)
    assert str(found.value) == f"vm_disk: /s/b.qcow2: its backing file '{tmp_path}/a.raw' {message}"
    header.backing = "/" + "x" * 200
    with pytest.raises(UsageError) as found:
        domain_xml._check_chain("/s/b.qcow2", str(tmp_path), of_site=False)
    shown = "/" + "x" * 119
    assert str(found.value) == f"vm_disk: /s/b.qcow2: its backing file '{shown}' is not below {tmp_path}"
