# SPDX-License-Identifier: GPL-3.0-or-later
"""Job ads with metacharacters of ClassAds, XML, shells and NFS in every string, and paths that lead elsewhere."""

from __future__ import annotations

import importlib
import json
import os
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.integration.hostile.conftest import Hostile, machinetype_job
from tests.unit.worker.conftest import UID

AD: dict[str, Any] = {
    "ClusterId": 7,
    "ProcId": 0,
    "User": "vac@lab",
    "Owner": "vac",
    "Cmd": "vac-atlas",
    "Iwd": "/home/vac",
    "GlobalJobId": "ap#7.0#1",
    "JobUniverse": 13,
    "JobVMType": "kvm",
    "JobVMMemory": 256,
    "JobVM_VCPUS": 1,
    "JobVMNetworking": True,
    "JobVMNetworkingType": "nat",
    "VMPARAM_vm_Disk": "@IMAGES@/boot.iso:hda:r:raw",
    "UserData": "user_data",
    "VacSpace": "vac.example.org",
    "VacMachinetype": "atlas",
    "VacMachinetypeFile": "atlas.json",
    "HookKeyword": "VAC",
    "WantIOProxy": True,
    "RequiresVac": True,
    "Args": "",
    "Environment": "",
    "TransferInput": "atlas.json,user_data",
}
PAYLOADS = [
    "'\"><disk type='block'><source dev='/dev/vda'/></disk>",
    "]]></name><name>x",
    "&lt;&#10;&xxe;",
    '"; ShutdownCode = 200; Y = "',
    '"\nShutdownCode = 200\nY = "',
    "\\",
    '\\"',
    "$(id) `id` ; id | id > /etc/x",
    "../../../../etc/shadow",
    "/etc/shadow",
    "/dev/vda",
    "* (rw,no_root_squash)",
    "-o rw",
    "\x01\x1b[2J\x7f",
    "caf\u00e9 \u202e\u2028",
    "a" * 70_000,
]
STRINGS = [name for name, value in AD.items() if isinstance(value, str)]


def values(name: str) -> list[str]:
    """Six of the payloads for an attribute, alone and after its own value; all of them for all attributes."""
    first = STRINGS.index(name) * 5
    chosen = [PAYLOADS[(first + step) % len(PAYLOADS)] for step in range(6)]
    return [payload if step % 2 else f"{AD[name]}{payload}" for step, payload in enumerate(chosen)]


def text_of(ad: dict[str, Any]) -> str:
    """The ad in old syntax, as HTCondor's own writer makes it."""
    classad = importlib.import_module("classad2")
    made = classad.ClassAd()
    for name, value in ad.items():
        made[name] = value
    return str(made.printOld())


def tried(hostile: Hostile, sandbox: str, changes: dict[str, Any]) -> tuple[int, dict[str, str]]:
    """The prepare hook on the changed ad; its exit code and what it would merge into the ad."""
    ad = {**AD, "VMPARAM_vm_Disk": AD["VMPARAM_vm_Disk"].replace("@IMAGES@", f"{hostile.base}/images"), **changes}
    done = hostile.prepare(text_of(ad), sandbox)
    assert b"Traceback" not in done.stderr
    lines = done.stdout.decode().splitlines()
    return done.returncode, dict(line.split(" = ", 1) for line in lines)


def harmless(hostile: Hostile, sandbox: str, code: int, printed: dict[str, str], changes: dict[str, Any]) -> None:
    """Refused with one message and nothing left, or a VM of its own files alone."""
    if code:
        assert set(printed) == {"HookStatusCode", "HookStatusMessage"}
        assert int(printed["HookStatusCode"]) in {2, 300}
        assert hostile.leases() == []
        assert hostile.node.exported() == []
        assert not {"context.iso", "scratch.raw", "cvmfs_cache.raw"} & set(os.listdir(sandbox))
        return
    assert set(printed) == {"VMPARAM_vm_Disk"}
    disk = json.loads(printed["VMPARAM_vm_Disk"])
    ad = {**AD, **changes, "VMPARAM_vm_Disk": disk}
    domain = hostile.leases()[0]["domain"]
    head = f'VM_WORKING_DIR = "{sandbox}"\nVMPARAM_VM_NAME = "{domain}"\n'
    done = hostile.run("condor_vac.domain", stdin=(head + text_of(ad)).encode(), cwd=sandbox)
    assert done.returncode == 0
    assert done.stdout.endswith(b"\n")
    assert done.stdout.count(b"\n") == 1
    root = ET.fromstring(done.stdout)
    assert [item.get("type") for item in root.iter("disk")] == ["file"] * 4
    for source in root.iterfind("./devices/disk/source"):
        assert set(source.attrib) == {"file"}
        assert source.attrib["file"].startswith((f"{sandbox}/", f"{hostile.base}/images/"))
    assert len(root.findall("name")) == 1
    assert len(root.findall("./devices/interface")) == 1
    assert root.findtext("./seclabel/label", "").startswith(f"+{UID}:")


@pytest.mark.parametrize("name", STRINGS)
def test_metacharacters_in_every_string_of_the_ad(hostile: Hostile, name: str) -> None:
    sandbox = machinetype_job(hostile)
    outcomes = set()
    for value in values(name):
        code, printed = tried(hostile, sandbox, {name: value})
        harmless(hostile, sandbox, code, printed, {name: value})
        outcomes.add(code)
        if code == 0:
            assert hostile.lease("release", {"domain": hostile.leases()[0]["domain"]}).returncode == 0
            for made in ("context.iso", "scratch.raw", "cvmfs_cache.raw"):
                Path(sandbox, made).unlink()
    used = {"User", "Owner", "JobVMType", "JobVMNetworkingType", "VMPARAM_vm_Disk", "UserData", "VacMachinetypeFile"}
    if name in used:
        assert outcomes == {1}


@pytest.mark.parametrize(
    "disk",
    [
        "/etc/shadow:vda:r:raw",
        "/dev/vda:vda:r:raw",
        "/dev/vda:vda:w:raw",
        "../../etc/shadow:vda:r:raw",
        "@SANDBOX@/../../images/boot.iso:vda:w:raw",
        "@IMAGES@/boot.iso:vda:w:raw",
        "@IMAGES@/../shadow:vda:r:raw",
        "@OTHER@/secret:vda:r:raw",
        "link:vda:r:raw",
        "device:vda:r:raw",
        "pipe:vda:r:raw",
        "backed.qcow2:vda:r:qcow2",
        "json.qcow2:vda:r:qcow2",
        "user_data:vda:r:qcow2",
    ],
)
def test_disks_that_lead_elsewhere(hostile: Hostile, disk: str) -> None:
    sandbox = machinetype_job(hostile)
    other = hostile.node.sandbox(2, uid=UID + 100)
    Path(other, "secret").write_text("x")
    (hostile.base / "shadow").write_text("x")
    Path(sandbox, "link").symlink_to("/etc/shadow")
    Path(sandbox, "device").symlink_to("/dev/null")
    os.mkfifo(Path(sandbox, "pipe"))
    Path(sandbox, "backed.qcow2").write_bytes(qcow2(b"/etc/shadow"))
    Path(sandbox, "json.qcow2").write_bytes(qcow2(b'json:{"driver":"raw","file":{"filename":"/etc/shadow"}}'))
    for name, value in (("@SANDBOX@", sandbox), ("@IMAGES@", f"{hostile.base}/images"), ("@OTHER@", other)):
        disk = disk.replace(name, value)
    code, printed = tried(hostile, sandbox, {"VMPARAM_vm_Disk": disk})
    assert code == 1
    assert printed["HookStatusCode"] == "2"
    harmless(hostile, sandbox, code, printed, {})


def qcow2(backing: bytes) -> bytes:
    """A qcow2 header that names a backing file (QEMU's docs/interop/qcow2.txt)."""
    header = b"QFI\xfb" + (2).to_bytes(4, "big") + (72).to_bytes(8, "big") + len(backing).to_bytes(4, "big")
    return (header + b"\0" * 52)[:72] + backing + b"\0" * 4096


@pytest.mark.parametrize("place", ["/etc", "/", "/tmp", "@BASE@/images", "@EXECUTE@", "@EXECUTE@/dir_1/.."])
def test_a_working_directory_outside_of_execute(hostile: Hostile, place: str) -> None:
    sandbox = machinetype_job(hostile)
    place = place.replace("@BASE@", str(hostile.base)).replace("@EXECUTE@", str(hostile.node.execute))
    ad = {**AD, "Iwd": place, "VMPARAM_vm_Disk": f"{hostile.base}/images/boot.iso:hda:r:raw"}
    for name in ("atlas.json", "user_data"):
        if place == f"{hostile.base}/images":
            (hostile.base / "images" / name).write_bytes(Path(sandbox, name).read_bytes())
    before = sorted(os.listdir("/etc"))
    done = hostile.prepare(text_of(ad), place)
    assert done.returncode == 1
    assert b"HookStatusCode = 2" in done.stdout or b"HookStatusCode = 300" in done.stdout
    assert hostile.leases() == []
    assert hostile.node.exported() == []
    assert sorted(os.listdir("/etc")) == before


@pytest.mark.parametrize(
    "ad",
    [
        "",
        "\0",
        "not an ad",
        'JobUniverse = 13\nUser = "x',
        "JobUniverse = 13\n" * 3,
        "[" * 100_000,
        "X = " + "(" * 50_000,
    ],
)
def test_what_is_no_ad(hostile: Hostile, ad: str) -> None:
    done = hostile.prepare(ad, hostile.node.sandbox(1))
    assert done.returncode == 1 or done.stdout == b""
    assert hostile.leases() == []


def test_an_expression_that_would_run_for_ever_is_no_value(hostile: Hostile) -> None:
    sandbox = machinetype_job(hostile)
    text = text_of({**AD, "VMPARAM_vm_Disk": f"{hostile.base}/images/boot.iso:hda:r:raw"})
    for line in ("JobVMMemory = JobVMMemory", "JobVMMemory = 1/0", 'JobVMMemory = strcat("2","56")', "User = {}"):
        done = hostile.prepare(f"{text}\n{line}\n", sandbox)
        assert done.returncode == 1
        assert hostile.leases() == []
