# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP sharing as VMs use it, and as hostile ones would."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import pytest

from condor_vac.cli import mjf_check
from condor_vac.worker.vm import features
from tests.integration.http.conftest import KEY, USER_DATA, Vm, start, write
from tests.integration.http.node import GID, HTTP_USER, MAX_BODY_MB, METADATA, MJF, UID, HttpNode

EC2 = ("latest", "2009-04-04")


def outputs(vm: Vm) -> list[str]:
    return sorted(os.listdir(vm.sandbox / "joboutputs"))


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("version", EC2)
def test_ec2_metadata(vm: Vm, version: str, slash: str) -> None:
    base = f"{METADATA}/{version}/meta-data"
    assert vm.get(f"{base}/instance-id{slash}").body == vm.uuid
    assert vm.get(f"{base}/ami-id{slash}").body == "atlas"
    assert vm.get(f"{base}/local-hostname{slash}").body == "vm-10.vac.internal"
    assert vm.get(f"{base}/public-keys/0/openssh-key{slash}").body == KEY.decode().strip()
    assert vm.get(f"{base}/public-keys{slash}").body.strip() == "0=root"
    assert vm.get(f"{base}/public-keys/0{slash}").body.strip() == "openssh-key"
    assert "instance-id" in vm.get(f"{base}{slash}").body.splitlines()


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    "path", ["latest/user-data", "2009-04-04/user-data", "latest/user_data", "openstack/2013-10-17/user_data"]
)
def test_user_data_byte_for_byte(vm: Vm, tmp_path: Path, path: str, slash: str) -> None:
    target = tmp_path / "got"
    assert vm.get(f"{METADATA}/{path}{slash}", "-o", str(target)).status == 200
    assert target.read_bytes() == USER_DATA + b"1"


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("name", ["meta_data.json", "meta-data.json"])
@pytest.mark.parametrize("version", ["2013-10-17", "latest"])
def test_openstack_metadata(vm: Vm, version: str, name: str, slash: str) -> None:
    answer = vm.get(f"{METADATA}/openstack/{version}/{name}{slash}")
    assert (answer.status, answer.type.partition(";")[0]) == (200, "application/json")
    document = json.loads(answer.body)
    assert document["uuid"] == vm.uuid
    assert document["availability_zone"] == "space.example"
    assert document["public_keys"] == {"0": KEY.decode().strip()}
    assert document["meta"] == {
        "machinefeatures": f"{MJF}/machinefeatures",
        "jobfeatures": f"{MJF}/jobfeatures",
        "joboutputs": f"{MJF}/joboutputs",
        "machinetype": "atlas",
    }


def test_features_are_read_and_listed(vm: Vm) -> None:
    for slash in ("", "/"):
        assert vm.get(f"{MJF}/machinefeatures/total_cpu{slash}").body == "2"
        assert vm.get(f"{MJF}/jobfeatures/job_id{slash}").body == vm.uuid
        assert "total_cpu" in vm.get(f"{MJF}/machinefeatures{slash}").body
    assert vm.get(f"{MJF}/machinefeatures/no_such_key").status == 404


def test_put_is_201_and_the_file_is_the_jobs_to_send(vm: Vm) -> None:
    answer = vm.get(f"{MJF}/joboutputs/shutdown_message", "-X", "PUT", "--data-binary", "200 Success")
    assert answer.status == 201
    path = vm.sandbox / "joboutputs" / "shutdown_message"
    assert path.read_text() == "200 Success"
    status = path.stat()
    assert status.st_nlink == 1
    assert stat.S_IMODE(status.st_mode) & 0o444 == 0o444
    assert status.st_uid not in {0, UID}
    assert status.st_gid != GID
    assert vm.get(f"{MJF}/joboutputs/shutdown_message", "-X", "PUT", "--data-binary", "300 None").status == 204
    assert path.read_text() == "300 None"
    assert vm.get(f"{MJF}/joboutputs/shutdown_message").body == "300 None"


def test_upload_file_appends_the_name(vm: Vm, tmp_path: Path) -> None:
    file = tmp_path / "vm-pilot.log"
    file.write_bytes(os.urandom(100_000))
    assert vm.get(f"{MJF}/joboutputs/", "--upload-file", str(file)).status == 201
    assert (vm.sandbox / "joboutputs" / "vm-pilot.log").read_bytes() == file.read_bytes()
    assert vm.get(f"{MJF}/joboutputs/chunked", "-H", "Transfer-Encoding: chunked", "-T", str(file)).status == 201
    assert "vm-pilot.log" in vm.get(f"{MJF}/joboutputs/").body


def test_mjf_check_reads_the_url(node: HttpNode, vm: Vm) -> None:
    """The check itself, in the VM's place."""
    source = str(Path(mjf_check.__file__).parents[2])
    program = f"import sys; sys.path.insert(0, {source!r}); from condor_vac.cli import dispatch"
    done = node.inside("python3", "-c", f"{program}; sys.exit(dispatch.main(['mjf-check', '--json', '{MJF}']))")
    # Not bound to a VM's address: the node itself is no VM.
    assert done.returncode != 0
    assert "403" in done.stdout + done.stderr


def test_mjf_check_passes_where_a_vm_asks(node: HttpNode, vm: Vm) -> None:
    """condor_vac mjf-check with the VM's address as its source."""
    described = features.Vm(
        uuid=vm.uuid, machinetype="atlas", processors=2, memory_bytes=1 << 31, scratch_bytes=1 << 30,
        started=int(time.time()), wall_limit_secs=3600, grace_secs=600, hs06=20.0,
    )  # fmt: skip
    for where, keys in (
        ("machinefeatures", features.machine_features(described)),
        ("jobfeatures", features.job_features(described)),
    ):
        for key, value in keys.items():
            write(vm.sandbox / where / key, value.encode())
    # PanDA's pilot reads this key alone.
    assert vm.get(f"{MJF}/machinefeatures/shutdowntime").body == str(described.started + 3600)
    source = str(Path(mjf_check.__file__).parents[2])
    route = ["ip", "route", "change", "table", "local", "local", "169.254.169.253", "dev", "lo", "src"]
    assert node.inside(*route, vm.address).returncode == 0
    program = f"import sys; sys.path.insert(0, {source!r}); from condor_vac.cli import dispatch"
    for place in ([MJF], [f"{MJF}/machinefeatures", f"{MJF}/jobfeatures"]):
        done = node.inside(
            "python3", "-c", f"{program}; sys.exit(dispatch.main(['mjf-check', '--strict', *{place!r}]))"
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.splitlines()[-1].startswith("0 errors, 0 warnings")
    node.inside(*route, "169.254.169.253")


def test_everybody_else_gets_403(node: HttpNode, vm: Vm) -> None:
    for address in ("192.168.86.1", "192.168.86.99"):
        for url in (f"{METADATA}/latest/user-data", f"{MJF}/machinefeatures/total_cpu", MJF, METADATA):
            assert node.curl(address, url).status == 403
        assert node.curl(address, f"{MJF}/joboutputs/x", "-X", "PUT", "-d", "x").status == 403


def test_each_vm_sees_its_own(vm: Vm, other: Vm) -> None:
    assert other.get(f"{METADATA}/latest/meta-data/instance-id").body == other.uuid != vm.uuid
    assert other.get(f"{METADATA}/latest/user-data").body.endswith("2")
    assert other.get(f"{MJF}/joboutputs/mine", "-X", "PUT", "-d", "x").status == 201
    assert "mine" in outputs(other)
    assert "mine" not in outputs(vm)


@pytest.mark.parametrize(
    "path",
    [
        "../x", "joboutputs/../x", "joboutputs/../../x", "joboutputs/..%2fx", "joboutputs/%2e%2e/x", "joboutputs/a/b",
        "joboutputs/%2e%2e%2f%2e%2e%2fetc%2fcron.d%2fx", "joboutputs//etc/x", "joboutputs/.hidden", "joboutputs/",
        "joboutputs/%00x", "joboutputs/a%0ab", "joboutputs/a%20b", "joboutputs/" + "n" * 129, "joboutputs/..",
        "joboutputs/a%5cb", "joboutputs/%c3%a9", "machinefeatures/total_cpu", "jobfeatures/job_id", "x", "",
        "metadata/user-data",
    ],
)  # fmt: skip
def test_put_outside_of_the_outputs_is_refused(vm: Vm, path: str) -> None:
    before = {str(found): found.stat().st_mtime_ns for found in vm.sandbox.rglob("*")}
    answer = vm.get(f"{MJF}/{path}", "-X", "PUT", "--data-binary", "hostile")
    assert 400 <= answer.status < 500, answer
    assert {str(found): found.stat().st_mtime_ns for found in vm.sandbox.rglob("*")} == before


@pytest.mark.parametrize("method", ["DELETE", "MKCOL", "MOVE", "COPY", "POST", "PROPFIND", "PATCH", "LOCK"])
def test_other_methods_are_refused(vm: Vm, method: str) -> None:
    vm.get(f"{MJF}/joboutputs/kept", "-X", "PUT", "-d", "x")
    options = ("-X", method, "-H", f"Destination: {MJF}/joboutputs/moved")
    for url in (f"{MJF}/joboutputs/kept", f"{MJF}/joboutputs/", f"{METADATA}/latest/user-data"):
        assert 400 <= vm.get(url, *options).status < 500
    assert "kept" in outputs(vm)
    assert "moved" not in outputs(vm)


@pytest.mark.parametrize("megabytes", [MAX_BODY_MB - 1, MAX_BODY_MB + 1])
@pytest.mark.parametrize("chunked", [False, True])
def test_too_large_a_body_is_413_and_leaves_nothing(vm: Vm, tmp_path: Path, megabytes: int, chunked: bool) -> None:
    file = tmp_path / "big"
    file.write_bytes(b"\0" * (megabytes << 20))
    options = ["-H", "Transfer-Encoding: chunked"] if chunked else []
    name = f"big-{megabytes}-{chunked}"
    answer = vm.get(f"{MJF}/joboutputs/{name}", "-T", str(file), *options)
    fits = megabytes <= MAX_BODY_MB
    assert answer.status == (201 if fits else 413)
    assert (name in outputs(vm)) == fits
    # nginx removes the body that it was receiving just after it has answered.
    for _ in range(100):
        left = [file for file in (vm.node.base / "nginx" / "body").rglob("*") if file.is_file()]
        if not left:
            break
        time.sleep(0.1)
    assert left == []


@pytest.mark.parametrize("target", ["/etc/passwd", "../metadata/user-data", "../../dir_2/metadata/user-data", "/"])
def test_links_in_outputs_are_not_followed(vm: Vm, other: Vm, target: str) -> None:
    """Made over NFS, or by the job's user."""
    link = vm.sandbox / "joboutputs" / "link"
    link.symlink_to(target)
    try:
        assert vm.get(f"{MJF}/joboutputs/link").status in {403, 404}
        assert vm.get(f"{MJF}/joboutputs/link/").status in {403, 404}
        # The link itself is replaced, what it names stays; a directory is not replaced at all.
        status = vm.get(f"{MJF}/joboutputs/link", "-X", "PUT", "-d", "new").status
        assert status == 409 if target == "/" else status in {201, 204}
        assert link.is_symlink() == (target == "/")
        assert target == "/" or link.read_text() == "new"
    finally:
        link.unlink()


def test_a_fifo_in_outputs_is_not_waited_for(vm: Vm) -> None:
    fifo = vm.sandbox / "joboutputs" / "fifo"
    os.mkfifo(fifo)
    try:
        assert vm.get(f"{MJF}/joboutputs/fifo").status in {403, 404}
    finally:
        fifo.unlink()


def test_nginx_cannot_write_features_or_metadata(node: HttpNode, vm: Vm) -> None:
    """Were nginx itself taken over: the mounts are read-only, whatever the modes of the directories."""
    top = f"/run/condor_vac/http/{vm.address}"
    for name in ("machinefeatures", "jobfeatures", "metadata"):
        done = node.inside("sh", "-c", f"echo x > {top}/{name}/hostile")
        assert done.returncode != 0
        assert "Read-only" in done.stderr
    for user, allowed in (("65534", False), (HTTP_USER, True)):
        done = node.inside("setpriv", "--reuid", user, "--regid", user, "--clear-groups", "ls", top)
        assert (done.returncode == 0) is allowed, done.stderr
        assert allowed or "Permission denied" in done.stderr


def test_a_released_vm_is_shown_nothing(node: HttpNode) -> None:
    gone, granted = start(node, 3)

    def mounts() -> int:
        found = node.inside("cat", "/proc/self/mountinfo")
        assert found.returncode == 0, found.stderr
        return found.stdout.count(f"/{gone.address}/")

    assert gone.get(f"{METADATA}/latest/user-data").status == 200
    assert mounts() == 4
    node.release(granted)
    for url in (f"{METADATA}/latest/user-data", f"{MJF}/joboutputs/"):
        assert gone.get(url).status == 403
    assert gone.get(f"{MJF}/joboutputs/late", "-X", "PUT", "-d", "x").status == 403
    assert mounts() == 0
    assert (gone.sandbox / "joboutputs").is_dir()


def test_the_next_vm_at_an_address_sees_nothing_of_the_last(node: HttpNode) -> None:
    first, granted = start(node, 4)
    first.get(f"{MJF}/joboutputs/secret", "-X", "PUT", "-d", "x")
    node.release(granted)
    second, _ = start(node, 5)
    assert second.address == first.address
    assert "secret" not in second.get(f"{MJF}/joboutputs/").body
    assert second.get(f"{METADATA}/latest/meta-data/instance-id").body == second.uuid


class Late(HttpNode):
    """A node whose processes are in the host's network for a second, where others may answer at its addresses."""

    enter = ("sh", "-c", 'sleep 1; exec "$@"', "sh", *HttpNode.enter)


def test_a_node_that_is_not_there_yet_is_waited_for(node: HttpNode) -> None:
    with Late() as late:
        vm = start(late, 1)[0]
        assert vm.get(f"{METADATA}/latest/meta-data/instance-id").body == vm.uuid
