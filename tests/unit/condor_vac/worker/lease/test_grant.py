# SPDX-License-Identifier: GPL-3.0-or-later
"""vac_lease: what it grants, to whom, and that it leaves nothing behind when it cannot."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import UsageError, VacError
from condor_vac.worker.lease import grant, requests
from condor_vac.worker.lease.requests import AcquireRequest, Caller, ReleaseRequest
from condor_vac.worker.libvirt import Domain
from condor_vac.worker.programs import lease_helper
from condor_vac.worker.programs.lease_helper import release_if_ended
from tests.unit.condor_vac.worker.conftest import GID, ROOT, UID, Node, lease_files

as_root = pytest.mark.skipif(not ROOT, reason="needs root: acts as two users")


def test_grants_an_address_and_three_directories_to_it_alone(node: Node) -> None:
    found = node.acquire()
    assert (found.address, found.uid, found.gid) == ("192.168.86.10", UID, GID)
    assert found.gateway == "192.168.86.1"
    for path in (found.machinefeatures, found.jobfeatures, found.joboutputs):
        assert os.stat(path).st_uid == UID
        assert os.stat(path).st_mode & 0o7777 == 0o755
    lines = sorted(node.exported())
    assert [line.split("(")[0] for line in lines] == [
        f"{found.sandbox}/{name}  192.168.86.10" for name in ("jobfeatures", "joboutputs", "machinefeatures")
    ]
    options = [line.split("(")[1].rstrip(")").split(",") for line in lines]
    assert [item[0] for item in options] == ["ro", "rw", "ro"]
    for item in options:
        assert {"all_squash", f"anonuid={UID}", f"anongid={GID}", "subtree_check"} <= set(item)
        assert "no_root_squash" not in item
    assert len({next(word for word in item if word.startswith("fsid=")) for item in options}) == 3
    assert lease_files(node) == [json.loads(json.dumps(found.to_mapping()))]


RULE = "76:\tfrom all to 192.168.86.0/24 iif vac0{} prohibit\n"


@pytest.mark.parametrize(
    ("rules", "added"),
    [
        ("", True),
        (RULE.format(""), False),
        (RULE.format(" [detached]"), False),
        (RULE.format("").replace("vac0", "vac1"), True),
        (RULE.format("").replace("86.0", "87.0"), True),
        (RULE.format("").replace("prohibit", "lookup main"), True),
        (RULE.format("").replace("76:", "40000:"), True),
    ],
)
def test_no_vm_is_routed_to_another(node: Node, rules: str, added: bool) -> None:
    (node.base / "rules").write_text(rules)
    node.acquire()
    assert (node.base / "rules").read_text() == rules + (RULE.format("") if added else "")


def test_without_that_rule_there_is_no_lease(node: Node) -> None:
    node.fail("ip", "RTNETLINK answers: Operation not permitted")
    with pytest.raises(VacError, match="Operation not permitted"):
        node.acquire()
    assert (node.exported(), lease_files(node)) == ([], [])
    node.mend("ip")
    assert node.acquire(sandbox=node.sandbox(2)).address == "192.168.86.10"


def test_again_is_the_same_lease(node: Node) -> None:
    request = AcquireRequest(**node.request())
    who = Caller(UID, GID)
    first = grant.acquire(request, who, node.settings, node.store)
    (node.base / "exports").write_text("")
    second = grant.acquire(request, who, node.settings, node.store)
    assert first == second
    assert len(node.exported()) == 3


def test_release_takes_everything_back_and_twice_is_fine(node: Node) -> None:
    found = node.acquire()
    Path(found.console).write_bytes(b"booting\nlogin: ")
    for expected in (found.uuid, None):
        released = release_if_ended(ReleaseRequest(uuid=found.uuid), Caller(UID, GID), node.settings, node.store)
        assert (released.uuid if released else None) == expected
    assert node.exported() == []
    assert lease_files(node) == []
    assert Path(found.sandbox, "console.log").read_bytes() == b"booting\nlogin: "
    assert os.stat(f"{found.sandbox}/console.log").st_uid == UID
    assert not Path(found.console).exists()


def test_release_while_the_vm_runs_is_refused(node: Node) -> None:
    found = node.acquire()
    node.run_domains(Domain(found.domain, 1, 1.0, 1))
    with pytest.raises(VacError, match="still runs"):
        release_if_ended(ReleaseRequest(domain=found.domain), Caller(UID, GID), node.settings, node.store)
    assert len(node.exported()) == 3


def test_another_users_lease_is_not_released(node: Node) -> None:
    found = node.acquire()
    with pytest.raises(UsageError, match="another user"):
        release_if_ended(ReleaseRequest(uuid=found.uuid), Caller(UID + 1, GID), node.settings, node.store)


@pytest.mark.parametrize("failing", ["machinefeatures", "jobfeatures", "joboutputs"])
def test_failure_half_way_leaves_nothing(node: Node, failing: str) -> None:
    node.fail("exportfs", f"192.168.86.10:{node.execute}/dir_1/{failing}")
    with pytest.raises(VacError, match="cannot export"):
        node.acquire()
    node.mend("exportfs")
    assert node.exported() == []
    assert lease_files(node) == []
    assert os.listdir(node.execute / "dir_1") == [".chirp.config"]
    assert node.acquire(sandbox=str(node.execute / "dir_1")).address == "192.168.86.10"


@pytest.mark.slow
def test_addresses_are_given_once_until_there_are_none(node: Node) -> None:
    given = {node.acquire(sandbox=node.sandbox(n), domain=f"vac_lab_{n}.0").address for n in range(1, 242)}
    assert len(given) == 241
    with pytest.raises(VacError, match="no address"):
        node.acquire(sandbox=node.sandbox(999), domain="vac_lab_999.0")
    release_if_ended(ReleaseRequest(domain="vac_lab_100.0"), Caller(UID, GID), node.settings, node.store)
    assert node.acquire(sandbox=str(node.execute / "dir_999"), domain="vac_lab_999.0").address in given


def _race(node: Node, number: int, results: Any) -> None:
    results.put(node.acquire(sandbox=str(node.execute / f"dir_{number}"), domain=f"vac_lab_{number}.0").address)


@pytest.mark.slow
def test_twenty_at_once_get_twenty_addresses(node: Node) -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    for number in range(1, 21):
        node.sandbox(number)
    workers = [context.Process(target=_race, args=(node, number, results)) for number in range(1, 21)]
    for worker in workers:
        worker.start()
    given = {results.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join()
    assert len(given) == 20
    assert len(node.exported()) == 60


def test_a_lease_that_an_earlier_vm_left_is_released(node: Node) -> None:
    old = node.acquire(sandbox=node.sandbox(1))
    new = node.acquire(sandbox=node.sandbox(2, below="scratch"))
    assert new.uuid != old.uuid
    assert [item.uuid for item in node.store.all()] == [new.uuid]
    assert all("dir_2/scratch" in line for line in node.exported())


def test_while_the_earlier_vm_runs_there_is_no_second_lease(node: Node) -> None:
    old = node.acquire(sandbox=node.sandbox(1))
    node.run_domains(Domain(old.domain, 1, 1.0, 1))
    with pytest.raises(VacError, match="still runs"):
        node.acquire(sandbox=node.sandbox(2))
    assert [item.uuid for item in node.store.all()] == [old.uuid]


@pytest.mark.parametrize(
    "path",
    [
        "/etc",
        "/",
        "@EXECUTE@",
        "@EXECUTE@/",
        "@EXECUTE@/dir_1/",
        "@EXECUTE@/dir_1/other",
        "@EXECUTE@/dir_1/scratch/deeper",
        "@EXECUTE@/dir_x",
        "@EXECUTE@/../execute/dir_1",
        "@EXECUTE@/dir_1/../dir_1",
        "@EXECUTE@x/dir_1",
        "relative/dir_1",
        "",
    ],
)
def test_only_a_sandbox_is_shared(node: Node, path: str) -> None:
    node.sandbox(1)
    path = path.replace("@EXECUTE@", str(node.execute))
    with pytest.raises(UsageError, match="sandbox"):
        grant.acquire(
            AcquireRequest.from_mapping(node.request(sandbox=path)),
            Caller(UID, GID),
            node.settings,
            node.store,
        )
    assert node.exported() == []


@pytest.mark.parametrize("name", ["machinefeatures", "jobfeatures", "joboutputs"])
@pytest.mark.parametrize("target", ["/etc", "..", "file"])
def test_links_and_files_in_the_way_are_refused(node: Node, name: str, target: str) -> None:
    sandbox = node.sandbox(1)
    if target == "file":
        Path(sandbox, name).write_text("")
    else:
        os.symlink(target, f"{sandbox}/{name}")
    with pytest.raises(UsageError, match=name):
        node.acquire(sandbox=sandbox)
    assert node.exported() == []
    assert lease_files(node) == []


def test_a_sandbox_that_is_a_link_is_refused(node: Node) -> None:
    real = node.sandbox(1)
    os.symlink(real, node.execute / "dir_2")
    with pytest.raises(UsageError, match="no link"):
        node.acquire(sandbox=str(node.execute / "dir_2"))


@as_root
def test_another_users_sandbox_is_refused(node: Node) -> None:
    with pytest.raises(UsageError, match="does not belong"):
        node.acquire(sandbox=node.sandbox(1, uid=0))
    with pytest.raises(UsageError, match="belongs to another user"):
        node.acquire(sandbox=node.sandbox(2, uid=UID + 7))
    inside = node.sandbox(3, below="scratch")
    os.chown(node.execute / "dir_3", UID + 7, -1)
    with pytest.raises(UsageError, match="belongs to another user"):
        node.acquire(sandbox=inside)


@as_root
def test_another_users_directory_in_the_sandbox_is_refused(node: Node) -> None:
    sandbox = node.sandbox(1)
    Path(sandbox, "joboutputs").mkdir()
    with pytest.raises(UsageError, match="another user"):
        node.acquire(sandbox=sandbox)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"domain": "x"}, "domain"),
        ({"domain": "-x_1.0"}, "domain"),
        ({"domain": "a b_1.0"}, "domain"),
        ({"domain": "a/../b_1.0"}, "domain"),
        ({"domain": "a_1.0\n"}, "domain"),
        ({"machinetype": "a/b"}, "machinetype"),
        ({"fizzle_seconds": -1}, "fizzle_seconds"),
        ({"fizzle_seconds": True}, "fizzle_seconds"),
        ({"max_wallclock_seconds": 1e9}, "max_wallclock_seconds"),
        ({"heartbeat_file": "../x"}, "heartbeat_file"),
        ({"uuid": "x"}, "uuid"),
        ({"uuid": "../../../../etc/passwd"}, "uuid"),
        ({"sharing": "ftp"}, "sharing"),
        ({"uid": 0}, "uid"),
    ],
)
def test_wrong_requests_are_refused(change: dict[str, Any], named: str) -> None:
    good: dict[str, Any] = {"sandbox": "/x/dir_1", "domain": "vac_lab_1.0", "machinetype": "t", "sharing": "nfs"}
    good.update({"fizzle_seconds": 1, "max_wallclock_seconds": 1, "heartbeat_seconds": 0, "evidence_cpu_fraction": 0})
    AcquireRequest.from_mapping(good)
    with pytest.raises(UsageError, match=named):
        AcquireRequest.from_mapping({**good, **change})


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 60000, b" " * 70000, b'"x"'])
def test_requests_that_are_not_an_object_are_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match="request"):
        requests.parse(data)


@pytest.mark.parametrize(
    ("path", "good"),
    [
        ("@JOB@/.chirp.config", True),
        ("@JOB@/user/.chirp.config", True),
        ("/home/x/.chirp.config", False),
        ("@JOB@/a/b/.chirp.config", False),
        ("@JOB@/user/other", False),
        ("@JOB@0/.chirp.config", False),
    ],
)
def test_chirp_config_is_in_the_jobs_directory(node: Node, path: str, good: bool) -> None:
    sandbox = node.sandbox(5, below="scratch")
    path = path.replace("@JOB@", str(node.execute / "dir_5"))
    if good:
        assert node.acquire(sandbox=sandbox, chirp_config=path).chirp_config == path
    else:
        with pytest.raises(UsageError, match="chirp_config"):
            node.acquire(sandbox=sandbox, chirp_config=path)


@as_root
def test_root_gets_no_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("0", "-1", ""):
        monkeypatch.setenv("SUDO_UID", value)
        with pytest.raises(UsageError, match="sudo"):
            lease_helper.caller()
    monkeypatch.setenv("SUDO_UID", "1000")
    monkeypatch.setenv("SUDO_GID", "1001")
    assert lease_helper.caller() == Caller(1000, 1001)


@pytest.mark.parametrize("arguments", [[], ["acquire", "x"], ["steal"], ["--help"]])
def test_command_refuses_other_arguments(arguments: list[str]) -> None:
    code = (
        "import sys; sys.path[:0] = ['src']; from condor_vac.worker.programs.lease_helper import main; sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], input=b"{}", capture_output=True, check=False)
    assert done.returncode == 2
    assert b"usage" in done.stderr
