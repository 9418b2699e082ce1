# SPDX-License-Identifier: GPL-3.0-or-later
"""The exit hook as HTCondor calls it, on a pretended node."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from condor_vac.base.errors import UsageError
from condor_vac.worker.lease import client as lease_client
from condor_vac.worker.lease.requests import Caller, EndRequest
from condor_vac.worker.lease.store import Lease
from condor_vac.worker.libvirt import Domain
from condor_vac.worker.programs import exit_hook, libvirt_hook
from condor_vac.worker.programs.lease_helper import report_end_and_release
from tests.unit import damage
from tests.unit.condor_vac.worker.conftest import GID, UID, Node, lease_files
from tests.unit.condor_vac.worker.programs.vms import started


def event(node: Node, domain: str, operation: str, part: str = "begin", extra: str = "-") -> None:
    libvirt_hook.handle(domain, operation, part, extra, store=node.store)


@pytest.fixture
def leave(node: Node, monkeypatch: pytest.MonkeyPatch) -> Callable[[Lease, str], int]:
    """Run the JOB_EXIT hook for a lease."""

    def end(sandbox: str, reason: str) -> None:
        report_end_and_release(EndRequest(sandbox, reason), Caller(UID, GID), node.settings, node.store)

    monkeypatch.setattr(lease_client, "end", end)
    monkeypatch.setattr(exit_hook, "LEASES", node.store.directory)

    def run(found: Lease, reason: str) -> int:
        monkeypatch.setenv("_CONDOR_SCRATCH_DIR", found.sandbox)
        monkeypatch.setattr(sys, "argv", ["vac_exit_hook", reason])
        return exit_hook.main()

    return run


@pytest.mark.parametrize(("reason", "cause"), [("exit", "none"), ("remove", "removed"), ("evict", "removed")])
def test_the_exit_hook_does_what_libvirts_could_not(
    node: Node, leave: Callable[[Lease, str], int], reason: str, cause: str
) -> None:
    found = started(node)
    Path(found.console).write_text("login:")
    assert leave(found, reason) == 0
    assert node.recorded()["VacCause"] == f'"{cause}"'
    assert lease_files(node) == []
    assert Path(found.sandbox, "console.log").read_text() == "login:"
    assert leave(found, reason) == 0


@pytest.mark.parametrize("reason", ["remove", "hold", "evict"])
def test_the_exit_hook_leaves_a_vm_alone_that_may_be_starting(
    node: Node, leave: Callable[[Lease, str], int], reason: str
) -> None:
    found = node.acquire()
    disk = Path(found.sandbox, "context.iso")
    disk.write_bytes(b"iso")
    assert leave(found, reason) == 0
    assert (node.recorded(), len(lease_files(node)), disk.read_bytes()) == ({}, 1, b"iso")


def test_the_exit_hook_after_libvirts_finds_nothing_to_do(node: Node, leave: Callable[[Lease, str], int]) -> None:
    found = started(node)
    Path(found.console).write_text("login:")
    event(node, found.domain, "release", "end", "shutdown")
    recorded = list(node.starter.asked)
    assert leave(found, "exit") == 0
    assert node.starter.asked == recorded
    assert Path(found.sandbox, "console.log").read_text() == "login:"


def test_the_exit_hook_leaves_the_lease_of_a_vm_that_still_runs(
    node: Node, leave: Callable[[Lease, str], int], capsys: pytest.CaptureFixture[str]
) -> None:
    found = started(node)
    node.run_domains(Domain(found.domain, 1, 1.0, 1))
    assert leave(found, "exit") == 1
    assert "still runs" in capsys.readouterr().err
    assert len(lease_files(node)) == 1


def test_the_exit_hook_does_nothing_where_no_lease_names_its_sandbox(
    node: Node, monkeypatch: pytest.MonkeyPatch, leave: Callable[[Lease, str], int]
) -> None:
    found = started(node)

    def end(sandbox: str, reason: str) -> None:
        raise AssertionError(f"asked for {sandbox}, {reason}")

    monkeypatch.setattr(lease_client, "end", end)
    assert leave(found._replace(sandbox=f"{found.sandbox}/scratch"), "exit") == 0
    monkeypatch.setattr(exit_hook, "LEASES", f"{node.base}/nowhere")
    assert leave(found, "exit") == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*damage.MADE, *damage.UNREADABLE])
@pytest.mark.parametrize("whose", ["its own", "another's"])
def test_a_damaged_lease_holds_no_other_jobs_end(
    node: Node, monkeypatch: pytest.MonkeyPatch, leave: Callable[[Lease, str], int], whose: str, kind: str
) -> None:
    """vac_lease is asked where the lease is, or where the damaged one may be it."""
    found = started(node)
    asked: list[str] = []
    monkeypatch.setattr(lease_client, "end", lambda sandbox, reason: asked.append(f"{sandbox} {reason}"))
    directory = Path(node.store.directory)
    path = directory / f"{found.uuid}.json"
    if whose == "another's":
        path = directory / "00000000-0000-4000-8000-000000000009.json"
        path.write_text(json.dumps({**found.to_mapping(), "sandbox": "/another"}))
    if kind in damage.MADE:
        damage.MADE[kind](path)
    else:
        damage.unreadable(monkeypatch, path, kind)
    readable = whose == "another's" or kind in {"truncated", "from the future"}
    unread = kind in {"a directory", "a link to itself", *damage.UNREADABLE}
    assert leave(found, "exit") == 0
    assert asked == ([f"{found.sandbox} exit"] if readable or unread else [])


@pytest.mark.parametrize("kind", sorted(damage.MADE))
def test_the_exit_hook_finds_its_lease_beside_a_damaged_one(
    node: Node, leave: Callable[[Lease, str], int], kind: str
) -> None:
    found = started(node)
    for name in ("0", "ffffffff-ffff-4fff-8fff-ffffffffffff"):
        path = Path(node.store.directory, f"{name}.json")
        path.write_text("{}")
        damage.MADE[kind](path)
    assert leave(found, "exit") == 0
    assert node.recorded()["VacRuntime"] == "5000"


@pytest.mark.parametrize(
    "request_", [{"sandbox": "@"}, {"sandbox": "@", "reason": "bored"}, {"sandbox": "@", "reason": "exit", "uuid": "x"}]
)
def test_an_end_for_another_reason_is_refused(node: Node, request_: dict[str, str]) -> None:
    found = started(node)
    asked = {key: value.replace("@", found.sandbox) for key, value in request_.items()}
    with pytest.raises(UsageError, match="exit, remove, hold, evict"):
        EndRequest.from_mapping(asked)
    assert (node.recorded(), len(lease_files(node))) == ({}, 1)


def test_another_users_vm_is_not_ended(node: Node) -> None:
    found = started(node)
    asked = EndRequest(found.sandbox, "exit")
    assert report_end_and_release(asked, Caller(UID + 5, GID), node.settings, node.store) is None
    assert (node.recorded(), len(lease_files(node))) == ({}, 1)


def test_the_exit_hook_finds_only_the_lease_of_its_own_sandbox(node: Node, leave: Callable[[Lease, str], int]) -> None:
    found = started(node)
    assert leave(found._replace(sandbox=f"{found.sandbox}9"), "exit") == 0
    assert len(lease_files(node)) == 1
