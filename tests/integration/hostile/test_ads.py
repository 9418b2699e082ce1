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
    assert int(printed["HookStatusCode"]) == 2
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


NOT_ONE = "is not one attribute"
VM = "JobUniverse = 13\n"
NO_ADS = {
    "a null byte": (VM + "\0", NOT_ONE),
    "words": (VM + "not an ad", NOT_ONE),
    "an open string": (VM + 'User = "x', NOT_ONE),
    "one attribute": (VM * 3, "User: missing"),
    "brackets": (VM + "[" * 100_000, NOT_ONE),
    "parentheses": (VM + "X = " + "(" * 50_000, "User: missing"),
    "two universes": (VM + "JobUniverse = 5\n", "JobUniverse: is there twice"),
    "an expression": ("JobUniverse = 10 + 3\n", "JobUniverse: must be a whole number"),
    "1 MiB": (VM * 70_000, "more than 1048576 characters"),
}


@pytest.mark.parametrize("kind", NO_ADS)
def test_what_is_not_an_ad(hostile: Hostile, kind: str) -> None:
    ad, reason = NO_ADS[kind]
    sandbox = hostile.node.sandbox(1)
    done = hostile.prepare(ad, sandbox)
    printed = dict(line.split(" = ", 1) for line in done.stdout.decode().splitlines())
    refused(hostile, sandbox, done.returncode, printed, reason)


@pytest.mark.parametrize(
    "ad", ["", "\n", "JobUniverse = 5\n", 'User = "vac@lab"\n', 'JobUniverse = 5\nA = "two\nlines"\n']
)
def test_a_job_of_another_universe_is_left_alone(hostile: Hostile, ad: str) -> None:
    sandbox = hostile.node.sandbox(1)
    done = hostile.prepare(ad, sandbox)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert hostile.leases() == []
    assert os.listdir(sandbox) == [".chirp.config"]


# Expressions of a submitter, by kind: each is the value of an attribute that our programs read.
EXPRESSIONS = {
    "a reference to itself": "JobVMMemory",
    "an error": "1/0",
    "a list": "{}",
    "two texts": 'strcat("2","56")',
    "half a character": 'substr("\u00e9", 0, 1)',
    "half a character, by regexps": 'regexps("(.)", "\u00e9x", "\\1")',
    "the hook's value here, another one there": 'ifThenElse(isUndefined(VM_WORKING_DIR), "good", "b d")',
    "the same, by half a character": 'ifThenElse(isUndefined(VM_WORKING_DIR), "good", substr("\u00e9", 0, 1))',
    "a chain of 20,000 attributes": "C20000",
    "a text that doubles 40 times": "S40",
}
CHAIN = "C0 = 1\n" + "".join(f"C{n} = C{n - 1}\n" for n in range(1, 20_001))
BOMB = 'S0 = "0123456789abcdef"\n' + "".join(f"S{n} = strcat(S{n - 1}, S{n - 1})\n" for n in range(1, 41))


def with_expression(hostile: Hostile, name: str, value: str, ad: dict[str, Any]) -> str:
    """The ad with an expression for one attribute, and with what it refers to."""
    text = text_of({**{key: ad[key] for key in ad if key != name}})
    return f"{placed(hostile, text)}{CHAIN}{BOMB}{name} = {value}\n"


@pytest.mark.parametrize("kind", EXPRESSIONS)
@pytest.mark.parametrize("name", ["JobVMMemory", "VacSpace", "User"])
def test_no_expression_of_a_submitter_is_evaluated(hostile: Hostile, name: str, kind: str) -> None:
    sandbox = machinetype_job(hostile)
    done = hostile.prepare(with_expression(hostile, name, EXPRESSIONS[kind], AD), sandbox)
    assert b"Traceback" not in done.stderr
    printed = dict(line.split(" = ", 1) for line in done.stdout.decode().splitlines())
    refused(hostile, sandbox, done.returncode, printed, f"{name}: must be a whole number, true, false or a text")


@pytest.mark.parametrize("kind", EXPRESSIONS)
@pytest.mark.parametrize("name", ["VacSpace", "JobVMMemory"])
def test_the_xml_script_evaluates_none_either_and_never_fails(hostile: Hostile, name: str, kind: str) -> None:
    """Also for an ad that no prepare hook has seen: were it to fail, vm-gahp would build an unfiltered domain."""
    sandbox = machinetype_job(hostile)
    code, printed = tried(hostile, sandbox, {})
    assert code == 0
    ad = {**AD, "VMPARAM_vm_Disk": json.loads(printed["VMPARAM_vm_Disk"])}
    domain = hostile.leases()[0]["domain"]
    head = f'VM_WORKING_DIR = "{sandbox}"\nVMPARAM_VM_NAME = "{domain}"\n'
    for text, words in (
        (head + text_of(ad), None),
        (head + with_expression(hostile, name, EXPRESSIONS[kind], ad), f"{name}: must be a whole number"),
    ):
        done = hostile.run("condor_vac.worker.programs.xml_script", stdin=text.encode(), cwd=sandbox)
        assert (done.returncode, done.stdout.count(b"\n"), done.stdout[-1:]) == (0, 1, b"\n")
        root = ET.fromstring(done.stdout)
        if words is None:
            assert root.findtext("name") == domain
        else:
            assert words in root.findtext("os/type", "")
