# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of the demo: side by side, with progress, and none left when one fails."""

from __future__ import annotations

import io
import os
import re
import sys
import time
from pathlib import Path
from typing import cast

import pytest

from tests.demo import steps as module
from tests.demo.guard import Guard
from tests.demo.screen import Screen
from tests.demo.steps import Command, StepError, Steps, ansible_task

SLEEP = "import time; time.sleep(600)"


class Told:
    """What a guard would have heard."""

    def __init__(self) -> None:
        self.running: set[int] = set()

    def begin(self, pid: int) -> None:
        self.running.add(pid)

    def end(self, pid: int) -> None:
        self.running.remove(pid)


class Bench:
    def __init__(self, directory: Path) -> None:
        self.stream = io.StringIO()
        self.recorded = Told()
        self.log = directory / "log"
        self.steps = Steps(Screen(self.stream, terminal=False), cast(Guard, self.recorded), self.log)

    @property
    def text(self) -> str:
        return self.stream.getvalue()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def python(code: str) -> Command:
    return Command((sys.executable, "-c", code))


def is_gone(pid: int) -> bool:
    """Whether there is no such process, or only its exit code is left of it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in {"Z", "X"}


def test_commands_run_side_by_side_and_all_their_output_is_saved(bench: Bench, tmp_path: Path) -> None:
    wait = (
        "import os, sys, time\n"
        "mine, other = sys.argv[1:]\n"
        "open(mine, 'w')\n"
        "while not os.path.exists(other): time.sleep(0.05)\n"
        "print('met', flush=True); print('bad', file=sys.stderr)"
    )
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    bench.steps.run("Both", Command((sys.executable, "-c", wait, a, b)), Command((sys.executable, "-c", wait, b, a)))
    assert sorted(bench.log.read_text().splitlines()) == ["bad", "bad", "met", "met"]
    assert re.search(r"^\[ *0 s\] Both$", bench.text, re.MULTILINE)
    assert "$ python -c" in bench.text
    assert bench.recorded.running == set()


def test_a_command_that_fails_shows_the_end_of_its_output_and_ends_the_others(bench: Bench, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    grandchild = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}])\n"
        f"open({str(pid)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(600)"
    )
    fails = (
        "import os, time\n"
        "for number in range(100): print('line', number)\n"
        f"while not os.path.exists({str(pid)!r}) or not open({str(pid)!r}).read(): time.sleep(0.05)\n"
        "raise SystemExit(7)"
    )
    with pytest.raises(StepError) as caught:
        bench.steps.run("Both", python(grandchild), python(fails))
    assert "ended with 7" in str(caught.value)
    assert "line 99" in str(caught.value)
    assert "line 10\n" not in str(caught.value)
    assert "line 10\n" in bench.log.read_text()
    while not is_gone(int(pid.read_text())):
        time.sleep(0.05)
    assert bench.recorded.running == set()


@pytest.mark.slow
def test_a_command_of_which_nothing_comes_is_ended(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Patience", type("Never", (), {"take": lambda self, seen: False}))
    with pytest.raises(StepError, match="no news for too long"):
        bench.steps.run("Hangs", python(SLEEP))
    assert bench.recorded.running == set()


@pytest.mark.slow
def test_what_a_command_leaves_running_is_not_waited_for(bench: Bench, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    leaves = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True)\n"
        f"open({str(pid)!r}, 'w').write(str(child.pid))\n"
        "print('left it running')"
    )
    try:
        bench.steps.run("Leaves", python(leaves))
        assert not is_gone(int(pid.read_text()))
    finally:
        os.kill(int(pid.read_text()), 9)


@pytest.mark.slow
def test_progress_is_what_the_command_reports(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks: list[list[str]] = []
    monkeypatch.setattr(bench.steps._screen, "show", lambda block, brief: blocks.append(list(block)))
    words = ("TASK [one : A] ***", "ok: [head]", "TASK [B] *")
    code = f"import time\nfor word in {words}: print(word, flush=True)\ntime.sleep(1)"
    bench.steps.run("Play", Command((sys.executable, "-c", code), ansible_task))
    shown = [re.sub(r"^\[ *\d+ s\] *", "", line) for block in blocks for line in block]
    assert set(shown) == {"1: one : A", "2: B"}


@pytest.mark.parametrize(
    ("line", "task"),
    [
        ("TASK [vacuum.htcondor.pool : Install HTCondor] *****\n", "vacuum.htcondor.pool : Install HTCondor"),
        ("TASK [Copy the queue] ***\n", "Copy the queue"),
        ("ok: [head]\n", None),
        ("PLAY [Worker nodes] ***\n", None),
        ("\n", None),
    ],
)
def test_ansible_names_its_tasks(line: str, task: str | None) -> None:
    assert ansible_task(line) == task
