# SPDX-License-Identifier: GPL-3.0-or-later
"""Job ads with metacharacters of ClassAds, XML, shells and NFS in every string, and paths out of the sandbox."""

from __future__ import annotations

import importlib
import json
import os
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.integration.hostile.conftest import Hostile, machinetype_job
from tests.unit.condor_vac.worker.conftest import UID

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
UNUSED = {"Cmd", "GlobalJobId", "HookKeyword", "Args", "Environment", "TransferInput"}
MADE = {"context.iso", "scratch.raw", "cvmfs_cache.raw"}


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


def placed(hostile: Hostile, text: str) -> str:
    """The text with the node's directories in it."""
    places = {"@IMAGES@": f"{hostile.base}/images", "@EXECUTE@": str(hostile.node.execute), "@BASE@": str(hostile.base)}
    for name, value in places.items():
        text = text.replace(name, value)
    return text


def tried(hostile: Hostile, sandbox: str, changes: dict[str, Any]) -> tuple[int, dict[str, str]]:
    """The prepare hook on the changed ad; its exit code and what it would merge into the ad."""
    ad = {**AD, **changes}
    done = hostile.prepare(text_of({**ad, "VMPARAM_vm_Disk": placed(hostile, ad["VMPARAM_vm_Disk"])}), sandbox)
    assert b"Traceback" not in done.stderr
    lines = done.stdout.decode().splitlines()
    return done.returncode, dict(line.split(" = ", 1) for line in lines)


def refused(hostile: Hostile, sandbox: str, code: int, printed: dict[str, str], *words: str) -> None:
    """Refused for one of these reasons, with one message and nothing left."""
    assert code == 1
    assert set(printed) == {"HookStatusCode", "HookStatusMessage"}
    message = json.loads(printed["HookStatusMessage"])
    assert any(word in message for word in words), f"refused, but not for {words}: {message}"
    # On any node, or on this one only: an ad that cannot be read may have been cut on its way.
    unreadable = "HTCondor cannot read the line" in message
    assert int(printed["HookStatusCode"]) == (300 if unreadable else 2)
    assert hostile.leases() == []
    assert hostile.node.exported() == []
    assert not MADE & set(os.listdir(sandbox))


def granted(hostile: Hostile, sandbox: str, code: int, printed: dict[str, str], changes: dict[str, Any]) -> None:
    """A VM of its own files alone; it is ended."""
    assert (code, set(printed)) == (0, {"VMPARAM_vm_Disk"}), printed
    disk = json.loads(printed["VMPARAM_vm_Disk"])
    ad = {**AD, **changes, "VMPARAM_vm_Disk": disk}
    domain = hostile.leases()[0]["domain"]
    head = f'VM_WORKING_DIR = "{sandbox}"\nVMPARAM_VM_NAME = "{domain}"\n'
    done = hostile.run("condor_vac.worker.programs.xml_script", stdin=(head + text_of(ad)).encode(), cwd=sandbox)
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
    assert hostile.lease("release", {"domain": domain}).returncode == 0
    assert set(os.listdir(sandbox)) >= MADE
    for made in MADE:
        Path(sandbox, made).unlink()


def test_the_ad_itself_makes_a_vm(hostile: Hostile) -> None:
    """Without this, what follows could be refused for another reason than what is changed in it."""
    sandbox = machinetype_job(hostile)
    for disk in (AD["VMPARAM_vm_Disk"], "user_data:vdc:r:raw"):
        changes = {"VMPARAM_vm_Disk": disk}
        granted(hostile, sandbox, *tried(hostile, sandbox, changes), changes)


@pytest.mark.parametrize("name", STRINGS)
def test_metacharacters_in_every_string_of_the_ad(hostile: Hostile, name: str) -> None:
    sandbox = machinetype_job(hostile)
    outcomes = set()
    for value in values(name):
        code, printed = tried(hostile, sandbox, {name: value})
        if code:
            # With a line end in it, the ad has a line that is not an attribute.
            refused(hostile, sandbox, code, printed, f"job ad: {name}: " if "\n" not in value else "job ad: ")
        else:
            granted(hostile, sandbox, code, printed, {name: value})
        outcomes.add(code)
    # What no program uses is harmless.
    assert outcomes == {1} if name not in UNUSED else 0 in outcomes


@pytest.mark.parametrize(
    ("disk", "reason"),
    [
        ("/etc/shadow:vda:r:raw", "/etc/shadow: neither in the job's sandbox nor"),
        ("/dev/vda:vda:r:raw", "/dev/vda: neither in the job's sandbox nor"),
        ("/dev/vda:vda:w:raw", "/dev/vda: neither in the job's sandbox nor"),
        ("../../etc/shadow:vda:r:raw", "VMPARAM_vm_Disk: must be a file name"),
        ("@SANDBOX@/../../images/boot.iso:vda:w:raw", "VMPARAM_vm_Disk: must be a path without . and .."),
        ("@IMAGES@/boot.iso:vda:w:raw", "boot.iso: neither in the job's sandbox nor, read-only, below"),
        ("@IMAGES@/../shadow:vda:r:raw", "VMPARAM_vm_Disk: must be a path without . and .."),
        ("@OTHER@/secret:vda:r:raw", "secret: neither in the job's sandbox nor"),
        ("link:vda:r:raw", "link: neither in the job's sandbox nor"),
        ("device:vda:r:raw", "device: neither in the job's sandbox nor"),
        ("pipe:vda:r:raw", "pipe: not a regular file"),
        ("backed.qcow2:vda:r:qcow2", "its backing file '/etc/shadow' is not below"),
        ("json.qcow2:vda:r:qcow2", "its backing file 'json:"),
        ("user_data:vda:r:qcow2", "user_data: not a qcow2 image"),
    ],
)
def test_disks_that_lead_out_of_the_allowed_directories(hostile: Hostile, disk: str, reason: str) -> None:
    sandbox = machinetype_job(hostile)
    other = hostile.node.sandbox(2, uid=UID + 100)
    Path(other, "secret").write_text("x")
    (hostile.base / "shadow").write_text("x")
    Path(sandbox, "link").symlink_to("/etc/shadow")
    Path(sandbox, "device").symlink_to("/dev/null")
    os.mkfifo(Path(sandbox, "pipe"))
    Path(sandbox, "backed.qcow2").write_bytes(qcow2(b"/etc/shadow"))
    Path(sandbox, "json.qcow2").write_bytes(qcow2(b'json:{"driver":"raw","file":{"filename":"/etc/shadow"}}'))
    disk = disk.replace("@SANDBOX@", sandbox).replace("@OTHER@", other)
    refused(hostile, sandbox, *tried(hostile, sandbox, {"VMPARAM_vm_Disk": disk}), reason)


def qcow2(backing: bytes) -> bytes:
    """A qcow2 header that names a backing file (QEMU's docs/interop/qcow2.txt)."""
    header = b"QFI\xfb" + (2).to_bytes(4, "big") + (72).to_bytes(8, "big") + len(backing).to_bytes(4, "big")
    return (header + b"\0" * 52)[:72] + backing + b"\0" * 4096


@pytest.mark.parametrize(
    ("place", "user_data", "reason"),
    [
        ("/etc", "passwd", "not a job's sandbox"),
        ("@BASE@/images", "user_data", "not a job's sandbox"),
        ("@BASE@/open", "user_data", "not a job's sandbox"),
        ("@EXECUTE@", "user_data", "not a job's sandbox"),
        ("@EXECUTE@/dir_1/below", "user_data", "not a job's sandbox"),
        ("@EXECUTE@/dir_1/..", "user_data", "Iwd: must be a path without . and .."),
        ("/", "user_data", "Iwd: must be an absolute path"),
    ],
)
def test_a_working_directory_outside_of_execute(hostile: Hostile, place: str, user_data: str, reason: str) -> None:
    sandbox = machinetype_job(hostile)
    place = placed(hostile, place)
    # All that a VM needs is there, so that nothing but the place can be wrong.
    if place.startswith(str(hostile.base)):
        Path(place).mkdir(exist_ok=True)
        for name in ("atlas.json", "user_data"):
            Path(place, name).write_bytes(Path(sandbox, name).read_bytes())
    before = {name: sorted(os.listdir(name)) for name in ("/etc", place)}
    changes = {"Iwd": place, "UserData": user_data}
    if user_data != "user_data":
        changes["VacMachinetypeFile"] = ""
    ad = {name: value for name, value in {**AD, **changes}.items() if value != ""}
    done = hostile.prepare(text_of({**ad, "VMPARAM_vm_Disk": placed(hostile, AD["VMPARAM_vm_Disk"])}), place)
    printed = dict(line.split(" = ", 1) for line in done.stdout.decode().splitlines())
    refused(hostile, sandbox, done.returncode, printed, reason)
    assert {name: sorted(os.listdir(name)) for name in ("/etc", place)} == before


UNREADABLE = "HTCondor cannot read the line"


@pytest.mark.parametrize(
    ("ad", "reason"),
    [
        ("\0", UNREADABLE),
        ("not an ad", UNREADABLE),
        ('JobUniverse = 13\nUser = "x', UNREADABLE),
        ("JobUniverse = 13\n" * 3, "User: missing"),
        ("[" * 100_000, UNREADABLE),
        ("X = " + "(" * 50_000, UNREADABLE),
    ],
    ids=["a null byte", "words", "an open string", "one attribute", "brackets", "parentheses"],
)
def test_what_is_not_an_ad(hostile: Hostile, ad: str, reason: str) -> None:
    sandbox = hostile.node.sandbox(1)
    done = hostile.prepare(ad, sandbox)
    printed = dict(line.split(" = ", 1) for line in done.stdout.decode().splitlines())
    refused(hostile, sandbox, done.returncode, printed, reason)


@pytest.mark.parametrize("ad", ["", "\n", "JobUniverse = 5\n", 'User = "vac@lab"\n'])
def test_a_job_of_another_universe_is_left_alone(hostile: Hostile, ad: str) -> None:
    sandbox = hostile.node.sandbox(1)
    done = hostile.prepare(ad, sandbox)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert hostile.leases() == []
    assert os.listdir(sandbox) == [".chirp.config"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("JobVMMemory = JobVMMemory", "RequestMemory: missing"),
        ("JobVMMemory = 1/0", "JobVMMemory: evaluates to an error"),
        ('JobVMMemory = strcat("2","56")', "JobVMMemory: must be a whole number"),
        ("User = {}", "User: must be USER@DOMAIN"),
    ],
)
def test_an_expression_that_would_run_for_ever_is_refused(hostile: Hostile, line: str, reason: str) -> None:
    sandbox = machinetype_job(hostile)
    text = text_of({**AD, "VMPARAM_vm_Disk": placed(hostile, AD["VMPARAM_vm_Disk"])})
    done = hostile.prepare(f"{text}\n{line}\n", sandbox)
    printed = dict(line.split(" = ", 1) for line in done.stdout.decode().splitlines())
    refused(hostile, sandbox, done.returncode, printed, reason)
