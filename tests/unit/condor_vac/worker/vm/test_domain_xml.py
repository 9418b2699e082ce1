# SPDX-License-Identifier: GPL-3.0-or-later
"""The domain: what is in it, and that nothing of the ad can add to it or lead out of sandbox and images."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from condor_vac.base.errors import UsageError, VacError
from condor_vac.condor.classads import AD_LIMIT
from condor_vac.worker import kvm_device, settings
from condor_vac.worker.lease.store import Lease
from condor_vac.worker.programs import xml_script
from condor_vac.worker.vm import domain_xml
from condor_vac.worker.vm.domain_xml import Host
from condor_vac.worker.vm.job_ad import Disk, JobAd
from tests.unit.condor_vac.worker.conftest import UID, Node
from tests.unit.condor_vac.worker.vm.domain import AD, described

KVM = Host("x86_64", True, 993)


@pytest.fixture
def lease(node: Node) -> Lease:
    found = node.acquire()
    for name in ("cernvm.iso", "scratch.raw"):
        Path(found.sandbox, name).write_bytes(b"x")
    return found


def built(job: JobAd, lease: Lease, node: Node, host: Host = KVM) -> ET.Element:
    text = domain_xml.build(job, lease, node.settings, host)
    assert "\n" not in text
    return ET.fromstring(text)


def at(root: ET.Element, path: str, attribute: str) -> list[str | None]:
    return [item.get(attribute) for item in root.findall(path)]


def test_what_a_vm_is(node: Node, job: JobAd, lease: Lease) -> None:
    root = built(job, lease, node)
    assert root.get("type") == "kvm"
    assert root.findtext("name") == "vac_lab_7.0"
    assert root.findtext("uuid") == lease.uuid
    assert (root.findtext("memory"), root.findtext("vcpu")) == ("2048", "2")
    assert at(root, "cpu", "mode") == ["host-passthrough"]
    assert {root.findtext(f"on_{event}") for event in ("poweroff", "reboot", "crash")} == {"destroy"}
    assert at(root, "devices/disk", "device") == ["cdrom", "disk"]
    assert at(root, "devices/disk/target", "dev") == ["sda", "vda"]
    assert at(root, "devices/disk/target", "bus") == ["sata", "virtio"]
    assert at(root, "devices/disk/driver", "cache") == [None, "unsafe"]
    assert at(root, "devices/disk/driver", "error_policy") == [None, "report"]
    assert at(root, "devices/disk/boot", "order") == ["1"]
    assert len(root.findall("devices/disk/readonly")) == 1
    assert at(root, "devices/interface/mac", "address") == [lease.mac]
    assert at(root, "devices/interface/source", "network") == ["vac"]
    assert at(root, "devices/interface/filterref", "filter") == ["clean-traffic"]
    assert at(root, "devices/interface/filterref/parameter", "value") == [lease.address]
    assert at(root, "devices/serial/source", "path") == [lease.console]
    assert root.find("devices/graphics") is None
    assert root.find("devices/rng") is not None
    assert root.findtext("seclabel/label") == f"+{UID}:+993"
    assert at(root, "seclabel", "relabel") == ["yes"]
    assert at(root, "devices/disk/source/seclabel", "relabel") == ["no", "no"]


@pytest.mark.parametrize(("architecture", "models"), [("x86_64", ["isa"]), ("aarch64", [])])
def test_a_guest_can_report_that_its_kernel_panicked(
    node: Node, job: JobAd, lease: Lease, architecture: str, models: list[str]
) -> None:
    root = built(job, lease, node, Host(architecture, True))
    assert at(root, "devices/panic", "model") == models
    assert root.findtext("on_crash") == "destroy"


def test_without_kvm(node: Node, job: JobAd, lease: Lease) -> None:
    root = built(job, lease, node, Host("x86_64", False))
    assert root.get("type") == "qemu"
    assert at(root, "cpu", "mode") == ["maximum"]
    assert root.findtext("seclabel/label") == f"+{lease.uid}:+{lease.gid}"


BROKEN = kvm_device.Trouble("/dev/kvm makes no virtual CPU: Cannot allocate memory", "check dmesg for kvm")


@pytest.mark.parametrize(("mode", "gid"), [(0o660, 77), (0o666, None), (0o600, 77), (0o664, 77)])
@pytest.mark.parametrize("emulation", [False, True])
def test_kvm_is_used_where_it_works(
    node: Node, monkeypatch: pytest.MonkeyPatch, mode: int, gid: int | None, emulation: bool
) -> None:
    monkeypatch.setattr(domain_xml, "KVM_DEVICE", f"{node.base}/kvm")
    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", lambda path: {f"{node.base}/kvm": Status(0o020000 | mode, 77)}[path])
        assert Host.here(emulation=emulation) == Host(os.uname().machine, True, gid)


class Status(NamedTuple):
    """What os.stat returns for a device."""

    st_mode: int
    st_gid: int


def test_without_kvm_a_vm_is_emulated_only_where_it_may_be(node: Node) -> None:
    node.kvm_trouble = BROKEN
    assert Host.here(emulation=True) == Host(os.uname().machine, False, None)
    with pytest.raises(VacError) as raised:
        Host.here(emulation=False)
    assert str(raised.value) == (
        "KVM does not work on this node: /dev/kvm makes no virtual CPU: Cannot allocate memory; check dmesg for kvm"
    )
    assert not isinstance(raised.value, UsageError), "the node is to blame, and the job is as good as before"


@pytest.mark.parametrize(("limit", "expected"), [(0, []), (200, [str(200 << 20)] * 2)])
def test_disks_are_as_fast_as_the_site_sets(
    node: Node, job: JobAd, lease: Lease, limit: int, expected: list[str]
) -> None:
    text = domain_xml.build(job, lease, node.settings._replace(disk_mb_per_second=limit), KVM)
    assert [item.text for item in ET.fromstring(text).findall("devices/disk/iotune/total_bytes_sec")] == expected


def test_vnc_by_a_socket_that_is_roots_if_asked(node: Node, job: JobAd, lease: Lease) -> None:
    """Any user of the node can connect to a port on 127.0.0.1."""
    root = built(job._replace(vnc=True), lease, node)
    assert [item.attrib for item in root.iterfind("devices/graphics")] == [{"type": "vnc"}]
    assert [item.attrib for item in root.iterfind("devices/graphics/listen")] == [{"type": "socket"}]


HOSTILE = '"/><disk type=\'block\'><source dev="/dev/vda"/></disk>&lt;\x00<!--]]>'


def test_text_stays_text(node: Node, job: JobAd, lease: Lease) -> None:
    bad = HOSTILE.replace("\x00", "")
    changed = job._replace(domain=bad), lease._replace(domain=bad, console=bad, address=bad, mac=bad)
    root = built(*changed, node)
    assert root.findtext("name") == bad
    assert len(root.findall("devices/disk")) == 2
    assert at(root, "devices/serial/source", "path") == [bad]


def link(node: Node, lease: Lease, target: str) -> str:
    os.symlink(target, f"{lease.sandbox}/link.raw")
    return "link.raw"


@pytest.mark.parametrize(
    "file",
    ["/etc/shadow", "/etc/passwd", "/dev/null", "/proc/self/mem", "@SANDBOX@/../../../x", "@SANDBOX@", "missing"],
)
def test_files_outside_the_allowed_directories_are_refused(node: Node, job: JobAd, lease: Lease, file: str) -> None:
    disk = Disk(file.replace("@SANDBOX@", lease.sandbox), "vdc", False, "raw")
    with pytest.raises(VacError, match="vm_disk"):
        built(job._replace(disks=(disk,)), lease, node)


@pytest.mark.parametrize("target", ["/etc/passwd", "/dev/zero", "../../open", "."])
def test_links_out_of_the_sandbox_are_refused(node: Node, job: JobAd, lease: Lease, target: str) -> None:
    disk = Disk(link(node, lease, target), "vdc", False, "raw")
    with pytest.raises(VacError, match="vm_disk"):
        built(job._replace(disks=(disk,)), lease, node)


def test_another_sandbox_is_refused(node: Node, job: JobAd, lease: Lease) -> None:
    other = node.sandbox(11)
    Path(other, "disk.raw").write_bytes(b"x")
    with pytest.raises(VacError, match="neither in"):
        built(job._replace(disks=(Disk(f"{other}/disk.raw", "vda", True, "raw"),)), lease, node)


def test_images_are_read_only(node: Node, job: JobAd, lease: Lease) -> None:
    image = node.base / "images" / "site.raw"
    image.write_bytes(b"x")
    root = built(job._replace(disks=(Disk(str(image), "vda", False, "raw"),)), lease, node)
    assert root.find("devices/disk/readonly") is not None
    with pytest.raises(VacError, match="read-only"):
        built(job._replace(disks=(Disk(str(image), "vda", True, "raw"),)), lease, node)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"networking": False}, "JobVMNetworking"),
        ({"mac": "52:54:00:00:00:01"}, "JobVM_MACADDR"),
        ({"domain": "other_1.0"}, "other_1.0"),
        ({"working_dir": "/var/tmp"}, "another sandbox"),
    ],
)
def test_what_cannot_be_granted_is_refused(
    node: Node, job: JobAd, lease: Lease, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(VacError, match=named):
        built(job._replace(**changes), lease, node)


def test_two_names_of_one_device_are_refused(node: Node, job: JobAd, lease: Lease) -> None:
    disks = (Disk("cernvm.iso", "hda", False, "raw"), Disk("scratch.raw", "sda", True, "raw"))
    with pytest.raises(VacError, match="two disks"):
        built(job._replace(disks=disks), lease, node)


@pytest.mark.parametrize("reason", ["no lease", HOSTILE, "x" * 5000, "line\nline"])
def test_a_refusal_is_xml_that_libvirt_cannot_create(reason: str) -> None:
    text = domain_xml.refusal(reason)
    assert "\n" not in text
    kind = ET.fromstring(text).findtext("os/type")
    assert kind is not None
    assert kind.startswith("condor_vac: ")


def test_the_script_prints_a_refusal_and_exits_0(
    node: Node, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = described(b"x" * AD_LIMIT, monkeypatch, capsys)
    assert "condor_vac: job ad" in out


@pytest.mark.parametrize("emulation", [False, True])
def test_the_script_refuses_a_vm_without_kvm_unless_it_may_be_emulated(
    node: Node, lease: Lease, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], emulation: bool
) -> None:
    node.kvm_trouble = BROKEN
    changed = node.settings._replace(emulation=emulation)
    monkeypatch.setattr(settings, "load", lambda: changed)
    monkeypatch.setattr(xml_script, "Store", lambda: node.store)
    root = ET.fromstring(described(AD.encode(), monkeypatch, capsys))
    if emulation:
        assert (root.get("type"), root.findtext("name"), root.findtext("uuid")) == ("qemu", lease.domain, lease.uuid)
    else:
        assert root.findtext("os/type") == (
            "condor_vac: KVM does not work on this node: /dev/kvm makes no virtual CPU: Cannot allocate memory; "
            "check dmesg for kvm"
        )
