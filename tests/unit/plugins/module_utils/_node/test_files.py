# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole files: replaced atomically, validated first, predicted in check mode."""

from __future__ import annotations

import os
import pwd
import stat
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import FileError, InvalidContent
from ansible_collections.vacuum.htcondor.plugins.module_utils._node import files

# A user that every Debian and every Enterprise Linux has, and that is not the one who runs the tests.
OTHER = pwd.getpwnam("daemon")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives files to another user")


def module(tmp_path: Path, check: bool = False) -> Any:
    (tmp_path / "remote").mkdir(exist_ok=True)
    return types.SimpleNamespace(check_mode=check, tmpdir=str(tmp_path / "remote"), selinux_enabled=lambda: False)


class Labels:
    """A module on a node with SELinux, whose policy has a context for each path; ``given`` is inode to context."""

    check_mode = False

    def __init__(self, tmp_path: Path) -> None:
        self.tmpdir = str(tmp_path)
        self.given: dict[int, list[str]] = {}
        self.names: list[str] = []

    def selinux_enabled(self) -> bool:
        return True

    def selinux_default_context(self, path: str) -> list[str]:
        return ["system_u", "object_r", f"{Path(path).name}_t", "s0"]

    def set_context_if_different(self, path: str, context: list[str], changed: bool) -> bool:
        assert changed is False
        self.given[os.lstat(path).st_ino] = context
        self.names.append(path)
        return True

    def context(self, path: Path) -> list[str] | None:
        """Of what is at the path now: as on a real node, a label stays with its inode."""
        return self.given.get(path.lstat().st_ino)


def seen(path: Path) -> tuple[str, int, int, int, object]:
    """All that there is to a path: kind, mode, owner, group, and content or where a link leads."""
    status = path.lstat()
    what = (status.st_mode, status.st_uid, status.st_gid)
    if path.is_symlink():
        return ("link", *what, os.readlink(path))
    return ("file", *what, path.read_bytes())


def tree(tmp_path: Path) -> dict[str, object]:
    """Everything below a directory."""
    return {str(path): seen(path) for path in tmp_path.rglob("*") if path.is_symlink() or path.is_file()}


@pytest.mark.parametrize(("content", "mode"), [("a = 1\n", 0o640), ("# é\n", 0o444), (b"\x00\xff", 0o600), ("", 0o755)])
def test_check_apply_check_apply(tmp_path: Path, content: str | bytes, mode: int) -> None:
    path = tmp_path / "etc.conf"
    results = [
        files.write(module(tmp_path, check), str(path), content, mode=mode) for check in (True, False, True, False)
    ]
    assert [change.changed for change in results] == [True, True, False, False]
    assert results[0].diff() == results[1].diff()
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["etc.conf", "remote"]
    assert list((tmp_path / "remote").iterdir()) == []


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old\n")
    change = files.write(module(tmp_path, True), str(path), "new\n")
    assert change.changed
    assert path.read_text() == "old\n"
    header = {"before_header": str(path), "after_header": str(path)}
    assert change.diff() == [{**header, "before": "old\n", "after": "new\n"}]


def test_a_differing_mode_alone_is_a_change_and_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("same\n")
    path.chmod(0o666)
    change = files.write(module(tmp_path), str(path), "same\n", mode=0o440)
    assert change.changed
    assert stat.S_IMODE(path.stat().st_mode) == 0o440
    entries = change.diff()
    assert entries[0]["before"] == entries[0]["after"]
    assert "mode: 0666" in entries[1]["before"]
    assert "mode: 0440" in entries[1]["after"]


@pytest.mark.parametrize("check", [True, False])
def test_refused_content_replaces_nothing(tmp_path: Path, check: bool) -> None:
    path = tmp_path / "x"
    path.write_text("good\n")
    seen = []

    def refuse(name: str) -> None:
        seen.append(Path(name).read_text())
        raise InvalidContent("line 1 is wrong", "write it otherwise")

    with pytest.raises(InvalidContent):
        files.write(module(tmp_path, check), str(path), "bad\n", validate=refuse)
    assert seen == ["bad\n"]
    assert path.read_text() == "good\n"
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


def test_the_validated_file_already_has_its_mode(tmp_path: Path) -> None:
    modes = []
    files.write(
        module(tmp_path),
        str(tmp_path / "x"),
        "y\n",
        mode=0o440,
        validate=lambda name: modes.append(stat.S_IMODE(os.stat(name).st_mode)),
    )
    assert modes == [0o440]


def test_a_symbolic_link_is_replaced_and_never_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious\n")
    path = tmp_path / "x"
    path.symlink_to(target)
    change = files.write(module(tmp_path), str(path), "precious\n")
    assert change.changed
    assert not path.is_symlink()
    assert target.read_text() == "precious\n"
    assert f"symbolic link to: {target}" in change.diff()[1]["before"]


def test_the_contents_are_on_disk_before_the_name_leads_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(handle: int) -> None:
        fsync(handle)
        kind = "directory" if stat.S_ISDIR(os.fstat(handle).st_mode) else f"{os.fstat(handle).st_size} bytes"
        done.append(kind)

    def replaced(old: str, new: str) -> None:
        replace(old, new)
        done.append("name")

    monkeypatch.setattr(files.os, "fsync", synced)
    monkeypatch.setattr(files.os, "replace", replaced)
    files.write(module(tmp_path), str(tmp_path / "x"), "twelve bytes")
    assert done == ["12 bytes", "name", "directory"]


def test_all_may_read_a_file_unless_a_mode_is_given(tmp_path: Path) -> None:
    files.write(module(tmp_path), str(tmp_path / "x"), "y\n")
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o644


def test_remove(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("gone soon\n")
    changes = [files.remove(module(tmp_path, check), str(path)) for check in (True, False, True, False)]
    assert [change.changed for change in changes] == [True, True, False, False]
    assert changes[0].diff()[0]["before"] == "gone soon\n"
    assert not path.exists()


def test_hidden_content_stays_out_of_the_diff(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old secret")
    change = files.write(module(tmp_path), str(path), "new secret", hidden=True)
    assert change.changed
    assert "secret" not in repr(change.diff())


def test_errors_name_the_path_and_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(FileError) as missing:
        files.write(module(tmp_path), str(tmp_path / "no" / "such" / "file"), "x")
    assert str(tmp_path / "no" / "such") in missing.value.message
    assert missing.value.remedy
    with pytest.raises(FileError, match="not a regular file"):
        files.write(module(tmp_path), str(tmp_path), "x")
    with pytest.raises(FileError, match="no user nobody-of-that-name"):
        files.write(module(tmp_path), str(tmp_path / "x"), "x", owner="nobody-of-that-name")


@as_root
def test_a_file_belongs_to_whom_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "x"
    changes = [
        files.write(module(tmp_path, check), str(path), "y\n", mode=0o640, owner="daemon", group="daemon")
        for check in (True, False, True, False)
    ]
    assert [change.changed for change in changes] == [True, True, False, False]
    assert seen(path) == ("file", stat.S_IFREG | 0o640, OTHER.pw_uid, OTHER.pw_gid, b"y\n")
    back = files.write(module(tmp_path), str(path), "y\n", mode=0o640, owner="root", group="root")
    assert back.changed, "the owner alone differs"
    assert (path.stat().st_uid, path.stat().st_gid) == (0, 0)
    assert [line for line in back.diff()[1]["before"].splitlines()] == ["mode: 0640", "owner: daemon", "group: daemon"]
    assert [line for line in back.diff()[1]["after"].splitlines()] == ["mode: 0640", "owner: root", "group: root"]


@as_root
def test_an_owner_stays_unless_one_is_given(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old\n")
    os.chown(path, OTHER.pw_uid, OTHER.pw_gid)
    assert files.write(module(tmp_path), str(path), "new\n").changed
    assert (path.read_text(), path.stat().st_uid, path.stat().st_gid) == ("new\n", OTHER.pw_uid, OTHER.pw_gid)
    assert files.write(module(tmp_path), str(path), "new\n", owner="root").changed
    assert (path.stat().st_uid, path.stat().st_gid) == (0, OTHER.pw_gid)


@as_root
def test_no_other_user_reads_a_secret_while_it_is_written(tmp_path: Path) -> None:
    """Whoever it is given to: until then the file is root's alone."""
    modes: list[tuple[int, int]] = []

    def look(name: str) -> None:
        modes.append((stat.S_IMODE(os.stat(name).st_mode), os.stat(name).st_uid))

    files.write(module(tmp_path), str(tmp_path / "x"), "secret", mode=0o600, owner="daemon", validate=look)
    assert modes == [(0o600, OTHER.pw_uid)]


def test_a_new_file_has_the_context_that_policy_has_for_its_path(tmp_path: Path) -> None:
    labels: Any = Labels(tmp_path)
    path = tmp_path / "sudoers"
    files.write(labels, str(path), "one\n")
    assert labels.context(path) == ["system_u", "object_r", "sudoers_t", "s0"]
    assert labels.names[0] != str(path), "before the name leads to it"
    files.write(labels, str(path), "one\n")
    assert len(labels.names) == 1
    change = files.write(labels, str(path), "two\n")
    assert labels.context(path) == ["system_u", "object_r", "sudoers_t", "s0"]
    labels.given.clear()
    files.restore(labels, change)
    assert path.read_text() == "one\n"
    assert labels.context(path) == ["system_u", "object_r", "sudoers_t", "s0"]


def make_nothing(path: Path) -> None:
    pass


def make_file(path: Path) -> None:
    path.write_text("of before\n")
    path.chmod(0o4751)


def make_link(path: Path) -> None:
    path.symlink_to("/nowhere/at/all")


BEFORE = [make_nothing, make_file, make_link]
CHANGES: list[Callable[[Any, str], files.Change]] = [
    lambda node, path: files.write(node, path, "of after\n", mode=0o600),
    files.remove,
]


@pytest.mark.parametrize("make", BEFORE, ids=["nothing", "file", "link"])
@pytest.mark.parametrize("change", CHANGES, ids=["written", "removed"])
def test_what_was_there_is_put_back(
    tmp_path: Path, make: Callable[[Path], None], change: Callable[[Any, str], files.Change]
) -> None:
    path = tmp_path / "x"
    make(path)
    before = tree(tmp_path)
    made = change(module(tmp_path), str(path))
    assert (tree(tmp_path) != before) is made.changed
    files.restore(module(tmp_path), made)
    assert tree(tmp_path) == before
    inode = path.lstat().st_ino if before else None
    planned = change(module(tmp_path, True), str(path))
    files.restore(module(tmp_path, True), planned)
    assert tree(tmp_path) == before
    assert (path.lstat().st_ino if before else None) == inode, "check mode has nothing to put back"


@as_root
def test_what_is_put_back_has_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "x"
    make_file(path)
    os.chown(path, OTHER.pw_uid, OTHER.pw_gid)
    before = tree(tmp_path)
    change = files.write(module(tmp_path), str(path), "of after\n", owner="root", group="root")
    assert tree(tmp_path) != before
    files.restore(module(tmp_path), change)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("call", ["fsync", "fchmod", "replace"])
def test_a_write_that_fails_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "x"
    make_file(path)
    before = tree(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, call, full)
        with pytest.raises(FileError, match=f"cannot write {path} .No space left on device"):
            files.write(module(tmp_path), str(path), "of after\n")
    assert tree(tmp_path) == before
