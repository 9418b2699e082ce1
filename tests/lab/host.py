# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab needs of the host, and whether its processor can run guests by itself."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .paths import LabError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

# What the lab calls, and the Debian package that has it.
PROGRAMS = {
    "ip": "iproute2",
    "mcopy": "mtools",
    "mkfs.ext4": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "syslinux": "syslinux",
    "systemd-nspawn": "systemd-container",
    "unshare": "util-linux",
    "xorriso": "xorriso",
}
FILES = {
    KEYRING: "debian-archive-keyring",
    Path("/usr/lib/ISOLINUX/isolinux.bin"): "isolinux",
    Path("/usr/lib/syslinux/modules/bios/ldlinux.c32"): "syslinux-common",
    Path("/usr/lib/syslinux/mbr/mbr.bin"): "syslinux-common",
}

# QEMU emulates SVM without hardware help, but not with a second emulated processor. Under 7.2 the machine's own kernel
# panicked once it ran nested guests; under 10.0 one such guest of five was gone, or spun with its host's registers in
# its VMCB; under 11.1 one of 45 ended by a triple fault as a page fault was delivered (SVM_EXIT_SHUTDOWN, EXITINTINFO
# 0x80000b0e), and so it does if all its threads are bound to one processor.
_TCG_MIB = 512
# "Fast" strings (erms, fsrm) are emulated a byte at a time: with them a file takes twice the time to be read from the
# page cache. Five-level page tables (la57) cost a level at each walk.
_TCG_CPU = "max,+svm,-la57,-erms,-fsrm"


@dataclass(frozen=True)
class Acceleration:
    """How QEMU runs a machine: its arguments and the number of virtual processors."""

    name: str
    arguments: tuple[str, ...]
    processors: int


def find_program(name: str) -> str | None:
    """Return a program's path; sbin counts even if the caller's PATH lacks it."""
    return shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")


def requirements() -> list[str]:
    """Return the Debian packages that the lab needs on the host."""
    return sorted({*PROGRAMS.values(), *FILES.values()})


def missing_packages(
    has_program: Callable[[str], bool] = lambda name: find_program(name) is not None,
    has_file: Callable[[Path], bool] = Path.exists,
) -> list[str]:
    """Return the packages of which a program or file is absent."""
    absent = {package for name, package in PROGRAMS.items() if not has_program(name)}
    return sorted(absent | {package for path, package in FILES.items() if not has_file(path)})


def check(missing: Iterable[str] | None = None) -> None:
    """Raise LabError with the command that installs what this host lacks."""
    packages = list(missing_packages() if missing is None else missing)
    if packages:
        sudo = "" if os.geteuid() == 0 else "sudo "
        raise LabError(
            f"this host lacks {', '.join(packages)}. Install: "
            f"{sudo}apt-get install --no-install-recommends {' '.join(packages)}"
        )


def processor_flags(cpuinfo: str) -> set[str]:
    """Return the flags of the first processor in the text of /proc/cpuinfo."""
    found = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    return set(found.group(1).split()) if found else set()


def acceleration(cpuinfo: str | None = None, kvm_usable: bool | None = None) -> Acceleration:
    """Choose KVM where the processor has it, else TCG with emulated SVM.

    The flag is the test: /dev/kvm may exist and open where no guest can run.
    """
    flags = processor_flags(Path("/proc/cpuinfo").read_text("utf-8") if cpuinfo is None else cpuinfo)
    usable = os.access("/dev/kvm", os.R_OK | os.W_OK) if kvm_usable is None else kvm_usable
    if flags & {"svm", "vmx"} and usable:
        return Acceleration("kvm", ("-accel", "kvm", "-cpu", "host"), 2)
    return Acceleration("tcg", ("-accel", f"tcg,tb-size={_TCG_MIB}", "-cpu", _TCG_CPU), 1)
