# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs every test of the project: two rows of stages beside each other, the first with the machine that most share.

``python -m tests.run_all [--all] [--only STAGE]``. An emulated machine has one processor, so that two are enough for
both. A stage's output goes to ``.cache/logs/STAGE.log``; its end is shown where the stage fails, and what it
complained of again at the very end. Exits 0 only if every stage passed.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / ".cache" / "logs"
TAIL_LINES = 150
PROGRESS_SECONDS = 60
COMPLAINTS = 3
COMPLAINT_WIDTH = 250
# What names a failure: pytest's and Ansible's own words for one, or else whatever speaks of an error.
_FAILURES = (re.compile(r"^(FAILED (?!- RETRYING)|stderr: |msg: )"), re.compile(r"^E  |[Ee]rror"))
_DECORATION = re.compile(r"^(\x1b\[[0-9;]*m|[\s│╭╰─])+|\x1b\[[0-9;]*m")
# Wide enough that neither molecule nor pytest folds or cuts a line that tells why.
COLUMNS = "400"
PYTEST = ("python", "-m", "pytest", "-q")


@dataclass(frozen=True)
class Stage:
    """One command whose exit code says whether the stage passed; it runs only if stage ``needs`` passed.

    One that is not for ``every_run`` takes so long that all together would take hours: it runs if it is asked for.
    Stages run one after another; those that are ``beside`` are a row of their own, at the same time.
    """

    name: str
    argv: tuple[str, ...]
    needs: str = ""
    every_run: bool = True
    beside: bool = False


def on_box(scenario: str, *steps: str, every_run: bool = True) -> Stage:
    """Steps of a molecule scenario (its tests) on the box that the scenario ``bare`` has converged."""
    return Stage(f"molecule-{scenario}", ("tests/on_box", scenario, *steps), needs="molecule-bare", every_run=every_run)


# What tells most in the least time comes first.
STAGES = (
    Stage("images", ("tests/images",)),
    Stage("molecule-bare", ("tests/molecule", "bare", "--destroy", "never"), needs="images"),
    on_box("modules"),
    on_box("bad_input"),
    on_box("drift"),
    on_box("hostile"),
    on_box("kinds", "prepare", "verify"),
    # Two machines, at a time when no VM runs on the box.
    Stage("molecule-default", ("tests/molecule", "default"), needs="images"),
    on_box("two_experiments", "converge", "verify", "cleanup", every_run=False),
    Stage("molecule-sid", ("tests/molecule", "sid"), needs="images", every_run=False),
    Stage("lint", ("tests/lint",), beside=True),
    Stage("unit", (*PYTEST, "tests/unit"), beside=True),
    Stage("scenarios", (*PYTEST, "tests/scenarios"), beside=True),
    Stage("artifact", ("tests/artifact",), beside=True),
    Stage("sanity", ("tests/sanity/run",), beside=True),
    # These wait for HTCondor more than they work.
    Stage("integration", (*PYTEST, "-n", "2", "--dist", "loadgroup", "tests/integration"), beside=True),
    # A machine of its own: on it nothing is left as it was.
    Stage("molecule-faults", ("tests/molecule", "faults"), needs="images", beside=True),
)


class Runner:
    """Runs stages and remembers how they ended; each has a process group, ended on interruption."""

    def __init__(self) -> None:
        self.results: dict[str, tuple[bool, float]] = {}
        self.ended: dict[str, threading.Event] = {}
        self.running: set[subprocess.Popen[bytes]] = set()
        self.stopping = False

    def run(self, wanted: list[Stage]) -> None:
        """The stages in their order; a failed one stops only those that need it."""
        self.results.update({stage.name: (True, 0.0) for stage in STAGES if stage not in wanted})
        self.ended.update({stage.name: threading.Event() for stage in wanted})
        rows = [[stage for stage in wanted if stage.beside is beside] for beside in (True, False)]
        with ThreadPoolExecutor(len(rows)) as pool:
            list(pool.map(self._run_row, rows))

    def _run_row(self, stages: list[Stage]) -> None:
        try:
            for stage in stages:
                if self._may_run(stage):
                    self._run(stage)
                self.ended[stage.name].set()
        finally:
            # Whatever became of this row, the other one waits for none of its stages.
            for stage in stages:
                self.ended[stage.name].set()

    def _may_run(self, stage: Stage) -> bool:
        """Whether what the stage needs, which comes before it or in the other row, passed or was not asked for."""
        if stage.needs in self.ended:
            self.ended[stage.needs].wait()
        if stage.needs and not self.results.get(stage.needs, (False, 0.0))[0]:
            _say(f"{stage.name}: not run, because {stage.needs} did not pass")
            return False
        return not self.stopping

    def _run(self, stage: Stage) -> None:
        log = LOGS / f"{stage.name}.log"
        started = time.monotonic()
        _say(f"{stage.name}: started ({' '.join(stage.argv)})")
        with log.open("wb") as output:
            process = subprocess.Popen(
                stage.argv,
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, "COLUMNS": COLUMNS},
            )
            self.running.add(process)
            if self.stopping:  # told to stop while this one was on its way
                _interrupt(process)
            while _wait(process) is None:
                _say(f"{stage.name}: running for {time.monotonic() - started:.0f} s: {_last_line(log)}")
        seconds = time.monotonic() - started
        self.running.discard(process)
        passed = process.returncode == 0
        self.results[stage.name] = (passed, seconds)
        _say(f"{stage.name}: {'passed' if passed else 'FAILED'} in {seconds:.0f} s: {_last_line(log)}")
        if not passed and not self.stopping:
            _show_end(stage.name)

    def stop(self, *_: object) -> None:
        """Ask the running stages to end; molecule and the lab clean up after themselves."""
        self.stopping = True
        for process in tuple(self.running):
            _interrupt(process)


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)


def _show_end(name: str) -> None:
    log = LOGS / f"{name}.log"
    tail = log.read_text("utf-8", "replace").splitlines()[-TAIL_LINES:]
    _say(f"{name}: the end of {log.relative_to(ROOT)}\n" + "\n".join(tail))


def _say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(PROGRESS_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _last_line(log: Path) -> str:
    """The last line that says something, for the progress line."""
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][:140] if lines else ""


def _complaints(log: Path) -> list[str]:
    """The last lines that tell of a failure, few and short: whoever sees only an output's end sees these."""
    lines = [_DECORATION.sub("", line) for line in log.read_text("utf-8", "replace").splitlines()]
    for pattern in _FAILURES:
        if said := [number for number, line in enumerate(lines) if pattern.search(line)]:
            # A message may be folded, and YAML begins a long one on the next line.
            return [" ".join(lines[number : number + 3])[:COMPLAINT_WIDTH] for number in said[-COMPLAINTS:]]
    return [_last_line(log)]


def summary(results: dict[str, tuple[bool, float]], wanted: list[Stage]) -> int:
    """Print the table of stages, why those that failed did, and return the exit code."""
    print("\nstage                result   seconds")
    for stage in wanted:
        passed, seconds = results.get(stage.name, (False, 0.0))
        print(f"{stage.name:20} {'passed' if passed else 'FAILED':8} {seconds:7.0f}")
    for stage in wanted:
        if stage.name in results and not results[stage.name][0]:
            print(f"\n{stage.name}:", *_complaints(LOGS / f"{stage.name}.log"), sep="\n  ")
    good = sum(1 for stage in wanted if results.get(stage.name, (False, 0.0))[0])
    print(f"stages: {good} passed, {len(wanted) - good} failed")
    return 0 if good == len(wanted) else 1


def main() -> int:
    """Run the stages that the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", metavar="STAGE", choices=[stage.name for stage in STAGES])
    parser.add_argument("--all", action="store_true", help="the stages that take long as well")
    args = parser.parse_args()
    wanted = [one for one in STAGES if (one.name in args.only if args.only else one.every_run or args.all)]
    LOGS.mkdir(parents=True, exist_ok=True)
    runner = Runner()
    signal.signal(signal.SIGINT, runner.stop)
    signal.signal(signal.SIGTERM, runner.stop)
    lab_down = (sys.executable, "-m", "tests.lab", "down")
    # Machines of an earlier run would take the processors.
    subprocess.run(lab_down, cwd=ROOT, check=True)
    try:
        runner.run(wanted)
    finally:
        subprocess.run(lab_down, cwd=ROOT, check=False)
    return summary(runner.results, wanted)


if __name__ == "__main__":
    sys.exit(main())
