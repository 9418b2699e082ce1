# SPDX-License-Identifier: GPL-3.0-or-later
"""What HTCondor itself writes of a job that starts twice, and of jobs that are removed while they run or wait."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from condor_vac.base.shared import JobStatus
from condor_vac.model import accounting
from condor_vac.model.accounting import Use
from tests.integration import chroot
from tests.integration.chroot import OWNER, Pool

NODE = f"""
DAEMON_LIST = MASTER COLLECTOR NEGOTIATOR SCHEDD STARTD
NUM_CPUS = 3
MEMORY = 3000
START = True
PREEMPT = False
RunBenchmarks = False
NEGOTIATOR_INTERVAL = 2
NEGOTIATOR_MIN_INTERVAL = 2
NEGOTIATOR_CYCLE_DELAY = 2
{accounting.NODE_HEPSCORE23} = 12.5
STARTD_ATTRS = $(STARTD_ATTRS) {accounting.NODE_HEPSCORE23}
"""
JOB = f"""
universe = vanilla
executable = /bin/sh
arguments = "-c 'until test -e /pool/vac/end; do sleep 0.3; done'"
transfer_executable = false
should_transfer_files = no
initialdir = /tmp
job_machine_attrs = {accounting.NODE_HEPSCORE23},{accounting.NODE_HS06}
+VacMachinetype = "$(name)"
queue name in (twice ran waited)
"""
SECONDS = 120


@pytest.fixture(scope="module", params=["trixie", "sid"])
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    """A pool with a worker node whose benchmark is known."""
    reason = chroot.missing()
    if reason is not None:
        pytest.skip(reason)
    with Pool(request.param, NODE) as running:
        yield running


def of(pool: Pool, name: str, program: str = "condor_q") -> list[dict[str, Any]]:
    """The job's ad, in the queue or in the history."""
    words = ("-allusers",) if program == "condor_q" else ()
    done = pool.run(program, *words, "-constraint", f'VacMachinetype == "{name}"', "-json")
    return list(json.loads(done.stdout or "[]"))


def wait(what: Callable[[], bool], words: str) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < deadline, f"not in {SECONDS} s: {words}"
        time.sleep(0.3)


def wait_for(pool: Pool, name: str, status: int, starts: int = 1) -> str:
    """Wait until the job has this state and so many starts; its cluster and process."""
    wait(
        lambda: [(ad["JobStatus"], ad.get("NumShadowStarts")) for ad in of(pool, name)] == [(status, starts)],
        f"{name} in state {status}",
    )
    (ad,) = of(pool, name)
    return f"{ad['ClusterId']}.{ad['ProcId']}"


def ended(pool: Pool, name: str) -> tuple[dict[str, Any], Use]:
    """The job's ad in the history, and what is counted of it."""
    wait(lambda: len(of(pool, name, "condor_history")) == 1, f"{name} in the history")
    (ad,) = of(pool, name, "condor_history")
    found = accounting.use(ad, time.time())
    assert found is not None
    return ad, found


def test_the_last_start_counts_and_those_before_are_apart(pool: Pool) -> None:
    (pool.local / "vac/job").write_text(JOB)
    pool.run("condor_submit", "/pool/vac/job", user=OWNER)
    jobs = {name: wait_for(pool, name, JobStatus.RUNNING) for name in ("twice", "ran", "waited")}
    time.sleep(3)
    pool.run("condor_qedit", jobs["waited"], "Requirements", "false")
    for name in ("twice", "waited"):
        pool.run("condor_vacate_job", "-fast", jobs[name])
    pool.run("condor_rm", jobs["ran"])
    wait_for(pool, "waited", JobStatus.IDLE)
    wait_for(pool, "twice", JobStatus.RUNNING, starts=2)
    time.sleep(2)
    pool.run("condor_rm", jobs["waited"])
    (pool.local / "vac/end").touch()

    ad, twice = ended(pool, "twice")
    assert (twice.vms, twice.processors, twice.ended) == (1, 1, ad["CompletionDate"])
    assert twice.earlier_seconds >= 3
    assert twice.wall_seconds + twice.earlier_seconds == int(ad["RemoteWallClockTime"])
    ad, ran = ended(pool, "ran")
    assert (ran.vms, ran.earlier_seconds, ran.ended) == (1, 0, ad["EnteredCurrentStatus"])
    assert ran.wall_seconds >= 3
    ad, waited = ended(pool, "waited")
    assert (waited.vms, waited.wall_seconds, waited.cpu_seconds) == (0, 0, 0)
    assert waited.earlier_seconds == int(ad["RemoteWallClockTime"]) >= 3
    assert {(each.benchmark, each.per_processor) for each in (twice, ran, waited)} == {("HEPscore23", 12.5)}
