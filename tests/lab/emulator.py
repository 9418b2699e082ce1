# SPDX-License-Identifier: GPL-3.0-or-later
"""The QEMU that runs the lab's machines: the host's own, or a newer one where an old one would have to emulate.

In a machine that QEMU 10.0 emulates, starting a program takes a third of what it takes under 7.2, a login by SSH
half, Python's start two thirds (processor time of QEMU, measured in turns; 11.1 is no faster than 10.0).

Before 10.2 an emulated machine that runs guests loses an interrupt now and then: at each VMRUN and #VMEXIT
(target/i386/tcg/system/svm_helper.c) the processor's thread changes ``interrupt_request`` without the lock under
which a timer sets its bit there (qemu-devel, "clear bits of cs->interrupt_request", September 2025). Where that was
the bit lost, the machine stands still until something else interrupts it, such as a packet: a demo of ours stood for
175 s in a guest that waited for its own timer.

So on a host without virtualisation and with an older QEMU the lab unpacks that of Debian 13's backports into its
cache and runs it by its own dynamic loader and libraries: nothing is installed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

from . import host, images
from .host import Acceleration
from .paths import LabError

PROGRAM = "qemu-system-x86_64"
_OLDEST = (10, 2)
_SUITE = "trixie"
_BACKPORTS = f"{_SUITE}-backports"
_PACKAGES = ("qemu-system-x86", "libc6", "seabios", "ipxe-qemu")
_OPTIONS = (*images.MMDEBSTRAP, "--variant=extract", f'--aptopt=APT::Default-Release "{_BACKPORTS}"')


def command(accel: Acceleration) -> list[str]:
    """The words that start QEMU for machines of this acceleration, unpacked now if it is not there yet.

    Raises LabError if it cannot be had.
    """
    own = host.find_program(PROGRAM)
    if own is None:
        host.check()
        raise LabError(f"{PROGRAM}: not found")
    if accel.name != "tcg" or version(_said(own)) >= _OLDEST:
        return [own]
    return loaded(_unpacked())


def loaded(root: Path) -> list[str]:
    """The words that start the QEMU which is unpacked under ``root``, with that tree's libraries and firmware."""
    usr = root / "usr"
    firmware = [word for name in ("share/qemu", "share/seabios", "lib/ipxe/qemu") for word in ("-L", str(usr / name))]
    return [
        str(usr / "lib64/ld-linux-x86-64.so.2"), "--argv0", PROGRAM,
        "--library-path", f"{usr}/lib/x86_64-linux-gnu:{usr}/lib", str(usr / "bin" / PROGRAM), *firmware,
    ]  # fmt: skip


def version(printed: str) -> tuple[int, int]:
    """Major and minor version in what ``qemu-system-x86_64 --version`` prints; (0, 0) if there is none."""
    found = re.search(r"version (\d+)\.(\d+)", printed)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def name() -> str:
    """The name of the unpacked QEMU in the directory of images, which changes with what it is made of."""
    content = json.dumps([_SUITE, _PACKAGES, _OPTIONS, _sources()])
    return f"qemu-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def script(root: Path) -> str:
    """The shell script that unpacks QEMU and what it needs into ``root``; it runs as root."""
    words = ["mmdebstrap", *_OPTIONS, f"--keyring={host.KEYRING}", f"--include={','.join(_PACKAGES)}"]
    return "\n".join([
        "set -eu",
        "export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8",
        shlex.join([*words, _SUITE, str(root), *_sources()]),
        f"chown -R {os.getuid()}:{os.getgid()} {shlex.quote(str(root))}",
    ])  # fmt: skip


def _sources() -> tuple[str, ...]:
    sources = images.mirrors(images.host_targets(), _SUITE)
    return (*sources, sources[0].replace(f" {_SUITE} ", f" {_BACKPORTS} "))


def _said(program: str) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{program} --version failed: {done.stderr.strip()}")
    return done.stdout


def _unpacked() -> Path:
    return images.build_once("QEMU of Debian 13's backports", "qemu", name(), script)
