# SPDX-License-Identifier: GPL-3.0-or-later
"""The prepare hook as HTCondor calls it, on a pretended node."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import UsageError, VacError
from condor_vac.worker import kvm_device
from condor_vac.worker.lease import client as lease_client
from condor_vac.worker.lease import grant, requests
from condor_vac.worker.lease.requests import AcquireRequest, Caller, ReleaseRequest
from condor_vac.worker.lease.store import Lease
from condor_vac.worker.programs import prepare_hook
from condor_vac.worker.programs.lease_helper import release_if_ended
from condor_vac.worker.vm import iso
from tests.unit.condor_vac.worker.conftest import GID, UID, Node, lease_files

USER_DATA = b"#!/bin/sh\necho ##user_data_uuid## ##user_data_option_queue## ##keep##\n"
KEY = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGq root@lab\n"
SEED_AD = {
    "ClusterId": 7,
    "ProcId": 0,
    "User": "vac@lab",
    "Owner": "vac",
    "Cmd": "VM-ATLAS",
    "Iwd": "/home/vac",
    "JobUniverse": 13,
    "JobVMType": "kvm",
    "JobVMMemory": 3000,
    "JobVMNetworking": True,
    "JobVMNetworkingType": "nat",
    "VMPARAM_vm_Disk": "ucernvm-prod.iso:hda:r:raw",
    "VMPARAM_No_Output_VM": False,
    "PublicKey": "root.pub",
    "UserData": "user_data.MpGU",
    "HookKeyword": "VAC",
    "WantIOProxy": True,
    "RequiresVac": True,
}


def classad(attributes: dict[str, Any]) -> str:
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in attributes.items())


@pytest.fixture
def call(node: Node, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run the prepare hook on an ad; returns (exit code, attributes printed). vac_lease is called directly."""

    def acquire(request: AcquireRequest) -> Lease:
        asked = AcquireRequest.from_mapping(requests.parse(json.dumps(request._asdict()).encode()))
        return grant.acquire(asked, Caller(UID, GID), node.settings, node.store)

    def release(uuid: str) -> None:
        release_if_ended(ReleaseRequest(uuid=uuid), Caller(UID, GID), node.settings, node.store)

    monkeypatch.setattr(lease_client, "acquire", acquire)
    monkeypatch.setattr(lease_client, "release", release)

    def run(sandbox: str, **changes: Any) -> tuple[int, dict[str, str]]:
        ad = {name: value for name, value in {**SEED_AD, **changes}.items() if value is not None}
        stream = io.TextIOWrapper(io.BytesIO(classad(ad).encode()))
        monkeypatch.setattr(sys, "stdin", stream)
        monkeypatch.setenv("_CONDOR_SCRATCH_DIR", sandbox)
        monkeypatch.setenv("_CONDOR_CHIRP_CONFIG", f"{sandbox}/.chirp.config")
        code = prepare_hook.main()
        lines = capsys.readouterr().out.splitlines()
        return code, dict(line.split(" = ", 1) for line in lines)

    return run


@pytest.fixture
def sandbox(node: Node) -> str:
    """A sandbox with what HTCondorVMs' job transfers."""
    path = node.sandbox(1)
    for name, data in (("root.pub", KEY), ("user_data.MpGU", USER_DATA), ("ucernvm-prod.iso", b"\0" * 4096)):
        Path(path, name).write_bytes(data)
        os.chown(Path(path, name), UID, GID)
    return path


def extract(image: str, name: str, to: Path) -> bytes:
    command = ["xorriso", "-osirrox", "on", "-indev", image, "-extract", name, str(to / "out")]
    subprocess.run(command, check=True, capture_output=True)
    return (to / "out").read_bytes()


def test_an_htcondorvms_job_unchanged(call: Callable[..., Any], node: Node, sandbox: str, tmp_path: Path) -> None:
    code, printed = call(sandbox)
    assert code == 0
    assert list(printed) == ["VMPARAM_vm_Disk"]
    entries = json.loads(printed["VMPARAM_vm_Disk"]).split(",")
    assert [entry.split(":", 1)[1] for entry in entries] == ["hda:r:raw", "vda:w:raw", "vdb:w:raw", "hdd:r:raw"]
    assert os.path.getsize(f"{sandbox}/cvmfs_cache.raw") == 20 << 30
    assert os.path.getsize(f"{sandbox}/scratch.raw") == 30 << 30
    assert os.stat(f"{sandbox}/cvmfs_cache.raw").st_blocks == 0
    found = node.store.all()[0]
    script = extract(f"{sandbox}/context.iso", "/context.sh", tmp_path).decode()
    encoded = next(line for line in script.splitlines() if line.startswith("EC2_USER_DATA")).split('"')[1]
    assert base64.b64decode(encoded) == f"#!/bin/sh\necho {found.uuid}  ##keep##\n".encode()
    assert (Path(found.jobfeatures) / "job_id").read_text() == found.uuid
    assert (Path(found.machinefeatures) / "vac_uuid").read_text() == found.uuid
    assert found.machinetype == "htcondorvms"
    assert os.readlink(f"{sandbox}/machineoutputs") == "joboutputs"
    assert Path(sandbox, "console.log").read_bytes() == b""


def test_a_machinetypes_job(call: Callable[..., Any], node: Node, sandbox: str) -> None:
    image = node.base / "images" / "site.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "1G"], check=True)
    described = {
        "name": "atlas",
        "owner": "vac",
        "kind": "cloud-init",
        "image": str(image),
        "image_format": "qcow2",
        "user_data": "/etc/site/user_data.MpGU",
        "cvmfs_cache_gb": 0,
        "scratch_gb": 2,
        "heartbeat_file": "beat",
        "evidence_cpu_fraction": 0.1,
        "machinefeatures": {"site_key": "42"},
    }
    Path(sandbox, "atlas.json").write_text(json.dumps(described))
    ad = {"VacMachinetypeFile": "atlas.json", "PublicKey": None, "VMPARAM_vm_Disk": f"{image}:vda:r:qcow2"}
    code, printed = call(sandbox, **ad)
    assert code == 0, printed
    entries = json.loads(printed["VMPARAM_vm_Disk"]).split(",")
    assert entries[0] == f"{sandbox}/root.qcow2:vda:w:qcow2"
    assert os.path.getsize(f"{sandbox}/root.qcow2") < 1 << 20
    assert not Path(sandbox, "cvmfs_cache.raw").exists()
    found = node.store.all()[0]
    assert (found.machinetype, found.heartbeat_file, found.evidence_cpu_fraction) == ("atlas", "beat", 0.1)
    assert (Path(found.machinefeatures) / "site_key").read_text() == "42"


def test_a_site_image_that_names_another_file_is_refused_before_a_program_opens_it(
    call: Callable[..., Any], node: Node, sandbox: str
) -> None:
    image = node.base / "images" / "site.qcow2"
    # A server that does not answer: qemu-img would wait for it.
    command = ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", "nbd://192.0.2.1/x"]
    subprocess.run([*command, str(image), "1G"], check=True)
    code, printed = call(sandbox, VMPARAM_vm_Disk=f"{image}:vda:r:qcow2")
    assert (code, printed["HookStatusCode"]) == (1, "2")
    assert "has a backing file, 'nbd://192.0.2.1/x', which QEMU would read" in printed["HookStatusMessage"]
    nothing_left(node, sandbox)


def test_whether_kvm_works_is_not_for_the_jobs_user_to_say(call: Callable[..., Any], node: Node, sandbox: str) -> None:
    """vac_prepare_hook may not be let into the device, and a job that it refused would come again at once."""
    node.kvm_trouble = kvm_device.Trouble("/dev/kvm does not open: Permission denied", "look")
    code, printed = call(sandbox)
    assert (code, list(printed)) == (0, ["VMPARAM_vm_Disk"])


def test_other_universes_are_none_of_ours(call: Callable[..., Any], node: Node) -> None:
    assert call(node.sandbox(2), JobUniverse=5) == (0, {})
    assert lease_files(node) == []


HOLDS = [
    ({"WantIOProxy": False}, "WantIOProxy"),
    ({"WantIOProxy": None}, "WantIOProxy"),
    ({"VMPARAM_No_Output_VM": True}, "vm_no_output_vm"),
    ({"UserData": None}, "UserData"),
    ({"UserData": "../../etc/shadow"}, "UserData"),
    ({"PublicKey": "/etc/shadow"}, "PublicKey"),
    ({"VMPARAM_vm_Disk": "/etc/shadow:hda:r:raw"}, "vm_disk"),
    ({"VMPARAM_vm_Disk": "/dev/vda:vda:w:raw"}, "vm_disk"),
    ({"VMPARAM_vm_Disk": "ucernvm-prod.iso:hda:r:raw,x:hdd:r:raw"}, "hdd"),
    ({"JobVMNetworking": False}, "JobVMNetworking"),
    ({"JobVM_MACADDR": "52:54:00:00:00:01"}, "JobVM_MACADDR"),
    ({"JobVMType": "xen"}, "JobVMType"),
    ({"User": "a b@lab"}, "User"),
    ({"VacMachinetypeFile": "user_data.MpGU"}, "JSON"),
    ({"VMPARAM_vm_Disk": "absent.iso:hda:r:raw"}, "absent.iso"),
]
REQUEUES = [
    ({"VMPARAM_vm_Disk": "@IMAGES@/absent.iso:hda:r:raw"}, "absent.iso"),
]


def nothing_left(node: Node, sandbox: str) -> None:
    assert lease_files(node) == []
    assert node.exported() == []
    assert not {"cvmfs_cache.raw", "scratch.raw", "context.iso", "root.qcow2"} & set(os.listdir(sandbox))


@pytest.mark.parametrize(("changes", "named"), HOLDS)
def test_what_is_wrong_everywhere_is_held(
    call: Callable[..., Any], node: Node, sandbox: str, changes: dict[str, Any], named: str
) -> None:
    code, printed = call(sandbox, **changes)
    assert code == 1
    assert printed["HookStatusCode"] == "2"
    assert named in printed["HookStatusMessage"]
    nothing_left(node, sandbox)


@pytest.mark.parametrize(("changes", "named"), REQUEUES)
def test_what_is_wrong_here_is_requeued(
    call: Callable[..., Any], node: Node, sandbox: str, changes: dict[str, Any], named: str
) -> None:
    changes = {key: value.replace("@IMAGES@", node.settings.image_dir) for key, value in changes.items()}
    code, printed = call(sandbox, **changes)
    assert code == 1
    assert printed["HookStatusCode"] == "300"
    assert named in printed["HookStatusMessage"]
    nothing_left(node, sandbox)


@pytest.mark.parametrize("error", [VacError("the disk is full"), OSError(28, "No space left on device", "x")])
def test_a_failure_half_way_is_requeued_and_leaves_nothing(
    call: Callable[..., Any], node: Node, sandbox: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(iso, "make", fail)
    code, printed = call(sandbox)
    assert (code, printed["HookStatusCode"]) == (1, "300")
    nothing_left(node, sandbox)


def test_a_node_that_is_set_up_wrong_holds_no_job(
    call: Callable[..., Any], node: Node, sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise UsageError("/etc/condor_vac/worker.json: subnet: wrong")

    monkeypatch.setattr("condor_vac.worker.settings.load", broken)
    code, printed = call(sandbox)
    assert (code, printed["HookStatusCode"]) == (1, "300")
    assert "worker.json" in printed["HookStatusMessage"]


def test_a_node_that_shuts_down_starts_no_vm(call: Callable[..., Any], node: Node, sandbox: str) -> None:
    os.makedirs(node.store.run_directory)
    Path(node.store.run_directory, "shutdowntime").write_text("1700000000\n")
    code, printed = call(sandbox)
    assert (code, printed["HookStatusCode"]) == (1, "300")
    nothing_left(node, sandbox)


def test_a_planned_shutdown_is_among_the_features(call: Callable[..., Any], node: Node, sandbox: str) -> None:
    os.makedirs(node.store.run_directory)
    soon = int(time.time()) + 3600
    Path(node.store.run_directory, "shutdowntime").write_text(f"{soon}\n")
    assert call(sandbox)[0] == 0
    assert Path(sandbox, "machinefeatures", "shutdowntime").read_text() == str(soon)


def test_without_a_planned_shutdown_the_features_have_the_vms_own_end(call: Callable[..., Any], sandbox: str) -> None:
    assert call(sandbox)[0] == 0
    started = int(Path(sandbox, "jobfeatures", "jobstart_secs").read_text())
    limit = int(Path(sandbox, "jobfeatures", "wall_limit_secs").read_text())
    assert int(Path(sandbox, "machinefeatures", "shutdowntime").read_text()) == started + limit


def test_the_message_is_one_literal_for_every_ad(call: Callable[..., Any], node: Node, sandbox: str) -> None:
    _, printed = call(sandbox, UserData='"\\\n] ShutdownCode = 200')
    assert list(printed) == ["HookStatusCode", "HookStatusMessage"]
