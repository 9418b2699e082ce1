# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a machine that has just booted, kept so that the next one like it need not boot.

An emulated machine takes most of a minute to boot; its memory, some 300 MB, is written in a second, and SSH answers
five seconds after the start of a machine that goes on from it. Nothing but the boot is in the state: it is kept when
SSH answers for the first time.

The files are below ``.cache/lab/kept``, one directory for a machine's name. What the state was made of is in the
directory's name, so that another image, QEMU, key or command line boots anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from . import qemu, ssh
from .host import Acceleration
from .images import Image
from .paths import LabError, cache_dir
from .progress import Progress
from .state import Machine

_MEMORY = "memory"
_DIGITS = 16
_DISK = "disk.qcow2"
# Bytes per second; QEMU's own limit is made for networks.
_BANDWIDTH = 1 << 34
_SECONDS = 120


def place(program: Sequence[str], machine: Machine, image: Image, accel: Acceleration) -> Path:
    """Where the state of this machine is, if there is one.

    Ports are the host's business. The disk is a layer over the image's, which therefore must be the very same file.
    """
    command = qemu.command_line(program, replace(machine, ssh_port=0), image, accel, ssh.public_key(), 0)
    disk = image.disk.stat()
    content = json.dumps([command, disk.st_ino, disk.st_mtime_ns, disk.st_size])
    return _directory() / f"{machine.name}-{hashlib.sha256(content.encode()).hexdigest()[:_DIGITS]}"


def lay_out(kept: Path, machine: Machine) -> list[str]:
    """Put the machine's disk and memory into its directory; returns QEMU's arguments that go on from there."""
    shutil.copy(kept / _DISK, machine.directory / _DISK)
    (machine.directory / _MEMORY).symlink_to(kept / _MEMORY)
    return ["-incoming", f"file:{_MEMORY}"]


def use(machine: Machine, kept: Path) -> None:
    """Tell a machine that went on from its kept state what the time is; keep the state of one that has booted."""
    if kept.is_dir():
        ssh.run(machine, f"date --set=@{time.time():.3f}")
    else:
        _keep(machine, kept)


def forget(names: Iterable[str]) -> None:
    """Remove what is kept of machines of these names, and what a killed attempt to keep it left."""
    for name in names:
        for old in (*_directory().glob(f"{name}-{'?' * _DIGITS}"), *_directory().glob(f".{name}-*")):
            shutil.rmtree(old)


def _directory() -> Path:
    return cache_dir() / "kept"


def _keep(machine: Machine, kept: Path) -> None:
    """The machine stands still at the end, and goes on whether its state could be kept or not (LabError)."""
    forget([machine.name])
    kept.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=kept.parent, prefix=f".{machine.name}-"))
    try:
        with Progress(f"keeping the state of {machine.name}") as progress:
            _write_memory(machine, progress)
            os.replace(machine.directory / _MEMORY, work / _MEMORY)
            shutil.copy(machine.directory / _DISK, work / _DISK)
            os.replace(work, kept)
            progress.done(f"the state of {machine.name} is kept: the next one goes on from here")
    finally:
        shutil.rmtree(work, ignore_errors=True)
        qemu.command(machine.directory, "cont")


def _write_memory(machine: Machine, progress: Progress) -> None:
    qemu.command(machine.directory, "migrate-set-parameters", **{"max-bandwidth": _BANDWIDTH})
    qemu.command(machine.directory, "migrate", uri=f"file:{_MEMORY}")
    deadline = time.monotonic() + _SECONDS
    while (told := qemu.command(machine.directory, "query-migrate"))["status"] != "completed":
        if told["status"] in {"failed", "cancelled"} or time.monotonic() > deadline:
            raise LabError(f"{machine.name}: its state cannot be kept: {told.get('error-desc', told['status'])}")
        progress.show(told["status"])
        time.sleep(0.1)
