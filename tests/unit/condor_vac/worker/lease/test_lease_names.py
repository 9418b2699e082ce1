# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose VM a lease is for: the caller's own, one for each sandbox, by a UUID that nobody chooses."""

from __future__ import annotations

import pytest

from condor_vac.base.errors import UsageError, VacError
from condor_vac.worker.lease import grant
from condor_vac.worker.lease.requests import AcquireRequest, Caller
from tests.unit.condor_vac.worker.conftest import GID, UID, Node, lease_files

OWNERS = ("vac", "vac_two", "alice")


@pytest.mark.parametrize(
    ("user", "domain"),
    [
        ("vac", "vac_lab_7.0"),
        ("vac", "vac_head.lab.example.org_1234567.12"),
        ("vac", "vac_my_site.org_7.0"),
        ("vac_two", "vac_two_lab_7.0"),
        ("ubuntu", "ubuntu_lab_22.04"),
    ],
)
def test_a_users_own_vms(user: str, domain: str) -> None:
    grant.check_name(domain, user, OWNERS)


@pytest.mark.parametrize(
    ("user", "domain"),
    [
        ("vac", "ubuntu_22.04"),
        ("ubuntu", "ubuntu_22.04"),
        ("vac", "alice_lab_7.0"),
        ("vac", "vac_two_lab_7.0"),
        ("vac_two", "vac_lab_7.0"),
        ("vac", "vac_7.0"),
        ("vac", "vacuum_lab_7.0"),
        ("v.c", "vac_lab_7.0"),
        ("vac", "vac_lab_7"),
        ("vac", "vac_lab_7.0\n"),
    ],
)
def test_other_names(user: str, domain: str) -> None:
    with pytest.raises(UsageError, match=rf"must be one of {user}'s own VMs, {user}_UID_DOMAIN_CLUSTER.PROC"):
        grant.check_name(domain, user, OWNERS)


def test_the_name_comes_from_the_node_and_not_from_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert grant.user_name(0) == "root"
    with pytest.raises(VacError, match="uid 4000000000: no user of this node has it"):
        grant.user_name(4_000_000_000)


def test_nothing_is_granted_for_the_administrators_vm(node: Node) -> None:
    with pytest.raises(UsageError, match="must be one of vac's own VMs"):
        node.acquire(domain="ubuntu_22.04")
    assert (node.exported(), lease_files(node)) == ([], [])
    assert node.acquire(sandbox=node.sandbox(2), domain="vac_ubuntu_22.04").address == "192.168.86.10"


@pytest.mark.parametrize("below", ["", "scratch"])
def test_one_lease_a_sandbox(node: Node, below: str) -> None:
    sandbox = node.sandbox(1)
    first = node.acquire(sandbox=sandbox, domain="vac_lab_1.0")
    second = node.sandbox(1, below=below) if below else sandbox
    for number in range(2, 5):
        with pytest.raises(VacError, match=r"has a lease already, for its VM vac_lab_1\.0; one sandbox is one VM's"):
            node.acquire(sandbox=second, domain=f"vac_lab_{number}.0")
    assert [one["uuid"] for one in lease_files(node)] == [first.uuid]
    assert len(node.exported()) == 3
    assert node.acquire(sandbox=node.sandbox(2), domain="vac_lab_2.0").address == "192.168.86.11"


def test_nobody_asks_for_a_uuid(node: Node) -> None:
    asked = node.request()
    with pytest.raises(UsageError, match="'uuid': unknown key"):
        AcquireRequest.from_mapping({**asked, "uuid": "11111111-1111-4111-8111-111111111111"})
    AcquireRequest.from_mapping(asked)


def test_another_users_vm_of_that_name(node: Node) -> None:
    """A user who was made again with another uid has the name of the VMs that the old one left."""
    node.change(node.acquire(sandbox=node.sandbox(1)), uid=UID + 7)
    request = AcquireRequest(**node.request(sandbox=node.sandbox(2)))
    with pytest.raises(VacError, match="another user's VM of that name is on this node"):
        grant.acquire(request, Caller(UID, GID), node.settings, node.store)
