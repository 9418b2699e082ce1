# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole of a lease, and what is undone, to the last directory, where one cannot be granted."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import UsageError, VacError
from condor_vac.worker import privileges
from condor_vac.worker.lease import grant, http_share, nfs_exports
from condor_vac.worker.lease.requests import AcquireRequest, Caller
from condor_vac.worker.lease.store import Lease, Store, boottime
from condor_vac.worker.libvirt import Domain
from tests.unit.condor_vac.worker.conftest import GID, OTHER, UID, Node, lease_files

# Many cases, or cases that wait: too much for `make check`.
pytestmark = pytest.mark.slow

WHO = Caller(UID, GID)


def acquire(node: Node, request: dict[str, Any], who: Caller = WHO, log: Any = print) -> Lease:
    return grant.acquire(AcquireRequest(**request), who, node.settings, node.store, log)


def test_every_field_of_a_lease(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1700000000.9)
    asked = {"heartbeat_file": "beat", "heartbeat_seconds": 60, "images": ("a.iso",), "sharing": "both"}
    before = boottime()
    found = acquire(node, node.request(**asked))
    assert before <= found.created_boottime <= boottime()
    sandbox = str(node.execute / "dir_1")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", found.uuid)
    assert found == Lease(
        uuid=found.uuid,
        domain="vac_lab_7.0",
        machinetype="atlas",
        uid=UID,
        gid=GID,
        user="vac",
        sandbox=sandbox,
        address="192.168.86.10",
        mac="52:54:00:76:56:0a",
        hostname="vm-10.vac.internal",
        network="vac",
        filter="clean-traffic",
        gateway="192.168.86.1",
        machinefeatures=f"{sandbox}/machinefeatures",
        jobfeatures=f"{sandbox}/jobfeatures",
        joboutputs=f"{sandbox}/joboutputs",
        sharing="both",
        chirp_config=f"{sandbox}/.chirp.config",
        console=f"{node.base}/console/vac-{found.uuid}.console",
        created=1700000000,
        created_boottime=found.created_boottime,
        fizzle_seconds=600,
        max_wallclock_seconds=86400,
        heartbeat_seconds=60,
        evidence_cpu_fraction=0.3,
        heartbeat_file="beat",
        images=("a.iso",),
    )
    assert lease_files(node) == [{**found.to_mapping(), "images": ["a.iso"]}]


def test_work_as_the_user_is_as_the_user_and_has_a_limit(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    real = privileges.run_as

    def run_as(uid: int, gid: int, work: Any, *, timeout: float) -> Any:
        seen.append((uid, gid, timeout))
        return real(uid, gid, work, timeout=timeout)

    monkeypatch.setattr(privileges, "run_as", run_as)
    monkeypatch.setattr(grant, "user_name", lambda uid: {UID: "vac"}[uid])
    acquire(node, node.request())
    assert seen == [(UID, GID, 20.0)]


def left(node: Node, sandbox: str) -> tuple[Any, ...]:
    return (node.exported(), lease_files(node), http_share.addresses(), sorted(os.listdir(sandbox)))


NOTHING: tuple[Any, ...] = ([], [], set(), [".chirp.config"])


@pytest.mark.parametrize("tool", ["exportfs", "ip"])
def test_what_fails_leaves_nothing_and_no_directory_that_was_there_is_lost(node: Node, tool: str) -> None:
    request = node.request(sharing="both")
    node.fail(tool, "joboutputs")
    with pytest.raises(VacError):
        acquire(node, request)
    assert left(node, request["sandbox"]) == NOTHING
    Path(request["sandbox"], "joboutputs").mkdir()
    os.chown(f"{request['sandbox']}/joboutputs", UID, GID)
    with pytest.raises(VacError):
        acquire(node, request)
    assert left(node, request["sandbox"]) == (*NOTHING[:3], [".chirp.config", "joboutputs"])
    node.mend(tool)
    assert acquire(node, request).address == "192.168.86.10"


def test_a_share_by_http_that_fails_leaves_nothing(node: Node) -> None:
    request = node.request(sharing="both")
    node.fail("mount", "metadata")
    with pytest.raises(VacError):
        acquire(node, request)
    assert left(node, request["sandbox"]) == NOTHING
    node.mend("mount")
    acquire(node, request)


def test_the_error_that_is_told_is_the_first(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails while it is undone does not hide it, and hides nothing else that has to be undone."""

    def fails(*_: object) -> None:
        raise VacError("undoing failed")

    request = node.request(sharing="both")
    node.fail("mount", "metadata")
    monkeypatch.setattr(nfs_exports, "remove", fails)
    monkeypatch.setattr(http_share, "revoke", fails)
    with pytest.raises(VacError, match="mount"):
        acquire(node, request)
    assert lease_files(node) == []


def test_a_directory_that_is_swapped_while_it_is_exported_is_refused(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = node.request()
    real = nfs_exports.add

    def swapped(export: Any, *arguments: Any, **options: Any) -> None:
        real(export, *arguments, **options)
        if export.directory.endswith("jobfeatures"):
            Path(export.directory).rename(f"{export.directory}.old")
            os.symlink("/etc", export.directory)

    monkeypatch.setattr(nfs_exports, "add", swapped)
    with pytest.raises(UsageError, match=rf"^{request['sandbox']}/jobfeatures: changed while it was being shared$"):
        acquire(node, request)
    assert (node.exported(), lease_files(node)) == ([], [])


@pytest.mark.parametrize(
    ("here", "asked", "message"),
    [
        (("nfs",), "http", "this node shares by nfs only"),
        (("nfs",), "both", "this node shares by nfs only"),
        (("http",), "nfs", "this node shares by http only"),
        (("http",), "both", "this node shares by http only"),
    ],
)
def test_how_a_node_shares(node: Node, here: tuple[str, ...], asked: str, message: str) -> None:
    node.settings = node.settings._replace(sharing=here)
    more = "change the machinetype, or worker_sharing here"
    with pytest.raises(UsageError, match=f"^request: sharing: {message}; {more}$"):
        acquire(node, node.request(sharing=asked))
    assert acquire(node, node.request(sandbox=node.sandbox(2), sharing=here[0])).sharing == here[0]


@pytest.mark.parametrize("sharing", ["nfs", "http", "both"])
def test_metadata_has_a_directory_where_it_is_shared(node: Node, sharing: str) -> None:
    found = acquire(node, node.request(sharing=sharing))
    names = {".chirp.config", "machinefeatures", "jobfeatures", "joboutputs"}
    assert set(os.listdir(found.sandbox)) == names | (set() if sharing == "nfs" else {"metadata"})


def test_an_earlier_vm_of_the_name_is_released_and_its_job_has_the_console(node: Node) -> None:
    first = acquire(node, node.request(sandbox=node.sandbox(1)))
    Path(first.console).write_bytes(b"login: ")
    other = acquire(node, node.request(sandbox=node.sandbox(3), domain="vac_lab_8.0"))
    notes: list[str] = []
    second = acquire(node, node.request(sandbox=node.sandbox(2)), log=notes.append)
    assert {one.uuid for one in node.store.all()} == {second.uuid, other.uuid}
    assert Path(first.sandbox, "console.log").read_bytes() == b"login: "
    assert notes == []


def test_a_console_that_the_earlier_job_does_not_get_is_noted(node: Node) -> None:
    first = acquire(node, node.request(sandbox=node.sandbox(1)))
    Path(first.sandbox, "console.log").mkdir()
    notes: list[str] = []
    acquire(node, node.request(sandbox=node.sandbox(2)), log=notes.append)
    assert len(notes) == 1
    assert notes[0].startswith(f"{first.label}: console not handed over: ")


def test_what_a_refused_request_made_in_a_sandbox_with_a_lease_stays(node: Node) -> None:
    """It may be the other request's by now."""
    first = acquire(node, node.request())
    with pytest.raises(VacError, match="has a lease already"):
        acquire(node, node.request(sandbox=first.sandbox, domain="vac_lab_8.0", sharing="both"))
    assert Path(first.sandbox, "metadata").is_dir()


def test_the_starters_file_may_be_in_a_directory_of_any_letters(node: Node) -> None:
    sandbox = node.sandbox(1)
    path = f"{sandbox}/aZ_9/.chirp.config"
    assert acquire(node, node.request(sandbox=sandbox, chirp_config=path)).chirp_config == path


def test_while_the_earlier_vm_runs_it_stays_and_another_running_one_does_not_matter(node: Node) -> None:
    first = acquire(node, node.request(sandbox=node.sandbox(1)))
    node.run_domains(Domain(first.domain, 1, 1.0, 1))
    message = r"^vac_lab_7\.0: its earlier VM still runs here; wait until vac_watch has ended it$"
    with pytest.raises(VacError, match=message):
        acquire(node, node.request(sandbox=node.sandbox(2)))
    assert acquire(node, node.request(sandbox=first.sandbox)) == first
    node.run_domains(Domain("vac_lab_9.0", 1, 1.0, 1))
    acquire(node, node.request(sandbox=str(node.execute / "dir_2")))


def test_another_users_vm_that_is_gone_is_released(node: Node) -> None:
    old = node.change(acquire(node, node.request(sandbox=node.sandbox(1))), uid=OTHER)
    message = r"^vac_lab_7\.0: another user's VM of that name is on this node$"
    with pytest.raises(VacError, match=message):
        acquire(node, node.request(sandbox=node.sandbox(2)))
    for path in sorted(Path(old.sandbox).iterdir()):
        path.unlink() if path.is_file() else path.rmdir()
    Path(old.sandbox).rmdir()
    assert acquire(node, node.request(sandbox=str(node.execute / "dir_2"))).uuid != old.uuid


def test_who_was_given_the_lease_meanwhile_keeps_it(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two requests for one name; the other one comes between the look and the lock."""
    other = acquire(node, node.request(sandbox=node.sandbox(1)))
    monkeypatch.setattr(grant, "_release_earlier", lambda *_: None)
    with pytest.raises(VacError, match=r"^vac_lab_7\.0: has just been given a lease for another sandbox$"):
        acquire(node, node.request(sandbox=node.sandbox(2)))
    assert node.store.all() == [other]
    assert os.listdir(node.execute / "dir_2") == [".chirp.config"]


def test_directories_of_a_sandbox_that_has_a_lease_stay(node: Node) -> None:
    lease = acquire(node, node.request())
    fd = os.open(lease.sandbox, os.O_RDONLY)
    try:
        grant._remove_directories(fd, ["joboutputs"], lease.sandbox, node.store)
        assert Path(lease.joboutputs).is_dir()
        grant._remove_directories(fd, ["joboutputs"], f"{lease.sandbox}x", node.store)
        assert not Path(lease.joboutputs).exists()
    finally:
        os.close(fd)


def test_one_lease_a_sandbox_and_its_like_is_another(node: Node) -> None:
    first = acquire(node, node.request(sandbox=node.sandbox(1)))
    message = rf"^{first.sandbox}: has a lease already, for its VM vac_lab_7\.0; one sandbox is one VM's$"
    with pytest.raises(VacError, match=message):
        acquire(node, node.request(sandbox=first.sandbox, domain="vac_lab_8.0"))
    acquire(node, node.request(sandbox=node.sandbox(10), domain="vac_lab_8.0"))


def test_an_address_of_a_damaged_lease_is_not_given(node: Node) -> None:
    first = acquire(node, node.request(sandbox=node.sandbox(1)))
    second = acquire(node, node.request(sandbox=node.sandbox(2), domain="vac_lab_8.0", sharing="http"))
    for lease in (first, second):
        Path(node.store.directory, f"{lease.uuid}.json").write_text("{")
    third = acquire(node, node.request(sandbox=node.sandbox(3), domain="vac_lab_9.0"))
    assert [one.address for one in (first, second, third)] == [f"192.168.86.{n}" for n in (10, 11, 12)]


def test_an_address_of_a_good_lease_is_not_given_either(node: Node) -> None:
    """Also when its exports are lost, which another lease being damaged has nothing to do with."""
    acquire(node, node.request(sandbox=node.sandbox(1)))
    Path(node.store.directory, "01234567-89ab-cdef-0123-456789abcdef.json").write_text("{")
    (node.base / "exports").write_text("")
    other = acquire(node, node.request(sandbox=node.sandbox(2), domain="vac_lab_8.0"))
    assert other.address == "192.168.86.11"


def test_when_all_addresses_are_taken(node: Node) -> None:
    taken = {f"192.168.86.{number}" for number in range(10, 251)}
    with pytest.raises(VacError, match=r"^no address of 192\.168\.86\.0/24 is free; 241 VMs have leases on this node$"):
        grant._free_place(taken, node.settings)
    assert grant._free_place(taken - {"192.168.86.250"}, node.settings).address == "192.168.86.250"


def test_the_chirp_file_that_is_refused_is_named(node: Node) -> None:
    request = node.request(chirp_config="/x/.chirp.config")
    with pytest.raises(
        UsageError, match=rf"^request: chirp_config: must be \.chirp\.config below {request['sandbox']}$"
    ):
        acquire(node, request)
    assert left(node, request["sandbox"]) == NOTHING


def test_another_store_is_another_nodes(node: Node, tmp_path: Path) -> None:
    acquire(node, node.request())
    assert Store(str(tmp_path)).all() == []
