# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard cleans up after a demo that was killed, and only then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo import guard
from tests.lab.state import Process

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A command that leads a session of its own."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        yield process
        process.kill()


class Watching:
    """A guard whose lab is a program that leaves a file."""

    def __init__(self, directory: Path) -> None:
        self.cleaned = directory / "cleaned"
        lab = (sys.executable, "-c", f"import sys; open({str(self.cleaned)!r}, 'w').write(' '.join(sys.argv[1:]))")
        code = f"from tests.demo import guard; guard.LAB = {lab!r}; raise SystemExit(guard.main())"
        self.process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, text=True)

    def hear(self, text: str) -> int:
        self.process.communicate(text)
        return self.process.returncode


@pytest.fixture
def watching(tmp_path: Path) -> Watching:
    return Watching(tmp_path)


def test_when_the_demo_is_gone_its_commands_and_machines_go_too(
    watching: Watching, sleeper: subprocess.Popen[bytes]
) -> None:
    assert watching.hear(f"begin {sleeper.pid}\n") == 0
    assert sleeper.wait() == -signal.SIGKILL
    assert watching.cleaned.read_text() == "down"


def test_a_command_that_has_ended_is_left_alone(watching: Watching, sleeper: subprocess.Popen[bytes]) -> None:
    assert watching.hear(f"begin {sleeper.pid}\nend {sleeper.pid}\n") == 0
    assert sleeper.poll() is None
    assert watching.cleaned.exists()


def test_a_demo_that_reports_it_has_cleaned_up_itself(watching: Watching, sleeper: subprocess.Popen[bytes]) -> None:
    assert watching.hear(f"begin {sleeper.pid}\nleave\n") == 0
    assert sleeper.poll() is None
    assert not watching.cleaned.exists()


def ignored(pid: int) -> int:
    """The signals that a process ignores, as a mask."""
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    return int(status.partition("SigIgn:")[2].split()[0], 16)


def test_neither_ctrl_c_nor_a_hangup_ends_it_before_it_has_cleaned_up(watching: Watching) -> None:
    deadly = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    while not all(ignored(watching.process.pid) >> (number - 1) & 1 for number in deadly):
        time.sleep(0.05)
    for number in deadly:
        os.kill(watching.process.pid, number)
    assert watching.hear("") == 0
    assert watching.cleaned.exists()


def test_a_pid_that_is_another_process_by_now_is_not_killed(sleeper: subprocess.Popen[bytes]) -> None:
    found = guard.listen([f"begin {sleeper.pid}\n"])
    assert found is not None
    assert [each.alive() for each in found] == [True]
    assert not Process(sleeper.pid, "another start").alive()


def test_a_command_that_ended_before_it_was_heard_of_is_nothing_to_clean_up() -> None:
    done = subprocess.Popen(["true"])
    done.wait()
    assert guard.listen([f"begin {done.pid}\n"]) == []


def test_the_demos_end_of_it(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    log = tmp_path / "log"
    each = guard.Guard(log)
    each.begin(sleeper.pid)
    each.end(sleeper.pid)
    each.leave()
    assert sleeper.poll() is None
    assert log.read_text() == ""
