# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes into the guest's initramfs: archive format, libraries, modules and the cache's key."""

from __future__ import annotations

import lzma
import shutil
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.experiment.guest import __main__ as command
from tests.experiment.guest import archive, closure, cpio, image
from tests.lab.paths import LabError


def test_archive_holds_files_links_and_devices_with_parents_first() -> None:
    data = cpio.archive(
        [
            cpio.regular("usr/bin/tool", b"#!/bin/sh\n", executable=True),
            cpio.regular("usr/lib/odd", b"12345"),
            cpio.regular("usr/lib/odd", b"the last one wins"),
            cpio.symlink("bin", "usr/bin"),
            cpio.console("dev/console"),
        ]
    )
    found = read_newc(data)
    assert list(found) == [
        "bin",
        "dev",
        "dev/console",
        "usr",
        "usr/bin",
        "usr/bin/tool",
        "usr/lib",
        "usr/lib/odd",
    ]
    assert found["usr/lib/odd"] == (stat.S_IFREG | 0o644, b"the last one wins", (0, 0))
    assert found["usr/bin/tool"][0] == stat.S_IFREG | 0o755
    assert found["bin"] == (stat.S_IFLNK | 0o777, b"usr/bin", (0, 0))
    assert found["dev/console"] == (stat.S_IFCHR | 0o600, b"", (5, 1))


def read_newc(data: bytes) -> dict[str, tuple[int, bytes, tuple[int, int]]]:
    """As the kernel reads it (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    found: dict[str, tuple[int, bytes, tuple[int, int]]] = {}
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * index : at + 14 + 8 * index], 16) for index in range(13)]
        start = at + 110
        name = data[start : start + fields[11] - 1].decode()
        body = start + fields[11] + -(start + fields[11]) % 4
        at = body + fields[6] + -(body + fields[6]) % 4
        if name == "TRAILER!!!":
            return found
        found[name] = (fields[1], data[body : body + fields[6]], (fields[9], fields[10]))


def test_needed_libraries_are_those_that_the_loader_would_load() -> None:
    program = Path(sys.executable).resolve()
    shown = subprocess.run(["readelf", "-d", program], capture_output=True, text=True, check=True).stdout
    expected = [line.split("[")[1].rstrip("]") for line in shown.splitlines() if "(NEEDED)" in line]
    assert closure.needed(program.read_bytes()) == expected
    assert expected


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"no package has lib\S+\.so"):
        closure.libraries([Path(sys.executable).resolve()], tmp_path)


def test_what_is_not_an_elf_file_is_refused() -> None:
    with pytest.raises(LabError, match="ELF"):
        closure.needed(b"#!/bin/sh\n" + b"\0" * 100)


@pytest.fixture
def modules(tmp_path: Path) -> closure.Modules:
    """nfs needs sunrpc and netfs, nfsv3 needs nfs, virtio-rng nothing; fscache (of netfs) is built in."""
    for path, depends in {
        "fs/nfs/nfs": "sunrpc,netfs",
        "fs/nfs/nfsv3": "nfs,sunrpc",
        "net/sunrpc": "",
        "fs/netfs": "fscache",
        "drivers/virtio-rng": "",
    }.items():
        file = tmp_path / "kernel" / f"{path}.ko.xz"
        file.parent.mkdir(parents=True, exist_ok=True)
        body = b"\x7fELF...\0license=GPL\0depends=" + depends.encode() + b"\0name=x\0"
        file.write_bytes(lzma.compress(body + signature(300)))
    (tmp_path / "modules.builtin").write_text("kernel/fs/fscache/fscache.ko\n")
    return closure.Modules(tmp_path)


def signature(length: int) -> bytes:
    return b"s" * length + struct.pack(">8xI", length) + b"~Module signature appended~\n"


def test_modules_come_after_what_they_need_and_only_once(modules: closure.Modules) -> None:
    order = modules.closure(["virtio_rng", "nfsv3", "fscache", "nfs"])
    assert sorted(order) == ["netfs", "nfs", "nfsv3", "sunrpc", "virtio_rng"]
    for before, after in (("sunrpc", "nfs"), ("netfs", "nfs"), ("nfs", "nfsv3")):
        assert order.index(before) < order.index(after)
    table = dict(line.split(":") for line in modules.dependency_table(order).splitlines())
    assert table["virtio_rng.ko"] == ""
    assert set(table["nfsv3.ko"].split()) == {"nfs.ko", "netfs.ko", "sunrpc.ko"}


def test_a_module_loses_its_signature_and_nothing_else(modules: closure.Modules) -> None:
    assert modules.contents("nfs").startswith(b"\x7fELF")
    assert modules.contents("nfs").endswith(b"name=x\0")
    assert closure.unsigned(b"no signature") == b"no signature"


def test_an_unknown_module_is_named(modules: closure.Modules) -> None:
    with pytest.raises(LabError, match="e1000"):
        modules.closure(["nfs", "e1000"])


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
