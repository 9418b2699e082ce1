# SPDX-License-Identifier: GPL-3.0-or-later
"""The namespaces of a lab's containers, all held by one process: when it ends, so does everything in them.

A mount, process and network namespace (``unshare``) in which the image's overlays, the bridge, the containers and
their links exist; the host's mount table, links and /run never show them. The holder is recorded before it makes
anything (inside.py ``record``), so that whatever becomes of the lab's own process, the next one finds and ends it.
What stays behind then is an empty tree of cgroups, which ``end`` removes.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from . import host, network
from .paths import SOURCE, LabError, as_root, cache_dir, lab_dir, lab_id, locked
from .progress import tail
from .state import Process

NEEDED = ("systemd-nspawn", "unshare", "nsenter", "ip")
_UNSHARE = (
    "unshare",
    "--mount",
    "--net",
    "--pid",
    "--fork",
    "--mount-proc",
    "--kill-child",
    "--propagation",
    "private",
)
# For what hangs; more than inside.py gives its own steps.
_SECONDS = 900


def step(name: str, *words: str) -> list[str]:
    """The words that run a step of inside.py."""
    return [sys.executable, "-I", str(SOURCE / "inside.py"), name, *words]


def cgroup() -> str:
    """The name of this lab's cgroup."""
    return f"vac-lab-{lab_id()}"


@functools.cache
def obstacle() -> str:
    """Why containers cannot run on this host, in one line; empty if they can. A real one is tried: half a second."""
    absent = [name for name in NEEDED if host.find_program(name) is None]
    if absent:
        return f"{absent[0]} is missing: apt-get install systemd-container util-linux iproute2"
    place = Path(tempfile.mkdtemp(prefix=".probe-", dir=cache_dir()))
    try:
        spec = {"cgroup": f"{cgroup()}-{place.name[1:]}", "place": str(place)}
        done = _call(as_root(*_UNSHARE, *step("probe")), spec)
        _call(as_root("unshare", "--mount", *step("sweep")), spec)
        return "" if done.returncode == 0 else (done.stderr.strip() or "no reason given").splitlines()[0]
    except subprocess.TimeoutExpired:
        return f"a container did not start within {_SECONDS} s"
    finally:
        subprocess.run(as_root("rm", "-rf", "--one-file-system", str(place)), check=False)


def _call(command: list[str], spec: dict[str, Any], seconds: float = _SECONDS) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=json.dumps(spec), capture_output=True, text=True, check=False, timeout=seconds)


class Space:
    """This lab's namespaces; ``begin`` has them there, ``end`` has them gone."""

    def __init__(self) -> None:
        self.directory = lab_dir()
        self._record = self.directory / "holder.json"
        self._ready = self.directory / "holder.ready"

    def holder(self) -> Process | None:
        """The recorded holder if it lives."""
        try:
            process = Process(**json.loads(self._record.read_text("utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise LabError(f"{self._record}: {error}; end the process that it names and remove it") from error
        return process if process.alive() else None

    def begin(self) -> None:
        """Have the namespaces there. Raises LabError with the holder's own words."""
        with locked("space", self.directory):
            if self.holder() is None:
                self.end()
                self._start()

    def _start(self) -> None:
        log = self.directory / "holder.log"
        address = f"{network.SEGMENT[1]}/{network.SEGMENT.prefixlen}"
        spec = {"cgroup": cgroup(), "address": address, "ready": str(self._ready)}
        command = as_root(*_delegated(), *step("record", str(self._record), *_UNSHARE, *step("hold")))
        with open(log, "w", encoding="utf-8") as stream:
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        assert child.stdin is not None
        with child.stdin as stdin:
            stdin.write(json.dumps(spec))
        while not self._ready.exists():
            if child.poll() is not None:
                raise LabError("the lab's namespaces cannot be made: " + " ".join(tail(log, 3)))
            time.sleep(0.02)

    def cgroup_of(self, node: str) -> str:
        """The path of a node's cgroup, as seen inside."""
        return f"{self._ready.read_text('utf-8')}/{node}"

    def command(self, *words: str) -> list[str]:
        """The words that run a command inside, as root; its directory is /. Raises LabError if the holder is gone."""
        holder = self.holder()
        if holder is None:
            raise LabError(f"the containers of {self.directory} are gone; start them: python -m tests.lab up NAME")
        place = f"/proc/{holder.pid}/ns"
        return as_root(
            "nsenter", f"--mount={place}/mnt", f"--net={place}/net", f"--pid={place}/pid_for_children", *words
        )

    def call(self, name: str, spec: dict[str, Any]) -> None:
        """Run a step of inside.py and wait for it. Raises LabError if it fails."""
        done = _call(self.command(*step(name)), spec)
        if done.returncode != 0:
            raise LabError(f"{name}: {done.stderr.strip()}")

    def end(self) -> None:
        """Have the namespaces gone, with all that is in them, and the cgroups."""
        holder = self.holder()
        if holder is not None:
            holder.kill()
        done = _call(as_root("unshare", "--mount", *step("sweep")), {"cgroup": cgroup()})
        if done.returncode != 0:
            raise LabError(f"cgroups of the lab are left: {done.stderr.strip()}")
        for path in (self._ready, self._record):
            subprocess.run(as_root("rm", "-f", str(path)), check=True)


def _delegated() -> list[str]:
    """Where systemd rules the cgroups, the words that have it leave a part of them to us."""
    if not Path("/run/systemd/system").is_dir():
        return []
    return ["systemd-run", "--scope", "--quiet", "--collect", "--property=Delegate=yes"]
