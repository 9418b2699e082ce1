# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of a VM: recorded once by the first caller, whatever the guest left, and within the time there is."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import VacError
from condor_vac.condor import chirp
from condor_vac.model import outcome_record
from condor_vac.worker.lease.store import Lease, boottime
from condor_vac.worker.vm import ending, outputs
from tests.unit.condor_vac.worker.conftest import GID, ROOT, UID, Node

ALWAYS = {
    *("VacOutcome", "ShutdownCode", "ShutdownMessage", "VacKind", "VacAbort", "VacRuntime", "VacCause", "VacEnded"),
    *("VacUUID", "VacLeased"),
}


def ended(node: Node, runtime: float = 5000.0, **changes: Any) -> Lease:
    """The lease of a VM that has ended after so many seconds."""
    lease = node.acquire()
    now = boottime()
    values = {"started": 1, "started_boottime": now - runtime, "ended": 1700000000, "ended_boottime": now, **changes}
    return node.change(lease, **values)


def finish(node: Node, lease: Lease, reason: str = "shutdown") -> bool:
    return ending.finish(lease, reason, str(node.execute))


@pytest.mark.parametrize(
    ("message", "runtime", "reason", "code", "kind", "abort", "cause"),
    [
        (b"200 Success", 5000, "shutdown", "200", "success", "false", "message"),
        (b"300 No work\n", 30, "shutdown", "300", "no_work", "true", "message"),
        (b"100 host", 5000, "destroyed", "100", "host_request", "false", "message"),
        (None, 5000, "shutdown", "undefined", "none", "false", "none"),
        (None, 30, "shutdown", "undefined", "fizzle", "true", "fizzle"),
        (b"", 30, "crashed", "undefined", "site", "true", "crashed"),
        (b"gone", 5000, "failed", "undefined", "none", "false", "failed"),
        (b"200 Success", 30, "crashed", "200", "success", "false", "message"),
        (None, 30, "destroyed", "undefined", "none", "false", "removed"),
        (None, 30, "remove", "undefined", "none", "false", "removed"),
    ],
)
def test_what_the_ad_gets(
    node: Node, message: bytes | None, runtime: float, reason: str, code: str, kind: str, abort: str, cause: str
) -> None:
    lease = ended(node, runtime)
    if message is not None:
        node.output(lease, "shutdown_message", message)
    assert finish(node, lease, reason)
    recorded = node.recorded()
    assert set(recorded) == ALWAYS
    found = (recorded["ShutdownCode"], recorded["VacKind"], recorded["VacAbort"], recorded["VacCause"])
    assert found == (code, f'"{kind}"', abort, f'"{cause}"')
    assert abs(int(recorded["VacRuntime"]) - runtime) <= 1
    assert recorded["VacEnded"] == "1700000000"
    assert (recorded["VacUUID"], recorded["VacLeased"]) == (f'"{lease.uuid}"', str(lease.created))
    # All of it in the first attribute: a starter that is about to end accepts no more.
    assert next(name for name, _ in node.starter.asked if name in ALWAYS) == "VacOutcome"
    record = outcome_record.read(recorded["VacOutcome"].strip('"'))
    assert {name: chirp.literal(value) for name, value in record.items()} == {
        name: text for name, text in recorded.items() if name in record
    }


@pytest.mark.parametrize("left", [None, b"100 told to stop"])
def test_a_vm_that_the_watch_stopped(node: Node, left: bytes | None) -> None:
    lease = ended(node)
    lease = node.change(lease, stopping={"cause": "wallclock", "message": "700 Exceeded x", "boottime": 1.0})
    if left is not None:
        node.output(lease, "shutdown_message", left)
    finish(node, lease, "destroyed")
    assert node.recorded()["ShutdownCode"] == ("700" if left is None else "100")
    assert node.recorded()["VacCause"] == '"wallclock"'


@pytest.mark.parametrize(
    ("left", "stopped", "cause"),
    [
        (b"100 shutdown_command", False, "backfill"),
        (None, True, "backfill"),
        (b"200 Success", False, "message"),
        (b"600 Broken", False, "message"),
    ],
)
def test_a_vm_that_leaves_for_another_job(node: Node, left: bytes | None, stopped: bool, cause: str) -> None:
    stopping = {"cause": "backfill", "message": "100 Another job", "boottime": 1.0} if stopped else None
    lease = node.change(node.acquire(), leaves=5, leaves_boottime=5.0, stopping=stopping)
    if left is not None:
        node.output(lease, "shutdown_message", left)
    ending.finish(lease, "shutdown", str(node.execute))
    assert node.recorded()["VacCause"].strip('"') == cause


def test_only_the_first_caller_acts(node: Node) -> None:
    lease = ended(node)
    node.output(lease, "shutdown_message", b"200 ok")
    assert finish(node, lease)
    assert not finish(node, lease, "exit")
    assert [name for name, _ in node.starter.asked].count("ShutdownCode") == 1


def _compete(node: Node, lease: Lease, results: Any) -> None:
    results.put(finish(node, lease))


def test_once_when_all_come_together(node: Node) -> None:
    lease = ended(node)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    workers = [context.Process(target=_compete, args=(node, lease, results)) for _ in range(8)]
    for worker in workers:
        worker.start()
    done = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert done.count(True) == 1


def test_the_work_is_done_as_the_jobs_user(node: Node) -> None:
    lease = ended(node)
    finish(node, lease)
    assert node.starter.users == {UID}


def test_files_are_safe_before_the_starter_hears_of_it(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as it does, it may send them back."""
    lease = ended(node)
    node.output(lease, "shutdown_message", b"200 Success")
    os.symlink("/etc/shadow", f"{lease.joboutputs}/log")
    seen = Path(lease.sandbox, "seen")

    def hears(*_: object, **__: object) -> None:
        seen.write_text(" ".join(sorted(os.listdir(lease.joboutputs))))

    monkeypatch.setattr(chirp, "set_attributes", hears)
    assert finish(node, lease)
    assert seen.read_text() == "shutdown_message"


def test_all_attributes_go_by_one_connection(node: Node) -> None:
    finish(node, ended(node))
    assert node.starter.connections == 1
    assert len(node.starter.asked) == len(ALWAYS)


@pytest.mark.parametrize("size", [8, 100 << 20])
def test_an_ad_that_cannot_be_changed_is_changed_by_the_next_caller(node: Node, size: int) -> None:
    lease = ended(node)
    node.output(lease, "shutdown_message", b"200 well done\n")
    os.truncate(f"{lease.joboutputs}/shutdown_message", size)
    node.starter.answer = ""
    with pytest.raises(VacError, match="ended the connection"):
        finish(node, lease)
    assert not Path(lease.sandbox, "scratch.raw").exists()
    node.starter.answer = "0"
    assert finish(node, lease, "exit")
    assert node.recorded()["ShutdownCode"] == "200"


def test_a_starter_that_hangs_costs_no_more_than_the_time_there_is(node: Node) -> None:
    lease = ended(node)
    node.starter.answer = None
    with pytest.raises(VacError, match=r"no answer within 0\.5 s"):
        ending.finish(lease, "shutdown", node.settings.execute, starter_seconds=0.5)


def test_disks_and_context_do_not_go_back(node: Node) -> None:
    lease = ended(node)
    for name in ("cvmfs_cache.raw", "scratch.raw", "root.qcow2", "context.iso", "mine.raw"):
        Path(lease.sandbox, name).touch()
    finish(node, lease)
    assert sorted(os.listdir(lease.sandbox)) == sorted(
        [".chirp.config", ".joboutputs.guest", ".vac_ended", "jobfeatures", "joboutputs", "machinefeatures", "mine.raw"]
    )


def test_a_vm_that_was_never_prepared_is_recorded_too(node: Node) -> None:
    lease = node.acquire()
    Path(lease.joboutputs).rmdir()
    assert finish(node, lease, "evict")
    assert node.recorded()["ShutdownCode"] == "undefined"
    assert node.recorded()["VacRuntime"] == "0"


@pytest.mark.skipif(not ROOT, reason="needs root: makes files of another user")
def test_what_came_by_http_is_nginxs_and_goes_back_too(node: Node) -> None:
    lease = ended(node)
    for name, data in (("shutdown_message", b"200 ok"), ("vm-pilot.log", b"log")):
        path = Path(lease.joboutputs, name)
        path.write_bytes(data)
        path.chmod(0o664)
        os.chown(path, UID + 7, GID + 7)
    assert finish(node, lease)
    assert node.recorded()["ShutdownCode"] == "200"
    assert sorted(os.listdir(lease.joboutputs)) == ["shutdown_message", "vm-pilot.log"]


def test_gid_is_the_users(node: Node) -> None:
    lease = ended(node)
    finish(node, lease)
    assert os.stat(f"{lease.sandbox}/.vac_ended").st_gid == GID


def lease_that_ended(**changes: Any) -> Lease:
    """A lease by itself, of a VM that ran for 5000 s and had 600 s of grace."""
    texts = dict.fromkeys([name for name in Lease._fields if name not in Lease._field_defaults], "x")
    values = {"started_boottime": 100.0, "ended": 1700000000, "ended_boottime": 5100.0, "fizzle_seconds": 600}
    return Lease(**{**texts, **values, **changes})


STOPPED = {"cause": "wallclock", "message": "700 Exceeded max_wallclock_seconds", "boottime": 5000.0}
EARLY = {"ended_boottime": 130.9}
LEAVES = {"leaves": 1700000000, "leaves_boottime": 5100.0}


@pytest.mark.parametrize(
    ("changes", "message", "reason", "expected"),
    [
        ({}, b"200 Success", "shutdown", (200, "Success", "message", 5000, "success", False)),
        ({}, b"no code", "shutdown", (None, "no code", "none", 5000, "none", False)),
        ({}, None, "shutdown", (None, "", "none", 5000, "none", False)),
        (EARLY, None, "shutdown", (None, "", "fizzle", 30, "fizzle", True)),
        (EARLY, b"gone", "crashed", (None, "gone", "crashed", 30, "site", True)),
        (EARLY, None, "failed", (None, "", "failed", 30, "site", True)),
        ({}, None, "crashed", (None, "", "crashed", 5000, "none", False)),
        *((EARLY, None, reason, (None, "", "removed", 30, "none", False)) for reason in ("destroyed", "remove")),
        *((EARLY, None, reason, (None, "", "removed", 30, "none", False)) for reason in ("hold", "evict")),
        # HTCondor removes a VM that has said why it ends.
        ({}, b"300 No work", "remove", (300, "No work", "message", 5000, "no_work", True)),
        # The watch's reason counts whatever libvirt says, and its message if the VM leaves none.
        (
            {"stopping": STOPPED},
            None,
            "destroyed",
            (700, "Exceeded max_wallclock_seconds", "wallclock", 5000, "agent", True),
        ),
        ({"stopping": STOPPED}, b"200 Success", "destroyed", (200, "Success", "wallclock", 5000, "success", False)),
        ({"stopping": STOPPED, **LEAVES}, b"100 ok", "shutdown", (100, "ok", "wallclock", 5000, "host_request", False)),
        (LEAVES, b"100 ok", "shutdown", (100, "ok", "backfill", 5000, "host_request", False)),
        (LEAVES, b"300 No work", "shutdown", (300, "No work", "message", 5000, "no_work", True)),
        ({}, b"100 ok", "shutdown", (100, "ok", "message", 5000, "host_request", False)),
        ({"started_boottime": None}, None, "evict", (None, "", "removed", 0, "none", False)),
    ],
)
def test_each_attribute_of_each_end(
    changes: dict[str, Any], message: bytes | None, reason: str, expected: tuple[Any, ...]
) -> None:
    lease = lease_that_ended(**changes)
    found = ending.attributes(lease, message, reason)
    names = ("ShutdownCode", "ShutdownMessage", "VacCause", "VacRuntime", "VacKind", "VacAbort")
    assert next(iter(found)) == "VacOutcome"
    record = found.pop("VacOutcome")
    assert found == {**dict(zip(names, expected)), "VacEnded": 1700000000, **ending.identity(lease)}
    read = outcome_record.read(str(record))
    assert {**found, **read} == found


def test_an_end_that_nobody_saw_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1800000000.9)
    found = ending.attributes(lease_that_ended(ended=None), None, "shutdown")
    assert found["VacEnded"] == 1800000000


def test_a_lock_that_cannot_be_made_names_the_sandbox(node: Node) -> None:
    lease = ended(node)
    Path(lease.sandbox, ".vac_ended").mkdir()
    with pytest.raises(VacError, match=r"^\.vac_ended: .*; check the job's sandbox$"):
        finish(node, lease)
    Path(lease.sandbox, ".vac_ended").rmdir()
    assert finish(node, lease)


def test_a_message_that_was_moved_aside_counts_and_a_newer_one_counts_more(node: Node) -> None:
    lease = ended(node)
    aside = Path(lease.sandbox, ".joboutputs.guest")
    for directory, text in ((aside, b"300 older"), (Path(lease.joboutputs), b"200 newer")):
        directory.mkdir(exist_ok=True)
        os.chown(directory, UID, GID)
        (directory / "shutdown_message").write_bytes(text)
        os.chown(directory / "shutdown_message", UID, GID)
    fd = os.open(lease.sandbox, os.O_RDONLY)
    try:
        assert ending._message(fd) == b"200 newer"
        os.unlink(f"{lease.joboutputs}/shutdown_message")
        assert ending._message(fd) == b"300 older"
        os.unlink(aside / "shutdown_message")
        assert ending._message(fd) is None
    finally:
        os.close(fd)
    assert finish(node, lease)


def test_what_fails_leaves_the_disks_removed_and_the_work_to_the_next(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = ended(node)
    Path(lease.sandbox, "scratch.raw").touch()

    def fails(_: int) -> None:
        raise VacError("no outputs")

    with monkeypatch.context() as patch:
        patch.setattr(outputs, "keep_safe_files", fails)
        with pytest.raises(VacError, match="no outputs"):
            finish(node, lease)
    assert not Path(lease.sandbox, "scratch.raw").exists()
    assert node.recorded()["ShutdownCode"] == "undefined"
    assert finish(node, lease, "exit")


def test_outputs_that_a_guest_closed_are_opened_up(node: Node) -> None:
    lease = ended(node)
    node.output(lease, "shutdown_message", b"200 Success")
    os.chmod(lease.joboutputs, 0)
    assert finish(node, lease)
    assert node.recorded()["ShutdownCode"] == "200"


def test_a_message_moved_aside_counts_where_the_outputs_are_gone(tmp_path: Path) -> None:
    (tmp_path / ".joboutputs.guest").mkdir()
    (tmp_path / ".joboutputs.guest/shutdown_message").write_bytes(b"300 older")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert ending._message(fd) == b"300 older"
    finally:
        os.close(fd)
