# SPDX-License-Identifier: GPL-3.0-or-later
"""Which device of which bus each of a job's disks is in its VM, and what the VM may do to it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from condor_vac.base.errors import UsageError
from condor_vac.worker.lease.store import Lease
from condor_vac.worker.vm import domain_xml
from condor_vac.worker.vm.domain_xml import Host
from condor_vac.worker.vm.job_ad import Disk, JobAd
from tests.unit.condor_vac.worker.conftest import Node

HOST = Host("x86_64", True, 993)


@pytest.fixture
def lease(node: Node) -> Lease:
    found = node.acquire()
    for name in ("boot.iso", "LIVE.ISO", "root.raw", "scratch.raw"):
        Path(found.sandbox, name).write_bytes(b"x")
    return found


def disks(node: Node, job: JobAd, lease: Lease, *asked: Disk) -> list[ET.Element]:
    root = ET.fromstring(domain_xml.build(job._replace(disks=asked), lease, node.settings, HOST))
    return root.findall("devices/disk")


@pytest.mark.parametrize(
    ("file", "device", "kind", "name", "bus"),
    [
        ("root.raw", "vda", "disk", "vda", "virtio"),
        ("root.raw", "vdc", "disk", "vdc", "virtio"),
        ("root.raw", "hdb", "disk", "sdb", "sata"),
        ("root.raw", "sdd", "disk", "sdd", "sata"),
        ("root.raw", "xvde", "disk", "sde", "sata"),
        ("root.raw", "sda1", "disk", "sda", "sata"),
        ("boot.iso", "hda", "cdrom", "sda", "sata"),
        ("boot.iso", "sdc", "cdrom", "sdc", "sata"),
        # There is no CD drive on the virtio bus: libvirt refuses the domain.
        ("boot.iso", "vda", "cdrom", "sda", "sata"),
        ("LIVE.ISO", "vdb", "cdrom", "sdb", "sata"),
    ],
)
def test_bus_and_name(
    node: Node, job: JobAd, lease: Lease, file: str, device: str, kind: str, name: str, bus: str
) -> None:
    (disk,) = disks(node, job, lease, Disk(file, device, False, "raw"))
    target = disk.find("target")
    assert target is not None
    assert (disk.get("device"), target.attrib) == (kind, {"dev": name, "bus": bus})


@pytest.mark.parametrize(
    ("file", "asked", "writable"),
    [("root.raw", True, True), ("root.raw", False, False), ("boot.iso", True, False), ("boot.iso", False, False)],
)
def test_a_cd_is_never_written_to(node: Node, job: JobAd, lease: Lease, file: str, asked: bool, writable: bool) -> None:
    (disk,) = disks(node, job, lease, Disk(file, "vda", asked, "raw"))
    driver = disk.find("driver")
    assert driver is not None
    assert (disk.find("readonly") is None) is writable
    assert (driver.get("cache") == "unsafe") is writable


def test_a_cd_named_vda_leaves_vda_to_a_disk(node: Node, job: JobAd, lease: Lease) -> None:
    asked = (Disk("boot.iso", "vda", False, "raw"), Disk("scratch.raw", "vdb", True, "raw"))
    found = disks(node, job, lease, *asked)
    targets = [target.attrib for disk in found for target in disk.findall("target")]
    assert targets == [{"dev": "sda", "bus": "sata"}, {"dev": "vdb", "bus": "virtio"}]
    assert [disk.find("boot") is not None for disk in found] == [True, False]


@pytest.mark.parametrize("second", ["hda", "sda", "xvda"])
def test_a_cd_named_vda_takes_the_place_of_the_first_sata_disk(
    node: Node, job: JobAd, lease: Lease, second: str
) -> None:
    asked = (Disk("boot.iso", "vda", False, "raw"), Disk("scratch.raw", second, True, "raw"))
    with pytest.raises(UsageError, match=r"two disks would be one device \(sda, sda\)"):
        disks(node, job, lease, *asked)


def test_there_are_as_many_disks_as_letters(node: Node, job: JobAd, lease: Lease) -> None:
    with pytest.raises(UsageError, match="vdaa: more disks than letters"):
        disks(node, job, lease, Disk("root.raw", "vdaa", False, "raw"))
