# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo asks of the pool's head over SSH: the experiments' queues, the factories, HTCondor's records."""

from __future__ import annotations

import json
import queue
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tests.experiment import taskqueue
from tests.lab import ssh, state

from .sample import Experiment

KEYS = (
    "ClusterId", "ProcId", "JobStatus", "QDate", "JobStartDate", "CompletionDate", "LastRemoteHost", "VacMachinetype",
    "ShutdownCode", "ShutdownMessage", "VacKind", "VacRuntime", "VacStarted", "VacEnded",
)  # fmt: skip
VMS = "'JobUniverse == 13 && isString(VacMachinetype)'"
COMPLETED = 4
# The site's factory_page_directory.
PAGE = "/var/www/vacuum"
QUEUE_PORT = 8080
# So long a pause between two looks is shown.
TICK_SECONDS = 1.0

Record = Mapping[str, Any]
Look = Mapping[str, Experiment]


class PoolError(Exception):
    """The pool does not answer; the message is one line with the reason."""


class Pool:
    """The pool behind a machine of the lab, its access point and central manager; complaints go to the file ``log``.

    ``trouble`` is why a task queue did not answer when it was last asked ('' if it did).
    """

    def __init__(self, head: str, log: Path) -> None:
        self._head = head
        self._log = log
        self._tasks: dict[str, Mapping[str, Any]] = {}
        self._queues = ""
        self.trouble = ""

    @contextmanager
    def looks(self, names: Sequence[str], seconds: int) -> Iterator[Iterator[Look | None]]:
        """Looks at the experiments, every so many seconds; None each second in which there is none.

        While it lasts, `end_work` can be called. The iterator raises PoolError if the status ends.
        """
        port = _free_port()
        self._queues = f"http://127.0.0.1:{port}"
        forward = ("-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{port}:127.0.0.1:{QUEUE_PORT}")
        argv = self._command(f"exec condor_vac status --json --watch {seconds}", forward)
        with (
            self._log.open("a") as log,
            subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            ) as process,
        ):
            try:
                yield self._looks(process, names)
            finally:
                process.kill()

    def end_work(self, names: Sequence[str]) -> bool:
        """Let no task be followed by another one any more; whether all queues have heard it."""
        return all([self._ask(name, taskqueue.end_series) for name in names])

    def records(self) -> list[Record]:
        """HTCondor's own records (KEYS) of the VMs that ended, oldest first. Raises PoolError."""
        found: dict[tuple[int, int], Record] = {}
        for tool in ("condor_history", "condor_q -allusers"):
            text = self._run(f"{tool} -constraint {VMS} -json -attributes {','.join(KEYS)}").strip()
            for ad in json.loads(text) if text else []:
                if ad.get("JobStatus") == COMPLETED:
                    found[ad["ClusterId"], ad["ProcId"]] = ad
        return sorted(found.values(), key=lambda ad: int(ad.get("CompletionDate", 0)))

    def page(self) -> str:
        """The page of the access point, as it is now. Raises PoolError."""
        return self._run(f"condor_vac page {PAGE} && cat {PAGE}/index.html")

    def _looks(self, process: subprocess.Popen[str], names: Sequence[str]) -> Iterator[Look | None]:
        assert process.stdout is not None
        for line in lines(process.stdout, TICK_SECONDS):
            if line is None:
                yield None
                continue
            factories = json.loads(line)["machinetypes"]
            for name in names:
                self._ask(name, self._remember)
            if len(self._tasks) == len(names):
                yield {name: Experiment.of(self._tasks[name], factories.get(name, {})) for name in names}
        raise PoolError(f"the status of the factories ended with {process.wait()}")

    def _ask(self, name: str, action: Callable[[str], None]) -> bool:
        """Do something with the address of an experiment's queue; whether it answered (it may be slow)."""
        url = f"{self._queues}/{name}"
        try:
            action(url)
        except (OSError, ValueError) as error:
            self.trouble = f"the task queue of {name} does not answer: {error}"
            return False
        self.trouble = ""
        return True

    def _remember(self, url: str) -> None:
        self._tasks[url.rpartition("/")[2]] = taskqueue.status(url)

    def _command(self, script: str, options: Sequence[str] = ()) -> list[str]:
        return ssh.command(state.require(self._head), script, options=options)

    def _run(self, script: str) -> str:
        done = subprocess.run(self._command(script), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise PoolError(f"{script!r} on {self._head} failed: {(done.stderr or done.stdout).strip()[-300:]}")
        return done.stdout


def lines(stream: IO[str], seconds: float) -> Iterator[str | None]:
    """The lines of a stream until it ends; None whenever there was none for so many seconds."""
    found: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in stream:
            found.put(line)
        found.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = found.get(timeout=seconds)
        except queue.Empty:
            yield None
            continue
        if line is None:
            return
        yield line


def _free_port() -> int:
    """A loopback port that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
