# SPDX-License-Identifier: GPL-3.0-or-later
"""NFS exports: to one address, never as root, and told to exportfs without anything to interpret."""

from __future__ import annotations

import pytest

from condor_vac import exports
from condor_vac.errors import UsageError, VacError
from condor_vac.exports import Export
from tests.unit.worker.conftest import Node

GOOD = Export("/var/lib/condor/execute/dir_1/joboutputs", "192.168.86.10")


def test_added_removed_and_again(node: Node) -> None:
    for _ in range(2):
        exports.add(GOOD, 1000, 1000, writable=True)
        assert exports.current() == {GOOD}
    for _ in range(2):
        exports.remove(GOOD)
        assert exports.current() == frozenset()
    assert [line.split()[0] for line in node.called("exportfs")].count("-u") == 1


@pytest.mark.parametrize("writable", [True, False])
def test_all_ids_are_the_users(node: Node, writable: bool) -> None:
    exports.add(GOOD, 1000, 1001, writable=writable)
    options = node.called("exportfs")[0].split()[1].split(",")
    assert {"all_squash", "anonuid=1000", "anongid=1001", "subtree_check", "rw" if writable else "ro"} <= set(options)
    assert not {"no_root_squash", "no_all_squash", "no_subtree_check", "insecure", "crossmnt"} & set(options)


def test_each_directory_has_a_stable_fsid_of_its_own(node: Node) -> None:
    other = Export(f"{GOOD.directory}2", GOOD.address)
    for export in (GOOD, other, GOOD):
        exports.add(export, 1, 1, writable=False)
    fsids = [line.partition("fsid=")[2].split()[0] for line in node.called("exportfs")]
    assert fsids[0] == fsids[2] != fsids[1]


@pytest.mark.parametrize(("uid", "gid"), [(0, 1), (1, 0), (-1, 1)])
def test_never_as_root(node: Node, uid: int, gid: int) -> None:
    with pytest.raises(UsageError, match="never exported"):
        exports.add(GOOD, uid, gid, writable=True)
    assert node.called("exportfs") == []


@pytest.mark.parametrize(
    ("directory", "address"),
    [
        ("/", GOOD.address),
        ("relative", GOOD.address),
        ("/a b", GOOD.address),
        ("/a\n/b", GOOD.address),
        ("/a,b", GOOD.address),
        ("/a/../b", GOOD.address),
        ("/-o", GOOD.address),
        ("/a//b", GOOD.address),
        ("/" + "a" * 2000, GOOD.address),
        (GOOD.directory, "*"),
        (GOOD.directory, "192.168.86.*"),
        (GOOD.directory, "192.168.86.0/24"),
        (GOOD.directory, "-u"),
        (GOOD.directory, "@group"),
        (GOOD.directory, "192.168.086.10"),
        (GOOD.directory, ""),
    ],
)
def test_nothing_else_is_exported_or_removed(node: Node, directory: str, address: str) -> None:
    for act in (lambda e: exports.add(e, 1, 1, writable=False), exports.remove):
        with pytest.raises(UsageError):
            act(Export(directory, address))
    assert node.called("exportfs") == []


def test_exports_of_others_are_read_and_left(node: Node) -> None:
    table = "/srv  10.0.0.1(ro)\n/home  *(rw)\n/with  two  10.0.0.2(rw)\nnonsense\n\n"
    (node.base / "exports").write_text(table)
    assert exports.current() == {Export("/srv", "10.0.0.1"), Export("/with  two", "10.0.0.2")}


def test_a_failure_is_told(node: Node) -> None:
    node.fail("exportfs", GOOD.address)
    with pytest.raises(VacError, match="cannot export"):
        exports.add(GOOD, 1, 1, writable=True)
