# SPDX-License-Identifier: GPL-3.0-or-later
"""The ISO: kernel, initramfs and isolinux, bootable as a CD and as a disk."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from condor_vac.smoke import cpio
from condor_vac.smoke.closure import Modules, libraries
from tests.experiment.guest import tree as checkout
from tests.experiment.guest.archive import Archive, run
from tests.lab.paths import LabError

HERE = Path(__file__).parent
ROOT = HERE / "root"
MAX_BYTES = 20 * 1000 * 1000

KERNEL = "linux-image-cloud-amd64"
PACKAGES = [
    "busybox", "libblkid1", "libc6", "libcap2", "libcom-err2", "libgssapi-krb5-2", "libk5crypto3",
    "libkeyutils1", "libkrb5-3", "libkrb5support0", "libmount1", "libpcre2-8-0", "libselinux1",
    "libtirpc-common", "libtirpc3t64", "nfs-common",
]  # fmt: skip
# What makes the ISO comes from the same suite: the host needs only apt, and every host makes the same.
TOOLS = [
    "isolinux", "libacl1", "libburn4t64", "libgcc-s1", "libisoburn1t64", "libisofs6t64", "libjte2",
    "liblz4-1", "liblzma5", "libreadline8t64", "libstdc++6", "libtinfo6", "syslinux-common", "xorriso",
    "zlib1g", "zstd",
]  # fmt: skip
# In the order of loading: the network first, because DHCP runs while the disks are probed.
EARLY_MODULES = ["virtio_net", "af_packet"]
MODULES = [
    "ata_piix", "ahci", "sr_mod", "sd_mod", "virtio_blk", "isofs", "button", "evdev", "virtio_rng", "pvpanic_mmio",
]  # fmt: skip
LAZY_MODULES = ["nfs", "nfsv3", "nfsv4", "ext4"]
# Nothing is probed that a VM of ours does not have. A serial console in an emulated machine is slow: quiet. The TSC is
# not the clock: where an emulated processor seldom runs, the kernel measures it wrongly (seen: ten times too fast).
COMMAND_LINE = (
    "console=ttyS0,115200 quiet loglevel=4 mitigations=off nokaslr clocksource=acpi_pm no_timer_check "
    "random.trust_cpu=on rcupdate.rcu_expedited=1 cryptomgr.notests ipv6.disable=1 audit=0 lsm= "
    "8250.nr_uarts=1 net.ifnames=0"
)
LINKS = {
    "bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64", "usr/lib64": "lib",
    "usr/bin/mount": "../sbin/mount", "usr/sbin/mount.nfs4": "mount.nfs", "usr/sbin/umount.nfs": "mount.nfs",
    "usr/sbin/modprobe": "../bin/busybox",
}  # fmt: skip
ISOLINUX = f"""DEFAULT guest
PROMPT 0
TIMEOUT 0
LABEL guest
  KERNEL vmlinuz
  INITRD initrd
  APPEND {COMMAND_LINE}
"""


def build(work: Path, output: Path) -> dict[str, str]:
    """Builds the ISO from packages downloaded into `work`; returns their versions. Raises LabError."""
    archive = Archive(work / "apt")
    _say("reading the package lists")
    archive.update()
    kernel = archive.depends(KERNEL, r"linux-image-\S+")
    _say(f"downloading {kernel} and {len(PACKAGES + TOOLS)} more packages")
    versions = archive.download([kernel, *PACKAGES, *TOOLS])
    packages = work / "packages"
    archive.extract(packages)
    _say("making the initramfs")
    tree = work / "iso"
    (tree / "isolinux").mkdir(parents=True)
    (work / "initramfs").write_bytes(initramfs(packages))
    _tool(packages, "zstd", "-q", "-19", str(work / "initramfs"), "-o", str(tree / "isolinux" / "initrd"))
    shutil.copyfile(next(packages.glob("boot/vmlinuz-*")), tree / "isolinux" / "vmlinuz")
    (tree / "isolinux" / "isolinux.cfg").write_text(ISOLINUX)
    _say("making the ISO")
    _iso(packages, tree, output)
    return versions


def initramfs(packages: Path) -> bytes:
    """The guest's whole file system, from the unpacked packages and the files in root/."""
    binaries = [packages / "usr/bin/busybox", packages / "usr/sbin/mount.nfs"]
    found = libraries(binaries, [packages / "usr/lib/x86_64-linux-gnu"])
    files = {f"usr/lib/{name}": path for name, path in found.items()}
    files.update({str(binary.relative_to(packages)): binary for binary in binaries})
    entries = [cpio.regular(name, path.read_bytes(), executable=True) for name, path in files.items()]
    links = {f"usr/bin/{applet}": "busybox" for applet in _tool(packages, "busybox", "--list").split()}
    links.update(LINKS)
    entries += [cpio.symlink(path, target) for path, target in links.items()]
    entries += _modules(packages) + _configuration(packages)
    return cpio.archive(entries + checkout.entries(ROOT) + [cpio.console("dev/console")])


def _tool(packages: Path, program: str, *arguments: str) -> str:
    """Runs an unpacked program with its own C library, which may be newer than the host's."""
    loader = packages / "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
    command = str(packages / "usr/bin" / program)
    return run(str(loader), "--library-path", str(loader.parent), command, *arguments)


def _modules(packages: Path) -> list[cpio.Entry]:
    directory = next(packages.glob("usr/lib/modules/*"))
    modules = Modules(directory)
    wanted = modules.closure(EARLY_MODULES + MODULES + LAZY_MODULES)
    target = f"usr/lib/modules/{directory.name}"
    entries = [cpio.regular(f"{target}/{name}.ko", modules.contents(name)) for name in wanted]
    entries.append(cpio.regular(f"{target}/modules.dep", checkout.dependency_table(modules, wanted).encode()))
    for name, listed in (("modules.early", EARLY_MODULES), ("modules", MODULES)):
        lines = [module for module in listed if module not in modules.builtin]
        entries.append(cpio.regular(f"usr/lib/guest/{name}", "".join(f"{line}\n" for line in lines).encode()))
    return entries


def _configuration(packages: Path) -> list[cpio.Entry]:
    files = {
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
        "etc/group": "root:x:0:\n",
        "etc/hosts": "127.0.0.1 localhost\n",
        "etc/nsswitch.conf": "hosts: files dns\nprotocols: files\n",
        # mount.nfs asks for their numbers before it mounts by version 3.
        "etc/protocols": "tcp 6 TCP\nudp 17 UDP\n",
        "etc/mtab": "",
    }
    entries = [cpio.regular(path, text.encode()) for path, text in files.items()]
    entries.append(cpio.regular("etc/netconfig", (packages / "etc/netconfig").read_bytes()))
    return [*entries, cpio.directory("etc/cernvm/cernvm.d")]


def _iso(packages: Path, tree: Path, output: Path) -> None:
    boot = packages / "usr/lib"
    shutil.copyfile(boot / "ISOLINUX/isolinux.bin", tree / "isolinux" / "isolinux.bin")
    shutil.copyfile(boot / "syslinux/modules/bios/ldlinux.c32", tree / "isolinux" / "ldlinux.c32")
    _tool(packages, "xorriso", "-as", "mkisofs", "-quiet", "-R", "-V", "VACGUEST", "-o", str(output),
        "-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4",
        "-boot-info-table", "-isohybrid-mbr", str(boot / "ISOLINUX/isohdpfx.bin"), str(tree))  # fmt: skip
    size = output.stat().st_size
    if size > MAX_BYTES:
        raise LabError(f"the ISO has {size} bytes, more than {MAX_BYTES}: drop modules or packages")


def _say(text: str) -> None:
    print(f"guest: {text}", file=sys.stderr, flush=True)
