# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole files: replaced atomically, validated first, predicted in check mode."""

from __future__ import annotations

import os
import stat
import types
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.module_utils import files
from ansible_collections.vacuum.htcondor.plugins.module_utils.errors import FileError, InvalidContent


def module(tmp_path: Path, check: bool = False) -> Any:
    (tmp_path / "remote").mkdir(exist_ok=True)
    return types.SimpleNamespace(check_mode=check, tmpdir=str(tmp_path / "remote"), selinux_enabled=lambda: False)


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
    assert change.diff()[0]["before"] == "old\n"
    assert change.diff()[0]["after"] == "new\n"


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
