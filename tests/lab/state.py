# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab remembers of its nodes, and the processes it may stop."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from . import network
from .paths import LabError, as_root, lab_dir, lab_id, write_atomically

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# For what hangs: a process of many gigabytes on a busy host may take seconds to end.
_KILL_SECONDS = 600
RECORD = "node.json"


def checked_name(name: str) -> str:
    """Return the name if it can be a host name and a directory, else raise LabError."""
    if not _NAME.fullmatch(name) or name == "localhost":
        raise LabError(f"node name {name!r}: use lower-case letters, digits and inner hyphens")
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
        for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, _KILL_SECONDS)):
            deadline = time.monotonic() + seconds
            if self.alive():
                self._signal(number)
            while time.monotonic() < deadline:
                if not self.alive():
                    return
                time.sleep(0.05)
        raise LabError(f"process {self.pid} does not end even by SIGKILL")

    def kill(self) -> None:
        """End the process at once, and wait until it is gone."""
        self._signal(signal.SIGKILL)
        self.stop()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            try:
                os.kill(self.pid, number)
            except PermissionError:
                subprocess.run(as_root("kill", f"-{number.value}", str(self.pid)), check=False)


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
class Node:
    """One node as recorded in its directory; ``kind`` is container or machine, and a container has no port."""

    name: str
    kind: str
    image: str
    number: int
    ssh_port: int | None = None
    memory: int = 0
    internet: bool = False
    acceleration: str = ""
    # The directory of a layer between image and node, as `save` made it.
    layer: str | None = None
    process: Process | None = None
    ready: bool = False

    @property
    def directory(self) -> Path:
        """Where the node's own files are."""
        return nodes_dir() / self.name

    @property
    def address(self) -> str:
        """The node's address on the lab's segment."""
        return network.address(self.number)

    @property
    def alias(self) -> str:
        """The node's name for SSH, which no node of another lab has: Ansible shares connections by it."""
        return f"{self.name}.{lab_id()}"

    def running(self) -> bool:
        """Tell whether the node is on."""
        return self.process is not None and self.process.alive()

    def save(self) -> None:
        """Write the record."""
        self.directory.mkdir(parents=True, exist_ok=True)
        write_atomically(self.directory / RECORD, json.dumps(asdict(self), indent=1) + "\n")


def nodes_dir() -> Path:
    """Return the directory with one subdirectory for each node."""
    return lab_dir() / "nodes"


def load(name: str) -> Node | None:
    """Return a node's record, or None if there is no such node."""
    path = nodes_dir() / checked_name(name) / RECORD
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise LabError(f"{path}: {error}; remove that directory") from error
    if set(data) != {field.name for field in fields(Node)}:
        raise LabError(f"{path}: written by another version of the lab; stop its machine and remove that directory")
    process = data.pop("process")
    return Node(**data, process=Process(**process) if process else None)


def load_all() -> list[Node]:
    """Return every recorded node, in the order of names."""
    found = (load(path.parent.name) for path in sorted(nodes_dir().glob(f"*/{RECORD}")))
    return [node for node in found if node is not None]


def require(name: str) -> Node:
    """Return a node that is on; raise LabError if it is not."""
    node = load(name)
    if node is None or not node.running():
        raise LabError(f"node {name} does not run; start it: python -m tests.lab up {name}")
    return node


def segment_port() -> int:
    """Return the UDP port of the segment of this lab's machines, chosen once so that two labs do not meet."""
    path = lab_dir() / "segment-port"
    if not path.exists():
        write_atomically(path, f"{network.free_port(socket.SOCK_DGRAM)}\n")
    return int(path.read_text("utf-8"))
