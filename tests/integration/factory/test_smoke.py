# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac smoke run`` as root with a real schedd: what it leaves, and what one leaves that was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.chroot import OWNER, Pool

MACHINE = {"machine": "wn1.vac.test", "subnet": "192.168.86.0/24", "sharing": ["http", "nfs"]}
PATIENT = ("--start-timeout", "600")
HASTY = ("--start-timeout", "1")


@pytest.fixture
def directory(pool: Pool) -> Iterator[None]:
    """The access point has the factories' directory, one of a machinetype with a name like smoke's in it."""
    pool.run("mkdir", "-p", "/var/lib/condor_vac/smoke-test")
    yield
    pool.run("rm", "-r", "/var/lib/condor_vac/smoke-test")


def start(pool: Pool, *words: str) -> subprocess.Popen[str]:
    """A run, with its nodes read."""
    command = pool.inside("condor_vac", "smoke", "run", "-", "--owner", OWNER, *words)
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps([MACHINE]))
    process.stdin.close()
    process.stdin = None
    return process


def send(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """A signal to the command, which is nsenter's child."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("utf-8")
    os.kill(int(children.split()[0]), number)


def jobs(pool: Pool) -> list[str]:
    """Owner and machinetype of the smoke jobs in the queue."""
    constraint = 'regexp("^smoke-", VacMachinetype)'
    return pool.run("condor_q", "-allusers", "-constraint", constraint, "-af", "Owner").stdout.split()


def places(pool: Pool) -> str:
    """The directories of factories and runs."""
    return pool.run("ls", "/var/lib/condor_vac").stdout


def wait_for_jobs(pool: Pool, process: subprocess.Popen[str]) -> None:
    """Until all four are in the queue."""
    while len(jobs(pool)) < 4:
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)


@pytest.mark.usefixtures("directory")
def test_a_run_removes_first_what_one_left_that_was_killed(pool: Pool) -> None:
    process = start(pool, *PATIENT)
    wait_for_jobs(pool, process)
    send(process, signal.SIGKILL)
    process.communicate()
    assert jobs(pool) == [OWNER] * 4
    out, err = start(pool, *HASTY).communicate()
    assert out.count("the pool has no slot of wn1.vac.test") == 4, out + err
    assert "is left" not in err
    assert jobs(pool) == []
    assert places(pool) == "smoke-test\n"


@pytest.mark.usefixtures("directory")
def test_a_run_leaves_another_that_is_under_way_alone(pool: Pool) -> None:
    process = start(pool, *PATIENT)
    wait_for_jobs(pool, process)
    out, err = start(pool, *HASTY).communicate()
    assert "4 failed" in out, out + err
    assert len(jobs(pool)) == 4
    assert process.poll() is None
    send(process, signal.SIGTERM)
    _out, err = process.communicate()
    assert "stopped; its jobs and files are removed" in err
    assert jobs(pool) == []
    assert places(pool) == "smoke-test\n"
