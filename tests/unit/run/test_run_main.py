# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m tests.run`` as a process: its words, its exit codes, and what is left when it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.run import __main__ as main
from tests.run import processes
from tests.run.running import ROOT
from tests.run.stages import CHECK, TEST, Stage

WAIT_SECONDS = 120
# Runs the stages of argv as a set of its own, whose name no other run has.
DRIVER = """
import json, pathlib, sys
from tests.run import __main__ as main
from tests.run.stages import Stage
name, cache, stages = json.loads(sys.argv[1])
main.CACHE = pathlib.Path(cache)
sys.exit(main.run([Stage(name, (sys.executable, "-c", code)) for name, code in stages.items()], name, 2))
"""


class Run:
    """A runner in a process of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.name = f"self-{os.getpid()}-{directory.name}"
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, stages: dict[str, str]) -> subprocess.Popen[bytes]:
        order = json.dumps([self.name, str(self.directory), stages])
        argv = [sys.executable, "-c", DRIVER, order]
        with self.output().open("wb") as output:
            process = subprocess.Popen(argv, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        self.started.append(process)
        return process

    def output(self) -> Path:
        return self.directory / "output"

    def run(self, stages: dict[str, str]) -> tuple[int, str]:
        """Exit code and output of a run to its end."""
        return self.end(self.start(stages))

    def end(self, process: subprocess.Popen[bytes]) -> tuple[int, str]:
        return process.wait(), self.output().read_text()

    def left(self) -> list[str]:
        mark = f"{ROOT}:{self.name}:"
        return [process.name for process in processes.find(lambda process: process.run.startswith(mark))]

    def sleeps(self, name: str) -> str:
        return f"import time; open({str(self.directory / name)!r}, 'w').close(); time.sleep(600)"

    def wait_for(self, *names: str) -> None:
        self.until(lambda: all((self.directory / name).exists() for name in names))

    def until(self, true: Any) -> None:
        end = time.monotonic() + WAIT_SECONDS
        while not true():
            assert time.monotonic() < end
            time.sleep(0.02)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Run]:
    made = Run(tmp_path)
    yield made
    for process in made.started:
        process.kill()
        process.wait()
    processes.end_run(f"{ROOT}:{made.name}:", 0)


def test_good_stages_give_zero_and_the_closing_line(runner: Run) -> None:
    code, printed = runner.run({"one": "print('fine')", "two": ""})
    assert code == 0, printed
    assert printed.endswith("\n2 passed, 0 failed, 0 skipped\n")
    assert json.loads((runner.directory / f"{runner.name}-seconds.json").read_text()).keys() == {"one", "two"}


@pytest.mark.slow
def test_a_failed_stage_gives_one(runner: Run) -> None:
    code, printed = runner.run({"one": "raise SystemExit('msg: no disk')", "two": ""})
    assert code == 1
    assert "one:\n  msg: no disk" in printed
    assert printed.endswith("\n1 passed, 1 failed, 0 skipped\n")


@pytest.mark.slow
def test_the_second_run_shows_the_change(runner: Run) -> None:
    first, second = (runner.run({"one": ""})[1] for _ in range(2))
    assert [line.split()[6:] for line in first.splitlines() if line.startswith("one ")] == [[]]
    assert [len(line.split()[6:]) for line in second.splitlines() if line.startswith("one ")] == [1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.slow
def test_an_interruption_gives_130_and_leaves_nothing(runner: Run, number: signal.Signals) -> None:
    process = runner.start({"one": runner.sleeps("up"), "two": runner.sleeps("too")})
    runner.wait_for("up", "too")
    process.send_signal(number)
    code, printed = runner.end(process)
    assert code == 130, printed
    assert runner.left() == []


@pytest.mark.slow
def test_a_killed_runner_leaves_nothing_and_the_next_run_works(runner: Run) -> None:
    process = runner.start({"one": runner.sleeps("up"), "two": runner.sleeps("too")})
    runner.wait_for("up", "too")
    assert runner.left() != []
    process.kill()
    process.wait()
    runner.until(lambda: runner.left() == [])
    # The guard of the killed run gives its lock back when it is done.
    runner.until(lambda: "another run is under way" not in runner.run({})[1])
    code, printed = runner.run({"one": ""})
    assert code == 0, printed


@pytest.mark.slow
def test_a_daemon_that_a_stage_left_is_ended_and_named(runner: Run) -> None:
    leave = (
        "import os, subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {runner.sleeps('up')!r}], start_new_session=True)\n"
        f"while not os.path.exists({str(runner.directory / 'up')!r}): time.sleep(0.02)\n"
    )
    code, printed = runner.run({"one": leave})
    assert code == 0, printed
    assert runner.left() == []
    assert "ended what was left of this run: python" in printed


@pytest.mark.slow
def test_two_runs_do_not_meet(runner: Run) -> None:
    first = runner.start({"one": runner.sleeps("up")})
    runner.wait_for("up")
    code, printed = runner.run({"one": ""})
    assert code != 0
    assert "another run is under way" in printed
    assert first.poll() is None


def test_an_unknown_stage_is_refused_with_those_there_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["tests.run", "--only", "nonsense"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 2
    assert "'unit'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ((), {stage.name for stage in TEST if stage.every_run}),
        (("--all",), {stage.name for stage in TEST}),
        (("--only", "unit", "--only", "lint"), {"unit", "lint"}),
        (("--check",), {stage.name for stage in CHECK}),
    ],
)
def test_the_list_has_what_would_run(
    words: tuple[str, ...], wanted: set[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["tests.run", "--list", *words])
    assert main.main() == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]} == wanted


@pytest.mark.parametrize("stages", [TEST, CHECK])
def test_the_tables_name_each_stage_once_and_needs_come_first(stages: tuple[Stage, ...]) -> None:
    known: set[str] = set()
    for stage in stages:
        assert stage.name not in known
        assert set(stage.needs) <= known, stage.name
        assert stage.weight > 0
        assert stage.limit > 0
        program = stage.argv[0]
        assert "/" not in program or os.access(ROOT / program, os.X_OK), program
        known.add(stage.name)
