# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab remembers of its machines, and the processes it may stop."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from . import network
from .paths import LabError, cache_dir, write_atomically

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def checked_name(name: str) -> str:
    """Return the name if it can be a host name and a directory, else raise LabError."""
    if not _NAME.fullmatch(name) or name == "localhost":
        raise LabError(f"machine name {name!r}: use lower-case letters, digits and inner hyphens")
    return name


@dataclass(frozen=True)
class Process:
    """A process that stays the same one: a later process with a recycled id has another start."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Process:
        """Describe a live process; raises LabError if there is none."""
        started = _start_of(pid)
        if started is None:
            raise LabError(f"process {pid} ended before it could be recorded")
        return cls(pid, started)

    def alive(self) -> bool:
        """Tell whether exactly this process still runs."""
        return _start_of(self.pid) == self.started

    def stop(self, patience: float = 5.0) -> None:
        """End the process (SIGTERM, then SIGKILL after `patience` seconds) and wait until it is gone."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + patience
            if self.alive():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, number)
            while time.monotonic() < deadline:
                if not self.alive():
                    return
                time.sleep(0.05)
        raise LabError(f"process {self.pid} does not end even by SIGKILL")


def _start_of(pid: int) -> str | None:
    """Return boot id and start time (clock ticks since boot) of a process that is not a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name, in brackets, may itself hold blanks and brackets.
    after_name = stat.rpartition(")")[2].split()
    if after_name[0] in {"Z", "X"}:
        return None
    return f"{_BOOT_ID.read_text('utf-8').strip()}/{after_name[19]}"


@dataclass(frozen=True)
class Machine:
    """One machine as recorded in its directory."""

    name: str
    image: str
    number: int
    ssh_port: int
    memory: int
    internet: bool
    acceleration: str
    process: Process | None = None
    ready: bool = False

    @property
    def directory(self) -> Path:
        """Where the machine's disk, console and QMP socket are."""
        return machines_dir() / self.name

    @property
    def address(self) -> str:
        """The machine's address on the lab's segment."""
        return network.address(self.number)

    def running(self) -> bool:
        """Tell whether the machine's QEMU runs."""
        return self.process is not None and self.process.alive()

    def save(self) -> None:
        """Write the record."""
        self.directory.mkdir(parents=True, exist_ok=True)
        write_atomically(self.directory / "machine.json", json.dumps(asdict(self), indent=1) + "\n")

    def discard(self) -> None:
        """Stop the machine's QEMU if it runs and remove its disk and record."""
        if self.process is not None and self.process.alive():
            self.process.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def machines_dir() -> Path:
    """Return the directory with one subdirectory for each machine."""
    return cache_dir() / "machines"


def load(name: str) -> Machine | None:
    """Return a machine's record, or None if there is no such machine."""
    path = machines_dir() / checked_name(name) / "machine.json"
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise LabError(f"{path}: {error}; remove that directory") from error
    if set(data) != {field.name for field in fields(Machine)}:
        raise LabError(f"{path}: written by another version of the lab; stop its machine and remove that directory")
    process = data.pop("process")
    return Machine(**data, process=Process(**process) if process else None)


def load_all() -> list[Machine]:
    """Return every recorded machine, in the order of names."""
    found = (load(path.parent.name) for path in sorted(machines_dir().glob("*/machine.json")))
    return [machine for machine in found if machine is not None]


def require(name: str) -> Machine:
    """Return a machine that runs; raise LabError if it does not."""
    machine = load(name)
    if machine is None or not machine.running():
        raise LabError(f"machine {name} does not run; start it: python -m tests.lab up {name}")
    return machine


def segment_port() -> int:
    """Return the UDP port of this lab's segment, chosen once so that two checkouts do not meet."""
    path = cache_dir() / "segment-port"
    if not path.exists():
        write_atomically(path, f"{network.free_port(socket.SOCK_DGRAM)}\n")
    return int(path.read_text("utf-8"))
