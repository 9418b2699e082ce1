# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes into an initramfs: archive format, libraries and modules."""

from __future__ import annotations

import gzip
import lzma
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from condor_vac.base.errors import VacError
from condor_vac.smoke import closure, cpio


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
    with pytest.raises(VacError, match=r"needs lib\S+\.so\S*, which is not in "):
        closure.libraries([Path(sys.executable).resolve()], [tmp_path])


def test_what_is_not_an_elf_file_is_refused() -> None:
    with pytest.raises(VacError, match="ELF"):
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


def test_a_module_loses_its_signature_and_nothing_else(modules: closure.Modules) -> None:
    assert modules.contents("nfs").startswith(b"\x7fELF")
    assert modules.contents("nfs").endswith(b"name=x\0")
    assert closure.unsigned(b"no signature") == b"no signature"


def test_an_unknown_module_is_named(modules: closure.Modules) -> None:
    with pytest.raises(VacError, match="e1000"):
        modules.closure(["nfs", "e1000"])


@pytest.mark.parametrize(("suffix", "pack"), [(".ko", bytes), (".ko.gz", gzip.compress), (".ko.xz", lzma.compress)])
def test_modules_are_read_as_they_are_packed(tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]) -> None:
    (tmp_path / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\n")
    (tmp_path / f"nfs-layout{suffix}").write_bytes(pack(b"\x7fELF\0depends=\0" + signature(7)))
    (tmp_path / "other.ko.zst").write_bytes(b"not readable")
    modules = closure.Modules(tmp_path)
    assert modules.contents("nfs_layout") == b"\x7fELF\0depends=\0"
    assert [modules.has(name) for name in ("nfs_layout", "ext4", "other", "e1000")] == [True, True, False, False]


@pytest.mark.parametrize("data", [b"", b"\x7fELF\x02\x01", b"#!/bin/sh\n", b"\x7fELF\x02\x01" + b"\xff" * 58])
def test_a_damaged_program_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "tool").write_bytes(data)
    with pytest.raises(VacError, match="tool"):
        closure.libraries([tmp_path / "tool"], [tmp_path])


def test_libraries_come_from_the_first_directory_that_has_them(tmp_path: Path) -> None:
    program = Path("/bin/sh").resolve()
    places = [Path(place) for place in ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64") if Path(place).is_dir()]
    found = closure.libraries([program], [tmp_path, *places])
    assert set(closure.needed(program.read_bytes())) <= set(found)
    assert all(path.parent in places for path in found.values())
    (tmp_path / "libc.so.6").write_bytes(found["libc.so.6"].read_bytes())
    assert closure.libraries([program], [tmp_path, *places])["libc.so.6"].parent == tmp_path
