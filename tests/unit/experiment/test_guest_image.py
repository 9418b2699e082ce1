# SPDX-License-Identifier: GPL-3.0-or-later
"""The test guest's ISO: where its packages come from, and the cache's key."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from condor_vac.smoke.closure import Modules
from tests.experiment.guest import __main__ as command
from tests.experiment.guest import archive, image, tree
from tests.lab.paths import LabError


def test_mirror_is_the_one_apt_uses_and_absence_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_MIRROR", raising=False)
    listed = (
        "http://packages.example/tools main Packages\n"
        "http://mirror.example/debian-security/ main Packages\n"
        "http://mirror.example/debian/ main Sources\n"
        "http://mirror.example/debian/ main Packages\n"
    )
    monkeypatch.setattr(archive, "run", lambda *command: listed)
    assert archive.mirror() == "http://mirror.example/debian/"
    monkeypatch.setattr(archive, "run", lambda *command: "http://mirror.example/ubuntu/ main Packages\n")
    with pytest.raises(LabError, match="LAB_MIRROR"):
        archive.mirror()


def test_key_changes_with_every_file_and_mode_of_the_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "guest"
    shutil.copytree(command.HERE, recipe, ignore=shutil.ignore_patterns("__pycache__"))
    keys = [command.recipe_digest(recipe)]
    assert keys[0] == command.recipe_digest()
    with (recipe / "root/init").open("a") as file:
        file.write("#\n")
    keys.append(command.recipe_digest(recipe))
    (recipe / "root/init").chmod(0o644)
    keys.append(command.recipe_digest(recipe))
    (recipe / "agent.user_data").write_text("not part of the ISO")
    assert command.recipe_digest(recipe) == keys[-1]
    assert len(set(keys)) == 3


def test_builds_once_and_leaves_nothing_of_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAC_LAB_DIR", str(tmp_path))
    built: list[Path] = []

    def fail(work: Path, output: Path) -> dict[str, str]:
        raise LabError("no mirror")

    def make(work: Path, output: Path) -> dict[str, str]:
        built.append(output)
        output.write_bytes(b"iso")
        return {"busybox": "1:1.37.0"}

    monkeypatch.setattr(image, "build", fail)
    assert command.main(["build"]) == 1
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(image, "build", make)
    assert command.main(["build", "--output", str(tmp_path / "copy.iso")]) == 0
    assert command.main(["build"]) == 0
    assert len(built) == 1
    assert (tmp_path / "copy.iso").read_bytes() == b"iso"
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".iso", ".iso", ".json"]


def test_a_copy_is_whole_at_every_moment_and_left_alone_where_it_is_the_same(tmp_path: Path) -> None:
    iso, output = tmp_path / "iso", tmp_path / "guest.iso"
    iso.write_bytes(b"one")
    command.place(iso, output)
    with output.open("rb") as reader:
        first = output.stat()
        command.place(iso, output)
        assert output.stat().st_ino == first.st_ino
        iso.write_bytes(b"another")
        command.place(iso, output)
        assert reader.read() == b"one", "who reads it meanwhile has the whole old one"
    assert output.read_bytes() == b"another"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["guest.iso", "iso"]


def test_the_table_of_dependencies_has_all_that_modprobe_loads_before(tmp_path: Path) -> None:
    for name, depends in {"nfsv3": "nfs,sunrpc", "nfs": "sunrpc", "sunrpc": "", "virtio-rng": ""}.items():
        (tmp_path / f"{name}.ko").write_bytes(b"\0depends=" + depends.encode() + b"\0")
    (tmp_path / "modules.builtin").write_text("")
    modules = Modules(tmp_path)
    text = tree.dependency_table(modules, modules.closure(["nfsv3", "virtio_rng"]))
    table = dict(line.split(":") for line in text.splitlines())
    assert table["virtio_rng.ko"] == ""
    assert set(table["nfsv3.ko"].split()) == {"nfs.ko", "sunrpc.ko"}


def test_files_of_the_checkout_keep_their_modes(tmp_path: Path) -> None:
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr/tool").write_bytes(b"1")
    (tmp_path / "usr/tool").chmod(0o755)
    (tmp_path / "data").write_bytes(b"2")
    (tmp_path / "link").symlink_to("data")
    found = {entry.path: (entry.mode & 0o777, entry.data) for entry in tree.entries(tmp_path)}
    assert found == {"usr/tool": (0o755, b"1"), "data": (0o644, b"2")}
