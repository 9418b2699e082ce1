# SPDX-License-Identifier: GPL-3.0-or-later
"""The smoke image: which kernel and programs it takes from a node, and what it names where something is missing."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from condor_vac.base.errors import VacError
from condor_vac.smoke import image
from tests.unit.condor_vac.smoke.test_closure import read_newc

TRUE = Path("/usr/bin/true").resolve()
LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
needs_libraries = pytest.mark.skipif(not LIBRARIES.is_dir(), reason="this host's libraries are elsewhere")


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A node's root: a kernel with modules, every program (each is `true`), libraries, boot loader."""
    root = tmp_path / "root"
    kernel(root, "6.1.9-1", nfs=True)
    for place in ("usr/bin", "usr/sbin", "usr/lib/ISOLINUX", "usr/lib/syslinux/modules/bios"):
        (root / place).mkdir(parents=True)
    for name in image.PROGRAMS:
        shutil.copy(TRUE, root / "usr/bin" / name)
    for name in ("isolinux.bin", "isohdpfx.bin"):
        (root / "usr/lib/ISOLINUX" / name).write_bytes(b"loader")
    (root / "usr/lib/syslinux/modules/bios/ldlinux.c32").write_bytes(b"loader")
    (root / "usr/lib/x86_64-linux-gnu").symlink_to(LIBRARIES)
    return root


def kernel(root: Path, version: str, *, nfs: bool) -> None:
    (root / "boot").mkdir(parents=True, exist_ok=True)
    (root / "boot" / f"vmlinuz-{version}").write_bytes(version.encode())
    modules = root / "usr/lib/modules" / version
    modules.mkdir(parents=True)
    (modules / "modules.builtin").write_text("kernel/drivers/ata/ahci.ko\nkernel/fs/isofs/isofs.ko\n")
    (modules / "virtio_net.ko").write_bytes(b"net\0depends=failover\0")
    (modules / "failover.ko").write_bytes(b"failover\0depends=\0")
    if nfs:
        (modules / "nfs.ko").write_bytes(b"nfs\0depends=\0")


@needs_libraries
def test_it_has_the_programs_their_libraries_and_the_modules_in_order(node: Path) -> None:
    found = read_newc(image.initramfs(node, "6.1.9-1"))
    assert found["usr/bin/insmod"][1] == TRUE.read_bytes()
    assert found["usr/lib/libc.so.6"][1] == (LIBRARIES / "libc.so.6").read_bytes()
    assert found["usr/lib/smoke/modules"][1].decode().split() == ["failover", "virtio_net", "nfs"]
    assert found["init"][0] == stat.S_IFREG | 0o755
    # Whoever runs it needs no env, which the image lacks.
    interpreter, _line, rest = found["init"][1].partition(b"\n")
    assert interpreter == b"#!/usr/bin/bash"
    assert rest == image.INIT.read_bytes().partition(b"\n")[2]


@needs_libraries
def test_links_of_the_node_become_files_and_no_link_of_the_image_leads_out(node: Path) -> None:
    (node / "usr/bin/mount").unlink()
    (node / "usr/bin/mount").symlink_to(node / "usr/bin/cat")
    (node / "usr/sbin/mount.nfs").symlink_to("../bin/cat")
    found = read_newc(image.initramfs(node, "6.1.9-1"))
    assert found["usr/bin/mount"][:2] == (stat.S_IFREG | 0o755, TRUE.read_bytes())
    assert stat.S_ISREG(found["usr/sbin/mount.nfs"][0])
    links = {path: data.decode() for path, (mode, data, _) in found.items() if stat.S_ISLNK(mode)}
    assert links == image.LINKS
    assert not any(target.startswith("/") or ".." in target for target in links.values())


@needs_libraries
def test_it_boots_by_an_iso_that_leaves_nothing_beside_it(node: Path, tmp_path: Path) -> None:
    if shutil.which("xorriso") is None:
        pytest.skip("xorriso is not installed")
    place = tmp_path / "out"
    place.mkdir()
    (node / "usr/lib/ISOLINUX/isolinux.bin").write_bytes(b"\0" * 4096)
    (node / "usr/lib/ISOLINUX/isohdpfx.bin").write_bytes(b"\0" * 432)
    kernel(node, "6.1.10-1", nfs=False)
    assert image.build(str(place / "smoke.iso"), node) == "6.1.10-1"
    assert [path.name for path in place.iterdir()] == ["smoke.iso"]
    shown = subprocess.run(
        ["xorriso", "-indev", str(place / "smoke.iso"), "-find", "/"], capture_output=True, text=True, check=True
    ).stdout
    assert "'/isolinux/vmlinuz'" in shown
    assert "'/isolinux/initrd'" in shown


def test_the_kernel_is_the_newest_that_has_modules(node: Path) -> None:
    kernel(node, "6.1.10-1", nfs=False)
    (node / "boot/vmlinuz-7.0").write_bytes(b"without modules")
    assert image.newest_kernel(node) == (node / "boot/vmlinuz-6.1.10-1", "6.1.10-1")


@pytest.mark.parametrize(
    ("remove", "named"),
    [
        ("usr/bin/ip", "ip: missing"),
        ("usr/lib/modules/6.1.9-1/virtio_net.ko", "has no virtio_net"),
        ("boot/vmlinuz-6.1.9-1", "no kernel in /boot"),
        ("usr/lib/ISOLINUX/isohdpfx.bin", r"isohdpfx.bin: missing; install isolinux .* syslinux"),
    ],
)
@needs_libraries
def test_what_is_missing_is_named_and_no_file_is_left(node: Path, tmp_path: Path, remove: str, named: str) -> None:
    place = tmp_path / "out"
    place.mkdir()
    (node / remove).unlink()
    with pytest.raises(VacError, match=named):
        image.build(str(place / "smoke.iso"), node)
    assert list(place.iterdir()) == []
