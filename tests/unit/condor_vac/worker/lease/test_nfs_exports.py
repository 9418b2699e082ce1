# SPDX-License-Identifier: GPL-3.0-or-later
"""NFS exports: to one address, never as root, and given to exportfs without anything to interpret."""

from __future__ import annotations

import uuid

import pytest

from condor_vac.base.errors import UsageError, VacError
from condor_vac.worker.lease import nfs_exports
from condor_vac.worker.lease.store import Export
from tests.unit.condor_vac.worker.conftest import Node

ADDRESS = "192.168.86.10"


@pytest.fixture
def good(node: Node) -> Export:
    return made(node, "dir_1")


def made(node: Node, name: str) -> Export:
    """The export of a new directory."""
    directory = node.execute / name / "joboutputs"
    directory.mkdir(parents=True)
    return Export(str(directory), ADDRESS)


def fsids(node: Node) -> list[str]:
    return [line.partition("fsid=")[2].split()[0] for line in node.called("exportfs") if "fsid=" in line]


def test_added_removed_and_again(node: Node, good: Export) -> None:
    for _ in range(2):
        nfs_exports.add(good, 1000, 1000, writable=True)
        assert nfs_exports.current() == {good}
    for _ in range(2):
        nfs_exports.remove(good)
        assert nfs_exports.current() == frozenset()


def test_several_end_by_one_call(node: Node) -> None:
    several = [made(node, name) for name in ("a", "b", "c", "d")]
    for export in several:
        nfs_exports.add(export, 1000, 1000, writable=True)
    before = len(node.called("exportfs"))
    nfs_exports.remove(*several[:3])
    assert nfs_exports.current() == {several[3]}
    assert len(node.called("exportfs")) - before == 2, "one for the removal, one for the look at what is left"


def test_what_is_not_exported_does_not_keep_the_others(node: Node) -> None:
    several = [made(node, name) for name in ("a", "b", "c")]
    nfs_exports.add(several[2], 1000, 1000, writable=True)
    nfs_exports.remove(*several)
    assert nfs_exports.current() == frozenset()
    nfs_exports.remove()


def test_an_export_that_cannot_be_ended_is_reported(node: Node, good: Export) -> None:
    nfs_exports.add(good, 1000, 1000, writable=True)
    node.fail("exportfs", ADDRESS)
    with pytest.raises(VacError, match="cannot export"):
        nfs_exports.remove(good)


@pytest.mark.parametrize("writable", [True, False])
def test_all_ids_are_the_users(node: Node, good: Export, writable: bool) -> None:
    nfs_exports.add(good, 1000, 1001, writable=writable)
    options = node.called("exportfs")[0].split()[1].split(",")
    assert {"all_squash", "anonuid=1000", "anongid=1001", "subtree_check", "rw" if writable else "ro"} <= set(options)
    assert not {"no_root_squash", "no_all_squash", "no_subtree_check", "insecure", "crossmnt"} & set(options)


def test_each_directory_has_a_stable_fsid_of_its_own(node: Node) -> None:
    several = [made(node, name) for name in ("a", "b", "c")]
    for export in (*several, several[0]):
        nfs_exports.add(export, 1, 1, writable=False)
    seen = fsids(node)
    assert seen[0] == seen[3]
    assert len(set(seen)) == 3
    assert all(str(uuid.UUID(fsid)) == fsid for fsid in seen), "what exportfs takes for 128 bits"


def test_a_link_has_not_the_fsid_of_what_it_leads_to(node: Node, good: Export) -> None:
    link = node.execute / "link"
    link.symlink_to(good.directory)
    for export in (good, Export(str(link), ADDRESS)):
        nfs_exports.add(export, 1, 1, writable=False)
    assert len(set(fsids(node))) == 2


def test_a_directory_that_is_not_there_is_not_exported(node: Node) -> None:
    with pytest.raises(VacError, match=r"gone/joboutputs: cannot be exported: No such file"):
        nfs_exports.add(Export(f"{node.execute}/gone/joboutputs", ADDRESS), 1, 1, writable=True)
    assert node.called("exportfs") == []


@pytest.mark.parametrize(("uid", "gid"), [(0, 1), (1, 0), (-1, 1)])
def test_never_as_root(node: Node, good: Export, uid: int, gid: int) -> None:
    with pytest.raises(UsageError, match="never exported"):
        nfs_exports.add(good, uid, gid, writable=True)
    assert node.called("exportfs") == []


@pytest.mark.parametrize(
    ("directory", "address"),
    [
        ("/", ADDRESS),
        ("relative", ADDRESS),
        ("/a b", ADDRESS),
        ("/a\n/b", ADDRESS),
        ("/a,b", ADDRESS),
        ("/a/../b", ADDRESS),
        ("/-o", ADDRESS),
        ("/a//b", ADDRESS),
        ("/" + "a" * 2000, ADDRESS),
        ("/var/lib/condor/execute/dir_1/joboutputs", "*"),
        ("/var/lib/condor/execute/dir_1/joboutputs", "192.168.86.*"),
        ("/var/lib/condor/execute/dir_1/joboutputs", "192.168.86.0/24"),
        ("/var/lib/condor/execute/dir_1/joboutputs", "-u"),
        ("/var/lib/condor/execute/dir_1/joboutputs", "@group"),
        ("/var/lib/condor/execute/dir_1/joboutputs", "192.168.086.10"),
        ("/var/lib/condor/execute/dir_1/joboutputs", ""),
    ],
)
def test_nothing_else_is_exported_or_removed(node: Node, directory: str, address: str) -> None:
    for act in (lambda e: nfs_exports.add(e, 1, 1, writable=False), nfs_exports.remove):
        with pytest.raises(UsageError):
            act(Export(directory, address))
    assert node.called("exportfs") == []


def test_exports_of_others_are_read_and_left(node: Node) -> None:
    table = "/srv  10.0.0.1(ro)\n/home  *(rw)\n/with  two  10.0.0.2(rw)\nnonsense\n\n"
    (node.base / "exports").write_text(table)
    assert nfs_exports.current() == {Export("/srv", "10.0.0.1"), Export("/with  two", "10.0.0.2")}


def test_a_failure_is_reported(node: Node, good: Export) -> None:
    node.fail("exportfs", ADDRESS)
    with pytest.raises(VacError, match="cannot export"):
        nfs_exports.add(good, 1, 1, writable=True)
