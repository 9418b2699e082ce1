# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo asks of its machine over SSH, as data."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.lab import network, ssh, state, taskqueue

ROOT = Path(__file__).resolve().parent.parent.parent
LAB = (sys.executable, "-m", "tests.lab")
HISTORY_KEYS = (
    "ClusterId,ProcId,JobStatus,CompletionDate,LastRemoteHost,"
    "VacMachinetype,ShutdownCode,ShutdownMessage,VacKind,VacRuntime"
)
COMPLETED = 4
QUEUE_PORT = 8080
# A look that takes longer does not come any more.
SILENCE_SECONDS = 180
LOOK_AROUND = "look around with KEEP=1 make demo"


class DemoError(Exception):
    """The demo cannot go on; the message is one line that says why."""


class Node:
    """The demo's machine, which is the whole pool."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, script: str) -> str:
        """Standard output of a shell script on the machine. Raises DemoError if it fails."""
        argv = [*LAB, "ssh", self.name, script]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=180)
        if done.returncode != 0:
            raise DemoError(f"{script!r} on {self.name} failed: {(done.stderr or done.stdout).strip()[-300:]}")
        return done.stdout

    def watch(self, names: Sequence[str], seconds: int) -> Iterator[dict[str, dict[str, Any]]]:
        """Every so many seconds, machinetype → {factory, tasks}: its factory's status and its experiment's queue.

        One login and one program for all looks: each of them is seconds of an emulated processor.
        """
        port = network.free_port()
        forward = ("-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{port}:127.0.0.1:{QUEUE_PORT}")
        script = f"exec condor_vac status --json --watch {seconds}"
        argv = ssh.command(state.require(self.name), script, options=forward)
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
            try:
                for line in _lines(process):
                    factories = json.loads(line)["machinetypes"]
                    yield {name: {"factory": factories.get(name, {}), "tasks": _tasks(port, name)} for name in names}
            finally:
                process.terminate()

    def ended(self) -> list[dict[str, Any]]:
        """The ads (HISTORY_KEYS) of the VMs that ended, oldest first, from HTCondor's queue and history."""
        constraint = "'JobUniverse == 13 && isString(VacMachinetype)'"
        found: dict[tuple[int, int], dict[str, Any]] = {}
        for tool in ("condor_history", "condor_q -allusers"):
            text = self.run(f"{tool} -constraint {constraint} -json -attributes {HISTORY_KEYS}").strip()
            for ad in json.loads(text) if text else []:
                if ad.get("JobStatus") == COMPLETED:
                    found[ad["ClusterId"], ad["ProcId"]] = ad
        return sorted(found.values(), key=lambda ad: int(ad.get("CompletionDate", 0)))


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """The lines of a program that does not end by itself. Raises DemoError if it does, or falls silent."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in process.stdout or ():
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=SILENCE_SECONDS)
        except queue.Empty:
            raise DemoError(f"no status from the machine for {SILENCE_SECONDS} s; {LOOK_AROUND}") from None
        if line is None:
            raise DemoError(f"the status of the machine ended with {process.wait()}; {LOOK_AROUND}")
        yield line


def _tasks(port: int, name: str) -> dict[str, Any]:
    """The counters of an experiment's queue. Raises DemoError."""
    try:
        return taskqueue.status(f"http://127.0.0.1:{port}/{name}")
    except (OSError, ValueError) as error:
        raise DemoError(f"the queue of {name} does not answer: {error}") from error
