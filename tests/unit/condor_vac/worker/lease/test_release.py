# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking a lease back: all of it, also when the job is gone or does not get its console."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from condor_vac.base.errors import VacError
from condor_vac.worker.lease import console, http_share
from condor_vac.worker.lease.release import give_console, release_locked, release_once
from condor_vac.worker.lease.store import Lease
from tests.unit.condor_vac.worker.conftest import Node, lease_files


def with_console(node: Node, sharing: str = "nfs") -> Lease:
    found = node.acquire(sharing=sharing)
    Path(found.console).write_bytes(b"login: ")
    return found


def nothing_left(node: Node, lease: Lease) -> bool:
    shown = http_share.addresses()
    return (node.exported(), lease_files(node), shown, Path(lease.console).exists()) == ([], [], set(), False)


@pytest.mark.parametrize("sharing", ["nfs", "http", "both"])
def test_all_is_taken_back(node: Node, sharing: str) -> None:
    lease = with_console(node, sharing)
    with node.store.lock():
        release_locked(lease, node.store)
    assert nothing_left(node, lease)


def test_who_comes_second_releases_nothing(node: Node) -> None:
    lease = with_console(node)
    other = node.acquire(sandbox=node.sandbox(2), domain="vac_lab_8.0")
    assert release_once(lease, node.store) is True
    assert release_once(lease, node.store) is False
    assert [one["uuid"] for one in lease_files(node)] == [other.uuid]
    assert len(node.exported()) == 3


def test_what_another_program_wrote_meanwhile_counts(node: Node) -> None:
    """The lease is read again under the lock."""
    lease = with_console(node)
    node.change(lease, sharing="http")
    assert release_once(lease, node.store)
    assert len(node.exported()) == 3


def test_the_job_gets_its_console(node: Node) -> None:
    lease = with_console(node)
    said: list[str] = []
    give_console(lease, node.settings, said.append)
    assert Path(lease.sandbox, "console.log").read_bytes() == b"login: "
    assert said == []


def test_a_job_that_is_gone_gets_no_console(node: Node) -> None:
    lease = with_console(node)
    shutil.rmtree(lease.sandbox)
    said: list[str] = []
    give_console(lease, node.settings, said.append)
    assert said == []


def test_a_console_that_cannot_be_handed_over_is_said(node: Node) -> None:
    lease = with_console(node)
    os.mkdir(f"{lease.sandbox}/console.log")
    said: list[str] = []
    give_console(lease, node.settings, said.append)
    assert len(said) == 1
    assert said[0].startswith(f"{lease.label}: console not handed over: console.log: ")


def test_the_lease_goes_last(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails is tried again by who finds it."""
    lease = with_console(node)

    def fails(_: Lease) -> None:
        raise VacError("no")

    with monkeypatch.context() as patch:
        patch.setattr(console, "remove", fails)
        with pytest.raises(VacError, match="no"):
            release_once(lease, node.store)
        assert [one["uuid"] for one in lease_files(node)] == [lease.uuid]
    assert release_once(lease, node.store)
    assert nothing_left(node, lease)
