# SPDX-License-Identifier: GPL-3.0-or-later
"""Stages of ``make test``: which run, in what order, beside which, and what their end means."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests import run_all
from tests.run_all import Runner, Stage


@pytest.fixture(autouse=True)
def _logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_all, "LOGS", tmp_path)
    monkeypatch.setattr(run_all, "ROOT", tmp_path)


def stage(name: str, code: str = "", *, beside: bool = False, needs: str = "") -> Stage:
    return Stage(name, (sys.executable, "-c", code), needs=needs, beside=beside)


def results(*stages: Stage) -> dict[str, bool]:
    runner = Runner()
    runner.run(list(stages))
    return {name: passed for name, (passed, _) in runner.results.items() if name in {one.name for one in stages}}


def waits_for(path: Path, makes: Path) -> str:
    """A stage that ends well only if another one runs at the same time."""
    return (
        "import os, time\n"
        f"open({str(makes)!r}, 'w')\n"
        "for _ in range(600):\n"
        f"    if os.path.exists({str(path)!r}): break\n"
        "    time.sleep(0.1)\n"
        "else: raise SystemExit('alone')\n"
    )


def test_what_is_beside_runs_at_the_same_time(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    assert results(stage("lab", waits_for(one, other)), stage("unit", waits_for(other, one), beside=True)) == {
        "lab": True,
        "unit": True,
    }


def test_stages_of_a_row_run_one_after_another(tmp_path: Path) -> None:
    exclusive = (
        f"import os, time; os.mkdir({str(tmp_path / 'busy')!r}); time.sleep(0.3); os.rmdir({str(tmp_path / 'busy')!r})"
    )
    assert results(*(stage(name, exclusive) for name in "abc")) == {"a": True, "b": True, "c": True}


def test_a_failed_stage_stops_only_what_needs_it(capsys: pytest.CaptureFixture[str]) -> None:
    failing = "raise SystemExit('msg: no disk')"
    stages = (
        stage("image", failing),
        stage("lab", needs="image"),
        stage("more", needs="lab"),
        stage("sid"),
        stage("lint", beside=True),
    )
    runner = Runner()
    runner.run(list(stages))
    assert {name: runner.results[name][0] for name in ("image", "sid", "lint")} == {
        "image": False,
        "sid": True,
        "lint": True,
    }
    assert not {"lab", "more"} & set(runner.results)
    assert run_all.summary(runner.results, list(stages)) == 1
    printed = capsys.readouterr().out
    assert "lab: not run, because image did not pass" in printed
    assert "image:\n  msg: no disk" in printed
    assert printed.endswith("stages: 2 passed, 3 failed\n")


def test_a_stage_waits_for_what_it_needs_of_the_other_row(tmp_path: Path) -> None:
    made = tmp_path / "image"
    slow = f"import time; time.sleep(0.5); open({str(made)!r}, 'w')"
    assert results(stage("image", slow), stage("pool", f"open({str(made)!r})", beside=True, needs="image")) == {
        "image": True,
        "pool": True,
    }


def test_a_row_that_breaks_off_does_not_keep_the_other_one_waiting() -> None:
    runner = Runner()
    with pytest.raises(FileNotFoundError):
        runner.run([Stage("image", ("/nowhere/program",)), stage("pool", beside=True, needs="image")])
    assert "pool" not in runner.results


def test_an_interruption_ends_all_that_runs_and_starts_nothing_more(tmp_path: Path) -> None:
    marks = [tmp_path / name for name in ("first", "second")]
    sleeps = [f"import time; open({str(mark)!r}, 'w'); time.sleep(600)" for mark in marks]
    runner = Runner()
    stages = [
        stage("lab", sleeps[0]),
        stage("unit", sleeps[1], beside=True),
        stage("later"),
        stage("last", beside=True),
    ]

    def interrupt() -> None:
        while not all(mark.exists() for mark in marks):
            time.sleep(0.05)
        runner.stop(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    runner.run(stages)
    thread.join()
    assert {
        name: passed for name, (passed, _) in runner.results.items() if name in {"lab", "unit", "later", "last"}
    } == {
        "lab": False,
        "unit": False,
    }


def test_a_stage_that_starts_just_as_all_is_interrupted_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = Runner()
    start = subprocess.Popen

    def interrupted(*arguments: Any, **options: Any) -> Any:
        runner.stop(signal.SIGINT)
        return start(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    runner.run([stage("lab", "import time; time.sleep(600)")])
    assert runner.results["lab"][0] is False
