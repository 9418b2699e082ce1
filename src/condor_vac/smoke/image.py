# SPDX-License-Identifier: GPL-3.0-or-later
"""The smoke VM's image: a small bootable ISO of this node's own kernel and programs, so that nothing is shipped."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from condor_vac.base import tools
from condor_vac.base.errors import VacError
from condor_vac.smoke import cpio
from condor_vac.smoke.closure import Modules, libraries

INIT = Path(__file__).with_name("init.sh")
# What the init script and the context ISO's own script run; without the others the VM does less.
PROGRAMS = ("bash", "base64", "cat", "chmod", "grep", "ip", "insmod", "ln", "mkdir", "mount", "sleep", "umount")
MORE_PROGRAMS = ("hostname", "mount.nfs")
# In the order of loading; what a kernel has built in or does not have is left out.
MODULES = (
    *("virtio_pci", "virtio_net", "af_packet", "ahci", "ata_piix", "sd_mod", "sr_mod", "isofs", "virtio_blk"),
    *("virtio_rng", "nfs", "nfsv3", "nfsv4"),
)  # fmt: skip
# Without one of these no VM finds its context or its node.
NEEDED_MODULES = ("virtio_net", "ahci", "isofs")
LIBRARY_PLACES = ("/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64")
# Where Debian (isolinux, syslinux-common) and Enterprise Linux (syslinux, syslinux-nonlinux) have the boot loader.
LOADER_PLACES = ("/usr/lib/ISOLINUX", "/usr/lib/syslinux/modules/bios", "/usr/share/syslinux")
LOADER_FILES = ("isolinux.bin", "ldlinux.c32", "isohdpfx.bin")
LINKS = {
    "bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64", "usr/lib64": "lib",
    "usr/bin/sh": "bash", "usr/sbin/mount.nfs4": "mount.nfs", "usr/sbin/umount.nfs": "mount.nfs",
}  # fmt: skip
# A serial console, which is what comes back as console.log. The TSC is not the clock: where an emulated processor
# seldom runs, the kernel measures it wrongly.
COMMAND_LINE = (
    "console=ttyS0,115200 quiet loglevel=4 mitigations=off clocksource=acpi_pm no_timer_check random.trust_cpu=on "
    "cryptomgr.notests ipv6.disable=1 audit=0 selinux=0 net.ifnames=0 panic=-1 sysrq_always_enabled=1"
)
ISOLINUX = f"""DEFAULT smoke
PROMPT 0
TIMEOUT 0
LABEL smoke
  KERNEL vmlinuz
  INITRD initrd
  APPEND {COMMAND_LINE}
"""
CONFIGURATION = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/nsswitch.conf": "hosts: files\nprotocols: files\n",
    # mount.nfs asks for their numbers and names before it mounts by version 3.
    "etc/protocols": "tcp 6 TCP\nudp 17 UDP\n",
    "etc/netconfig": "udp tpi_clts v inet udp - -\ntcp tpi_cots_ord v inet tcp - -\n",
    "etc/mtab": "",
}
MAX_BYTES = 128 << 20
_TIMEOUT = 120.0


def build(output: str, root: Path = Path("/")) -> str:
    """Write the ISO to ``output`` and return the version of its kernel; ``root`` is where the files are taken from.

    Raises VacError, naming what is missing and the package that has it.
    """
    machine = os.uname().machine
    if machine != "x86_64":
        raise VacError(f"the smoke image is for x86_64, and this node is {machine}; build it on another node")
    kernel, version = newest_kernel(root)
    directory = os.path.dirname(os.path.abspath(output))
    work = Path(tempfile.mkdtemp(prefix=".smoke-", dir=directory))
    try:
        place = work / "iso/isolinux"
        place.mkdir(parents=True)
        (place / "initrd").write_bytes(gzip.compress(initramfs(root, version), 6))
        shutil.copyfile(kernel, place / "vmlinuz")
        (place / "isolinux.cfg").write_text(ISOLINUX)
        _iso(root, work, work / "smoke.iso")
        os.replace(work / "smoke.iso", output)
    except OSError as error:
        raise VacError(f"{error.filename or output}: {error.strerror}; check disk and permissions") from error
    finally:
        shutil.rmtree(work)
    return version


def newest_kernel(root: Path) -> tuple[Path, str]:
    """The newest kernel with modules, and its version. Raises VacError."""
    found = {}
    for path in root.glob("usr/lib/modules/*/modules.builtin"):
        version = path.parent.name
        kernels = [root / f"boot/vmlinuz-{version}", path.parent / "vmlinuz"]
        kernel = next((file for file in kernels if file.is_file()), None)
        if kernel is not None:
            found[version] = kernel
    if not found:
        raise VacError("no kernel in /boot with modules in /usr/lib/modules; install a kernel package on this node")
    newest = max(found, key=_version_key)
    return found[newest], newest


def _version_key(version: str) -> list[tuple[bool, int, str]]:
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.findall(r"\d+|\D+", version)]


def initramfs(root: Path, version: str) -> bytes:
    """The VM's whole file system. Raises VacError."""
    programs = {name: path for name in (*PROGRAMS, *MORE_PROGRAMS) if (path := _program(root, name)) is not None}
    missing = [name for name in PROGRAMS if name not in programs]
    if missing:
        raise VacError(f"{', '.join(missing)}: missing in {tools.SYSTEM_PATH}; install the packages that have them")
    found = libraries(list(programs.values()), [_below(root, place) for place in LIBRARY_PLACES])
    entries = [cpio.regular(f"usr/lib/{name}", path.read_bytes(), executable=True) for name, path in found.items()]
    for name, path in programs.items():
        # mount looks for mount.nfs in sbin alone.
        where = "usr/sbin" if name == "mount.nfs" else "usr/bin"
        entries.append(cpio.regular(f"{where}/{name}", path.read_bytes(), executable=True))
    entries += [cpio.symlink(path, target) for path, target in LINKS.items()]
    entries += _modules(root / "usr/lib/modules" / version)
    entries += [cpio.regular(path, text.encode()) for path, text in CONFIGURATION.items()]
    entries += [cpio.directory("etc/cernvm/cernvm.d"), cpio.directory("proc"), cpio.console("dev/console")]
    # The kernel runs it, and there is no env in the image.
    init = b"#!/usr/bin/bash\n" + INIT.read_bytes().partition(b"\n")[2]
    return cpio.archive([*entries, cpio.regular("init", init, executable=True)])


def _modules(directory: Path) -> list[cpio.Entry]:
    modules = Modules(directory)
    missing = [name for name in NEEDED_MODULES if not modules.has(name)]
    if missing:
        raise VacError(
            f"kernel {directory.name} has no {', '.join(missing)} that this program can read; install another kernel"
        )
    order = modules.closure([name for name in MODULES if modules.has(name)])
    entries = [cpio.regular(f"usr/lib/smoke/{name}.ko", modules.contents(name)) for name in order]
    return [*entries, cpio.regular("usr/lib/smoke/modules", "".join(f"{name}\n" for name in order).encode())]


def _iso(root: Path, work: Path, output: Path) -> None:
    tree = work / "iso"
    loader = {name: _loader(root, name) for name in LOADER_FILES}
    for name in ("isolinux.bin", "ldlinux.c32"):
        shutil.copyfile(loader[name], tree / "isolinux" / name)
    argv: Sequence[str] = [
        *("xorriso", "-as", "mkisofs", "-quiet", "-R", "-V", "VACSMOKE", "-o", str(output)),
        *("-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4"),
        *("-boot-info-table", "-isohybrid-mbr", str(loader["isohdpfx.bin"]), str(tree)),
    ]  # fmt: skip
    tools.run(argv, timeout=_TIMEOUT)
    size = output.stat().st_size
    if size > MAX_BYTES:
        raise VacError(f"the image has {size >> 20} MiB, more than {MAX_BYTES >> 20}; build it on another node")


def _program(root: Path, name: str) -> Path | None:
    """The program's own file: links, such as those of alternatives, are followed, and none goes into the image."""
    for directory in tools.SYSTEM_PATH.split(":"):
        path = _below(root, directory) / name
        if path.is_file() and os.access(path, os.X_OK):
            return path
    return None


def _loader(root: Path, name: str) -> Path:
    for place in LOADER_PLACES:
        path = _below(root, place) / name
        if path.is_file():
            return path
    raise VacError(
        f"{name}: missing; install isolinux and syslinux-common (Debian), or syslinux and syslinux-nonlinux"
        " (Enterprise Linux)"
    )


def _below(root: Path, path: str) -> Path:
    return root / path.lstrip("/")
