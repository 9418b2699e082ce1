# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs every test of the project in two lanes, one for the virtual machines and one for the rest.

``python -m tests.run_all [--only STAGE]``. A stage's output goes to ``.cache/logs/STAGE.log``;
its end is shown where the stage fails. Exits 0 only if every stage passed.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / ".cache" / "logs"
TAIL_LINES = 150
PROGRESS_SECONDS = 60
NICE = 10


@dataclass(frozen=True)
class Stage:
    """One command whose exit code says whether the stage passed."""

    name: str
    argv: tuple[str, ...]
    lane: str


STAGES = (
    Stage("images", ("tests/images",), "machines"),
    Stage("molecule-default", ("molecule", "test", "-s", "default"), "machines"),
    Stage("artifact", ("tests/artifact",), "machines"),
    Stage("molecule-bare", ("molecule", "test", "-s", "bare"), "machines"),
    Stage("lint", ("tests/lint",), "plain"),
    Stage("unit", ("python", "-m", "pytest", "-q", "tests/unit"), "plain"),
    Stage(
        "integration", ("python", "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", "tests/integration"), "plain"
    ),
    Stage("scenarios", ("python", "-m", "pytest", "-q", "tests/scenarios"), "plain"),
    Stage("sanity", ("tests/sanity/run",), "plain"),
)


class Runner:
    """Runs stages and remembers how they ended; each has a process group, ended on interruption."""

    def __init__(self) -> None:
        self.results: dict[str, tuple[bool, float]] = {}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.stopping = False
        self.lock = threading.Lock()

    def say(self, text: str) -> None:
        """One line at a time, whichever lane it comes from."""
        with self.lock:
            print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)

    def run_lane(self, stages: list[Stage]) -> None:
        """The stages one after another; a failed one does not stop the others."""
        for stage in stages:
            if not self.stopping:
                self.run_stage(stage)

    def run_stage(self, stage: Stage) -> None:
        """Run one stage to its end and report it."""
        log = LOGS / f"{stage.name}.log"
        started = time.monotonic()
        self.say(f"{stage.name}: started ({' '.join(stage.argv)})")
        with log.open("wb") as output:
            process = subprocess.Popen(
                stage.argv,
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            if stage.lane == "plain":
                yield_to_machines(process.pid)
            self.running[stage.name] = process
            while self._wait(process) is None:
                self.say(f"{stage.name}: running for {time.monotonic() - started:.0f} s: {_last_line(log)}")
        del self.running[stage.name]
        seconds = time.monotonic() - started
        passed = process.returncode == 0
        self.results[stage.name] = (passed, seconds)
        self.say(f"{stage.name}: {'passed' if passed else 'FAILED'} in {seconds:.0f} s: {_last_line(log)}")
        if not passed and not self.stopping:
            tail = log.read_text("utf-8", "replace").splitlines()[-TAIL_LINES:]
            self.say(f"{stage.name}: the end of {log.relative_to(ROOT)}\n" + "\n".join(tail))

    @staticmethod
    def _wait(process: subprocess.Popen[bytes]) -> int | None:
        try:
            return process.wait(PROGRESS_SECONDS)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, *_: object) -> None:
        """Ask every running stage to end; molecule and the lab clean up after themselves."""
        self.stopping = True
        for process in list(self.running.values()):
            os.killpg(process.pid, signal.SIGINT)


def yield_to_machines(pid: int) -> None:
    """Give a process and its children little of a busy processor: emulated machines that starve time out."""
    os.setpriority(os.PRIO_PROCESS, pid, NICE)
    # Where the kernel groups processes by session, niceness counts within a group only (sched(7), autogroup).
    group = Path(f"/proc/{pid}/autogroup")
    if group.exists():
        group.write_text(f"{NICE}\n")


def _last_line(log: Path) -> str:
    """The last line that says something, for the progress line."""
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][:140] if lines else ""


def summary(results: dict[str, tuple[bool, float]], wanted: list[Stage]) -> int:
    """Print the table of stages and return the exit code."""
    print("\nstage                result   seconds")
    for stage in wanted:
        passed, seconds = results.get(stage.name, (False, 0.0))
        print(f"{stage.name:20} {'passed' if passed else 'FAILED':8} {seconds:7.0f}")
    good = sum(1 for passed, _ in results.values() if passed)
    print(f"stages: {good} passed, {len(wanted) - good} failed")
    return 0 if good == len(wanted) else 1


def main() -> int:
    """Run the stages that the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", metavar="STAGE", choices=[stage.name for stage in STAGES])
    args = parser.parse_args()
    wanted = [stage for stage in STAGES if not args.only or stage.name in args.only]
    LOGS.mkdir(parents=True, exist_ok=True)
    runner = Runner()
    signal.signal(signal.SIGINT, runner.stop)
    signal.signal(signal.SIGTERM, runner.stop)
    lanes = [
        threading.Thread(target=runner.run_lane, args=([s for s in wanted if s.lane == lane],))
        for lane in ("machines", "plain")
    ]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        while lane.is_alive():
            lane.join(0.5)
    return summary(runner.results, wanted)


if __name__ == "__main__":
    sys.exit(main())
