# SPDX-License-Identifier: GPL-3.0-or-later
"""One running stage: a session of its own, whose output goes to a log and whose pytest runs leave their counts."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests import junit
from tests.run import processes
from tests.run.processes import Found
from tests.run.stages import Stage

ROOT = Path(__file__).resolve().parents[2]
# Wide enough that neither molecule nor pytest folds or cuts a line with the reason.
COLUMNS = "400"
LINE_WIDTH = 140
TAIL_LINES = 150


@dataclass(frozen=True)
class Place:
    """Where the stages of a run keep what they print and count, and the mark of the run's processes."""

    logs: Path
    run: str

    def log(self, name: str) -> Path:
        """A stage's output."""
        return self.logs / f"{name}.log"

    def counts(self, name: str) -> Path:
        """The directory of a stage's JUnit files."""
        return self.logs / f"{name}.junit"

    def tail(self, name: str) -> str:
        """The end of a log."""
        return "\n".join(self.log(name).read_text("utf-8", "replace").splitlines()[-TAIL_LINES:])

    def last_line(self, name: str) -> str:
        """The last line of the log that is not blank, cut; "" if there is none."""
        lines = [line.strip() for line in self.log(name).read_text("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1][:LINE_WIDTH] if lines else ""


class Running:
    """A stage's process. Raises OSError from its beginning if the command cannot be started."""

    def __init__(self, stage: Stage, place: Place) -> None:
        self.stage = stage
        self.place = place
        self.started = time.monotonic()
        shutil.rmtree(place.counts(stage.name), ignore_errors=True)
        place.counts(stage.name).mkdir(parents=True)
        marks = {processes.RUN: place.run, processes.STAGE: stage.name}
        with place.log(stage.name).open("wb") as output:
            self.process = subprocess.Popen(
                stage.argv,
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, **marks, "COLUMNS": COLUMNS, junit.DIRECTORY: str(place.counts(stage.name))},
            )

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.started

    def status(self) -> int | None:
        """The exit code; None while it runs."""
        return self.process.poll()

    def interrupt(self) -> None:
        """Ask it to end, as Ctrl-C does; molecule and the lab clean up after themselves."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)

    def kill(self) -> list[Found]:
        """End the stage and all that it started, wherever that is by now; returns those that were still alive."""
        killed = processes.kill(self._ours)
        self.process.wait()
        return killed

    def _ours(self, process: Found) -> bool:
        marked = (process.run, process.stage) == (self.place.run, self.stage.name)
        return marked or process.session == self.process.pid
