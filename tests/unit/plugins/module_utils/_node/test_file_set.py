# SPDX-License-Identifier: GPL-3.0-or-later
"""Several files at once: all of them, or what was there before one of them failed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import FileError
from ansible_collections.vacuum.htcondor.plugins.module_utils._node import file_set
from ansible_collections.vacuum.htcondor.plugins.module_utils._node.file_set import Wanted

from tests.unit.plugins.module_utils._node.test_files import as_root, module, tree

NAMES = ("new", "changed", "mode", "removed", "link", "same")


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """A directory with one file for each thing that can happen to it."""
    directory = tmp_path / "etc"
    directory.mkdir()
    for name in ("changed", "mode", "removed", "same"):
        (directory / name).write_text(f"{name} of before\n")
        (directory / name).chmod(0o640)
    (directory / "link").symlink_to("/nowhere/at/all")
    return directory


def wanted(etc: Path) -> list[Wanted]:
    return [
        Wanted(f"{etc}/new", b"new\n"),
        Wanted(f"{etc}/changed", b"changed\n", mode=0o600),
        Wanted(f"{etc}/mode", b"mode of before\n", mode=0o444),
        Wanted(f"{etc}/removed", None),
        Wanted(f"{etc}/link", b"a file now\n"),
        Wanted(f"{etc}/same", b"same of before\n", mode=0o640),
    ]


def test_all_of_them_in_their_order(tmp_path: Path, etc: Path) -> None:
    changes = file_set.apply(module(tmp_path), wanted(etc))
    assert [(Path(change.path).name, change.changed) for change in changes] == [
        (name, name != "same") for name in NAMES
    ]
    assert not (etc / "removed").exists()
    assert (etc / "link").read_text() == "a file now\n"
    assert not any(change.changed for change in file_set.apply(module(tmp_path), wanted(etc)))


@pytest.mark.parametrize("place", range(len(NAMES) + 1))
@pytest.mark.parametrize("kind", ["no directory", "no user", "a directory in the way"])
def test_one_that_fails_puts_back_those_before_it(tmp_path: Path, etc: Path, place: int, kind: str) -> None:
    (etc / "occupied").mkdir()
    bad = {
        "no directory": Wanted(f"{etc}/gone/x", b"x"),
        "no user": Wanted(f"{etc}/x", b"x", owner="nobody-of-that-name"),
        "a directory in the way": Wanted(f"{etc}/occupied", b"x"),
    }[kind]
    before = tree(tmp_path)
    items = wanted(etc)
    with pytest.raises(FileError, match=r"gone|nobody-of-that-name|occupied"):
        file_set.apply(module(tmp_path), [*items[:place], bad, *items[place:]])
    assert tree(tmp_path) == before
    assert sorted(os.listdir(etc)) == sorted(["changed", "link", "mode", "occupied", "removed", "same"])


def test_a_file_that_was_changed_twice_is_as_before_the_first(tmp_path: Path, etc: Path) -> None:
    before = tree(tmp_path)
    items = [Wanted(f"{etc}/changed", b"one\n"), Wanted(f"{etc}/changed", None), Wanted(f"{etc}/changed", b"two\n")]
    with pytest.raises(FileError):
        file_set.apply(module(tmp_path), [*items, Wanted(f"{etc}/gone/x", b"x")])
    assert tree(tmp_path) == before


def test_check_mode_changes_nothing_whether_it_fails_or_not(tmp_path: Path, etc: Path) -> None:
    before = tree(tmp_path)
    checked: Any = module(tmp_path, True)
    planned = file_set.apply(checked, wanted(etc))
    assert [change.changed for change in planned] == [True] * 5 + [False]
    with pytest.raises(FileError):
        file_set.apply(checked, [*wanted(etc), Wanted(f"{etc}/x", b"x", owner="nobody-of-that-name")])
    assert tree(tmp_path) == before


@as_root
def test_a_directory_is_made_given_and_repaired(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    results = [
        file_set.directory(module(tmp_path, check), str(path), "daemon", 0o750) for check in (True, False, True, False)
    ]
    assert results == [True, True, False, False]
    status = path.stat()
    assert (path.owner(), status.st_mode & 0o7777) == ("daemon", 0o750)
    path.chmod(0o777)
    assert file_set.directory(module(tmp_path, True), str(path), "daemon", 0o750)
    assert path.stat().st_mode & 0o7777 == 0o777
    assert file_set.directory(module(tmp_path), str(path), None, 0o750)
    assert (path.owner(), path.stat().st_mode & 0o7777) == ("root", 0o750)
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="is not a directory"):
        file_set.directory(module(tmp_path), str(tmp_path / "file"), None)
