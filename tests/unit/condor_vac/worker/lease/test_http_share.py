# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP sharing: whose directories nginx is shown at which address, and that nothing stays behind."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import UsageError, VacError
from condor_vac.worker.lease import grant, http_share
from condor_vac.worker.lease.requests import AcquireRequest, Caller, ReleaseRequest
from condor_vac.worker.lease.store import Lease
from condor_vac.worker.programs.lease_helper import release_if_ended
from condor_vac.worker.vm import preparation
from condor_vac.worker.watch import cleanup
from tests.unit.condor_vac.worker.conftest import GID, HTTP_GID, UID, Node, lease_files

# Many cases, or cases that wait: too much for `make check`.
pytestmark = pytest.mark.slow

ADDRESS = "192.168.86.10"


def shown(node: Node, address: str = ADDRESS) -> dict[str, str]:
    """Name to the directory that is mounted there."""
    top = node.base / "http" / address
    return {path.name: os.readlink(path) for path in top.iterdir()} if top.exists() else {}


def options(node: Node) -> dict[str, str]:
    """Name to the options of its mount."""
    lines = [line.split() for line in (node.base / "mountinfo").read_text().splitlines()]
    return {Path(words[4]).name: words[5] for words in lines if "/http/" in words[4]}


@pytest.mark.parametrize(("sharing", "exported"), [("nfs", 3), ("http", 0), ("both", 3)])
def test_shows_the_vm_its_own_directories(node: Node, sharing: str, exported: int) -> None:
    found = node.acquire(sharing=sharing)
    assert len(node.exported()) == exported
    names = [] if sharing == "nfs" else ["jobfeatures", "joboutputs", "machinefeatures", "metadata"]
    assert shown(node) == {name: f"{found.sandbox}/{name}" for name in names}
    assert Path(found.metadata).exists() == (sharing != "nfs")


def test_nginx_writes_outputs_and_nothing_else(node: Node) -> None:
    found = node.acquire(sharing="http")
    assert {name: text.split(",")[1] for name, text in options(node).items()} == {
        "machinefeatures": "ro",
        "jobfeatures": "ro",
        "joboutputs": "rw",
        "metadata": "ro",
    }
    for text in options(node).values():
        assert {"bind", "nosuid", "nodev", "noexec"} <= set(text.split(","))
    for path, mode in ((found.joboutputs, 0o2775), (found.metadata, 0o2750)):
        status = os.stat(path)
        assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (UID, HTTP_GID, mode)
    top = os.stat(http_share.DIRECTORY)
    assert (top.st_gid, top.st_mode & 0o7777) == (HTTP_GID, 0o750)


def test_mounts_by_descriptor(node: Node) -> None:
    node.acquire(sharing="http")
    assert all(line.startswith("-c -o ") and f" /proc/{os.getpid()}/fd/" in line for line in node.called("mount"))


def test_again_mounts_nothing_anew(node: Node) -> None:
    request = AcquireRequest(**node.request(sharing="both"))
    who = Caller(UID, GID)
    first = grant.acquire(request, who, node.settings, node.store)
    mounted = node.called("mount")
    assert grant.acquire(request, who, node.settings, node.store) == first
    assert node.called("mount") == mounted
    assert len(mounted) == 4


def test_release_leaves_nothing(node: Node) -> None:
    found = node.acquire(sharing="both")
    Path(found.joboutputs, "kept").write_text("x")
    for _ in range(2):
        release_if_ended(ReleaseRequest(uuid=found.uuid), Caller(UID, GID), node.settings, node.store)
        assert http_share.addresses() == set()
        assert "/http/" not in (node.base / "mountinfo").read_text()
    assert Path(found.joboutputs, "kept").exists()


@pytest.mark.parametrize("failing", ["machinefeatures", "joboutputs", "metadata"])
def test_failure_half_way_leaves_nothing(node: Node, failing: str) -> None:
    node.fail("mount", failing)
    with pytest.raises(VacError, match="mount: exit code 32"):
        node.acquire(sharing="both")
    assert (lease_files(node), node.exported(), http_share.addresses()) == ([], [], set())
    assert os.listdir(node.execute / "dir_1") == [".chirp.config"]
    node.mend("mount")
    assert node.acquire(sandbox=str(node.execute / "dir_1"), sharing="both").address == ADDRESS


def test_what_an_earlier_vm_left_at_the_address_is_replaced(node: Node) -> None:
    old = node.acquire(sharing="http")
    for path in Path(node.store.directory).glob("*.json"):
        path.unlink()
    new = node.acquire(sandbox=node.sandbox(2), sharing="http", domain="vac_lab_2.0")
    assert new.address == old.address
    assert set(shown(node).values()) == {f"{new.sandbox}/{name}" for name in http_share.SHARES}


def test_a_link_in_place_of_a_directory_is_refused(node: Node) -> None:
    sandbox = node.sandbox()
    secret = node.base / "secret"
    secret.mkdir(mode=0o700)
    before = secret.stat()
    os.symlink(secret, f"{sandbox}/metadata")
    with pytest.raises(UsageError, match="metadata"):
        node.acquire(sandbox=sandbox, sharing="http")
    assert http_share.addresses() == set()
    after = secret.stat()
    assert (after.st_gid, after.st_mode, after.st_ctime_ns) == (before.st_gid, before.st_mode, before.st_ctime_ns)


def test_a_directory_swapped_after_the_check_is_not_shown(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job's user renames its outputs while root works: the mount follows the descriptor, not the name."""
    sandbox = node.sandbox()
    elsewhere = node.base / "elsewhere"
    elsewhere.mkdir()
    real = http_share._show

    def swap(fd: int, target: str, *, writable: bool) -> None:
        if target.endswith("joboutputs"):
            Path(f"{sandbox}/joboutputs").rename(f"{sandbox}/moved")
            os.symlink(elsewhere, f"{sandbox}/joboutputs")
        real(fd, target, writable=writable)

    monkeypatch.setattr(http_share, "_show", swap)
    node.acquire(sandbox=sandbox, sharing="http")
    assert shown(node)["joboutputs"] == f"{sandbox}/moved"


@pytest.mark.parametrize(
    ("here", "asked"), [(["nfs"], "http"), (["nfs"], "both"), (["http"], "nfs"), (["http"], "both")]
)
def test_what_the_node_does_not_share_is_refused(node: Node, here: list[str], asked: str) -> None:
    only = node.settings._replace(sharing=tuple(here))
    with pytest.raises(UsageError, match=f"shares by {here[0]} only"):
        grant.acquire(AcquireRequest(**node.request(sharing=asked)), Caller(UID, GID), only, node.store)
    assert lease_files(node) == []


def test_a_node_without_nginxs_group_is_reported(node: Node) -> None:
    other = node.settings._replace(http_group="no_such_group")
    with pytest.raises(VacError, match="no_such_group"):
        grant.acquire(AcquireRequest(**node.request(sharing="http")), Caller(UID, GID), other, node.store)
    assert lease_files(node) == []


def test_a_private_mount_namespace_is_refused(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_share, "NODE_NAMESPACE", "/proc/self/ns/net")
    with pytest.raises(VacError, match="mount namespace"):
        node.acquire(sharing="http")


def test_the_janitor_removes_what_no_lease_grants(node: Node) -> None:
    found = node.acquire(sharing="http")
    other = node.acquire(sandbox=node.sandbox(2), domain="vac_lab_2.0", sharing="both")
    (Path(node.store.directory) / f"{found.uuid}.json").unlink()
    printed: list[str] = []
    assert cleanup.tidy(node.store, node.settings, {}, printed.append) == []
    assert http_share.addresses() == {other.address}
    assert [line for line in printed if ADDRESS in line]


def test_the_janitor_removes_shares_of_a_job_that_is_gone(node: Node) -> None:
    found = node.acquire(sharing="http")
    shutil.rmtree(found.sandbox)
    assert cleanup.tidy(node.store, node.settings, {}, lambda _text: None) == []
    assert http_share.addresses() == set()


@pytest.mark.parametrize("address", ["..", "192.168.86.10/../..", "", "a.b.c.d"])
def test_only_addresses_are_revoked(node: Node, address: str) -> None:
    with pytest.raises(UsageError):
        http_share.revoke(address)


def _metadata(found: Lease) -> dict[str, Any]:
    return {path.name: (path.read_bytes(), path.stat()) for path in Path(found.metadata).iterdir()}


def test_metadata_is_for_nginx_and_the_user_alone(node: Node) -> None:
    found = node.acquire(sharing="http")
    preparation._write_metadata({"user-data": b"secret", "instance-id": found.uuid.encode()}, found)
    for data, status in _metadata(found).values():
        assert data in {b"secret", found.uuid.encode()}
        assert status.st_mode & 0o7777 == 0o640
        assert status.st_gid == HTTP_GID
