# SPDX-License-Identifier: GPL-3.0-or-later
"""How a factory waits for its next cycle: a stop in between is no signal to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[4] / "src"
WAIT = f"""
import signal, sys
sys.path.insert(0, {str(SOURCE)!r})
from condor_vac.factory import process
signal.pthread_sigmask(signal.SIG_BLOCK, process._SIGNALS)
print("waits", flush=True)
print(process._sleep(float(sys.argv[1])))
"""


def start(seconds: float) -> subprocess.Popen[str]:
    """A process that waits as a factory does, and prints what ended it."""
    process = subprocess.Popen([sys.executable, "-c", WAIT, str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "waits\n"
    return process


def state_of(pid: int) -> str:
    """The kernel's letter of a process's state: S while it waits."""
    return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]


@pytest.mark.slow
def test_a_factory_that_was_stopped_beyond_its_time_goes_on() -> None:
    waiting = start(1.0)
    while state_of(waiting.pid) != "S":
        time.sleep(0.01)
    os.kill(waiting.pid, signal.SIGSTOP)
    time.sleep(1.5)
    os.kill(waiting.pid, signal.SIGCONT)
    assert waiting.communicate()[0] == "None\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT])
def test_a_signal_ends_the_wait(number: signal.Signals) -> None:
    waiting = start(600)
    os.kill(waiting.pid, number)
    assert waiting.communicate()[0] == f"{number.value}\n"


def test_without_a_signal_the_time_ends_it() -> None:
    assert start(0.01).communicate()[0] == "None\n"
