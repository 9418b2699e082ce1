# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files QEMU reads for a job's disks: no qcow2 image leads to a file of the node, by however many steps."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from condor_vac.base.errors import UsageError, VacError
from condor_vac.worker.lease.store import Lease
from condor_vac.worker.vm import disks, domain_xml
from condor_vac.worker.vm.domain_xml import Host
from condor_vac.worker.vm.job_ad import Disk, JobAd
from tests.unit.condor_vac.worker.conftest import Node

# Many cases, or cases that wait: too much for `make check`.
pytestmark = pytest.mark.slow


@pytest.fixture
def lease(node: Node) -> Lease:
    (node.base / "secret").write_text("HOST SECRET " * 100)
    images = node.base / "images"
    (images / "base.raw").write_bytes(bytes(1 << 20))
    qcow2(images / "base.qcow2")
    qcow2(images / "evil.qcow2", node.base / "secret", "raw")
    qcow2(images / "data.qcow2", data_file=node.base / "data")
    return node.acquire()


def qcow2(path: Path, backing: object = None, form: str = "", *, data_file: object = None) -> None:
    command = ["qemu-img", "create", "-q", "-f", "qcow2"]
    if backing is not None:
        command += ["-u", "-b", str(backing), *(["-F", form] if form else [])]
    if data_file is not None:
        command += ["-o", f"data_file={data_file}"]
    subprocess.run([*command, str(path), "1M"], check=True)


def build(node: Node, job: JobAd, lease: Lease, *asked: Disk) -> ET.Element:
    text = domain_xml.build(job._replace(disks=asked), lease, node.settings, Host("x86_64", True, 993))
    return ET.fromstring(text)


SANDBOX = {
    "none": (None, "", None),
    "a raw image of the site": ("@IMAGES@/base.raw", "raw", None),
    "a qcow2 image of the site": ("@IMAGES@/base.qcow2", "qcow2", None),
    "a file of the node": ("@BASE@/secret", "raw", "is not below"),
    "a file of the node by ..": ("@IMAGES@/../secret", "raw", "is not below"),
    "a relative name": ("../../images/base.raw", "raw", "is not below"),
    "a json: name": ('json:{"driver":"raw","file":{"filename":"/etc/passwd"}}', "raw", "is not below"),
    "a server": ("nbd://127.0.0.1/x", "raw", "is not below"),
    "no format": ("@IMAGES@/base.raw", "", "has no format in the image"),
    "another format": ("@IMAGES@/base.raw", "vmdk", "has no format in the image"),
    "an image of the site with a backing file": ("@IMAGES@/evil.qcow2", "qcow2", "evil.qcow2: has a backing file"),
    "an image of the site with a data file": ("@IMAGES@/data.qcow2", "qcow2", "data.qcow2: has its data in another"),
    "an image that is not there": ("@IMAGES@/none.raw", "raw", "is no file on this node"),
    "the image directory": ("@IMAGES@/.", "raw", "is not below"),
    "another image in the sandbox": ("@SANDBOX@/other.qcow2", "qcow2", "is not below"),
}


@pytest.mark.parametrize("kind", SANDBOX)
def test_what_an_image_in_the_sandbox_may_name(node: Node, job: JobAd, lease: Lease, kind: str) -> None:
    backing, form, words = SANDBOX[kind]
    places = {"@IMAGES@": node.settings.image_dir, "@BASE@": str(node.base), "@SANDBOX@": lease.sandbox}
    for mark, place in places.items():
        backing = None if backing is None else backing.replace(mark, place)
    path = Path(lease.sandbox, "d.qcow2")
    # qemu-img makes none without a format, and none with one that it cannot have behind it.
    qcow2(path, backing, "raw" if form in {"", "vmdk"} else form)
    if form == "vmdk":
        path.write_bytes(path.read_bytes().replace(b"\0\0\0\3raw\0", b"\0\0\0\4vmdk", 1))
    if form == "":
        path.write_bytes(path.read_bytes().replace(b"\xe2\x79\x2a\xca", b"\x0b\xad\xf0\x0d", 1))
    asked = Disk("d.qcow2", "vda", True, "qcow2")
    if words is None:
        assert [item.get("type") for item in build(node, job, lease, asked).iterfind("devices/disk/driver")] == [
            "qcow2"
        ]
    else:
        with pytest.raises(UsageError, match=words):
            build(node, job, lease, asked)


def test_an_image_in_the_sandbox_with_a_data_file(node: Node, job: JobAd, lease: Lease) -> None:
    for backing in (None, f"{node.settings.image_dir}/base.raw"):
        qcow2(Path(lease.sandbox, "d.qcow2"), backing, "raw" if backing else "", data_file=node.base / "data")
        with pytest.raises(UsageError, match=r"d\.qcow2: has its data in another file"):
            build(node, job, lease, Disk("d.qcow2", "vda", True, "qcow2"))


@pytest.mark.parametrize("name", ["base.raw", "base.qcow2", "evil.qcow2", "data.qcow2"])
@pytest.mark.parametrize("overlay", [False, True])
def test_an_image_of_the_site_stands_alone(node: Node, job: JobAd, lease: Lease, name: str, overlay: bool) -> None:
    """Also one that was in the store before images were looked at when they are fetched."""
    image, form = f"{node.settings.image_dir}/{name}", name.rpartition(".")[2]
    asked = Disk(image, "vda", False, form)
    if overlay and name != "data.qcow2":
        asked = Disk(disks.make_overlay(lease.sandbox, image, form), "vda", True, "qcow2")
    if name.startswith("base"):
        assert build(node, job, lease, asked).find("devices/disk") is not None
    else:
        with pytest.raises(VacError, match=f"{name}: has (a backing file|its data in another file)"):
            build(node, job, lease, asked)


def test_what_is_no_qcow2_image_is_refused(node: Node, job: JobAd, lease: Lease) -> None:
    Path(lease.sandbox, "d.qcow2").write_bytes(b"raw" * 1000)
    with pytest.raises(UsageError, match="not a qcow2 image"):
        build(node, job, lease, Disk("d.qcow2", "vda", True, "qcow2"))
