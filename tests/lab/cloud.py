# SPDX-License-Identifier: GPL-3.0-or-later
"""A small Debian cloud image with cloud-init, for VMs of the kind cloud-init: a disk that boots by itself.

``python -m tests.lab.cloud initrd ROOT FILE`` and ``table FILE SECTORS`` are steps of ``disk_script``. Nothing is
mounted: the boot partition (syslinux, kernel, initrd) is written by mtools, the root file system by mkfs.
"""

from __future__ import annotations

import shlex
import struct
import sys
from pathlib import Path

from condor_vac.smoke import cpio
from condor_vac.smoke.closure import Modules, libraries
from tests.experiment.guest import tree

from .paths import CHECKOUT, SOURCE

CUSTOMIZE = SOURCE / "customize_cloud.sh"
SOURCES = (
    SOURCE / "cloud.py",
    CUSTOMIZE,
    SOURCE / "cloud_initrd",
    CHECKOUT / "src/condor_vac/smoke/cpio.py",
    CHECKOUT / "src/condor_vac/smoke/closure.py",
    CHECKOUT / "tests/experiment/guest/tree.py",
)
MBR = Path("/usr/lib/syslinux/mbr/mbr.bin")
SECTOR = 512
MIB = 1 << 20
BOOT_START = MIB // SECTOR
BOOT_SECTORS = 40 * MIB // SECTOR
ROOT_START = BOOT_START + BOOT_SECTORS
ROOT_BYTES = 1200 * MIB
# What the disk and the cidata ISO of a VM need: cloud-init looks for the ISO before udev loads anything.
MODULES = ["virtio_blk", "ahci", "sd_mod", "sr_mod", "isofs"]
# An emulated machine writes to a serial console slowly, and probes nothing that a VM of ours lacks.
COMMAND_LINE = (
    "root=/dev/vda2 ro console=ttyS0,115200 quiet mitigations=off nokaslr tsc=reliable no_timer_check "
    "random.trust_cpu=on cryptomgr.notests audit=0 apparmor=0 selinux=0 net.ifnames=0 "
    "systemd.default_timeout_start_sec=900"
)
SYSLINUX = f"""DEFAULT linux
PROMPT 0
TIMEOUT 0
LABEL linux
  KERNEL vmlinuz
  INITRD initrd
  APPEND {COMMAND_LINE}
"""
# Type, first sector and number of sectors of a partition (IBM PC's table; syslinux wants the first one active).
_FAT16_LBA, _LINUX = 0x0E, 0x83


def disk_script(root: Path, work: Path) -> str:
    """The shell commands that make disk.qcow2 in `work` of the root directory and of vmlinuz there."""
    python = f"PYTHONPATH={shlex.quote(str(CHECKOUT))} {shlex.quote(sys.executable)} -m tests.lab.cloud"
    return f"""
cd {shlex.quote(str(work))}
{python} initrd {shlex.quote(str(root))} initrd
printf %s {shlex.quote(SYSLINUX)} > syslinux.cfg
truncate -s {BOOT_SECTORS * SECTOR} boot.img
mformat -i boot.img -H {BOOT_START} -T {BOOT_SECTORS} -h 64 -s 32 -v BOOT ::
syslinux --install boot.img
mcopy -i boot.img vmlinuz initrd syslinux.cfg ::
rm -rf {shlex.quote(str(root))}/boot/*
truncate -s {ROOT_BYTES} root.img
mkfs.ext4 -q -F -L root -m 0 -O ^has_journal -d {shlex.quote(str(root))} root.img
{python} table disk.raw
dd if=boot.img of=disk.raw bs={MIB} seek={BOOT_START * SECTOR // MIB} conv=notrunc,sparse status=none
dd if=root.img of=disk.raw bs={MIB} seek={ROOT_START * SECTOR // MIB} conv=notrunc,sparse status=none
qemu-img convert -c -O qcow2 -o compression_type=zstd disk.raw disk.qcow2
rm -f boot.img root.img disk.raw initrd syslinux.cfg vmlinuz
"""


def partition_table(mbr: bytes) -> bytes:
    """The first sector: syslinux's code and the two partitions."""
    entries = b"".join(
        struct.pack("<B3xB3xII", 0x80 if active else 0, kind, start, sectors)
        for active, kind, start, sectors in (
            (True, _FAT16_LBA, BOOT_START, BOOT_SECTORS),
            (False, _LINUX, ROOT_START, ROOT_BYTES // SECTOR),
        )
    )
    return mbr[:440].ljust(446, b"\0") + entries.ljust(64, b"\0") + b"\x55\xaa"


def initrd(root: Path) -> bytes:
    """An initramfs that loads the disk's driver and goes on with the system on it."""
    modules = Modules(next(root.glob("usr/lib/modules/*")))
    names = modules.closure(MODULES)
    busybox = root / "usr/bin/busybox"
    found = libraries([busybox], [root / "usr/lib/x86_64-linux-gnu"])
    entries = [cpio.regular("bin/busybox", busybox.read_bytes(), executable=True)]
    entries += [cpio.regular(f"lib/{name}", path.read_bytes(), executable=True) for name, path in found.items()]
    entries += [cpio.symlink("lib64", "lib"), cpio.console("dev/console")]
    entries += [cpio.directory(name) for name in ("proc", "sys", "root")]
    entries += [cpio.regular(f"modules/{name}.ko", modules.contents(name)) for name in names]
    entries.append(cpio.regular("modules/order", "".join(f"{name}\n" for name in names).encode()))
    return cpio.archive(entries + tree.entries(SOURCE / "cloud_initrd"))


def main(arguments: list[str]) -> None:
    """One step of ``disk_script``."""
    if arguments[0] == "initrd":
        Path(arguments[2]).write_bytes(initrd(Path(arguments[1])))
        return
    with open(arguments[1], "wb") as disk:
        disk.write(partition_table(MBR.read_bytes()))
        disk.truncate(ROOT_START * SECTOR + ROOT_BYTES)


if __name__ == "__main__":
    main(sys.argv[1:])
