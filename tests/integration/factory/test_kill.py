# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 of factory and schedd at random moments, and two factories at once: no VM twice, none lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.factory.site import Site, job_id, wait_until

KILLS = 50
SCHEDD_KILLS = 5


def python_of(process: subprocess.Popen[str]) -> int | None:
    """The host's process id of the factory itself, below nsenter; None if it has ended or not begun."""
    pid = process.pid
    while True:
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            return None
        # nsenter itself has the name of its parent, this process, for a moment after it was started.
        if name in {"vac_factory", "python3"} and pid != process.pid:
            return pid
        if not children:
            return None
        pid = int(children[0])


def stamp(site: Site) -> int:
    """Which state file it is: a new one replaces the old one."""
    path = site.states / "state.json"
    return path.stat().st_ino if path.exists() else 0


def check_batches(site: Site) -> None:
    """Each batch is one cluster, and has each of its jobs once, in the queue or in the history."""
    mine = f'VacMachinetype =?= "{site.name}"'
    words = ("-af", "VacBatch", "ClusterId", "ProcId", "-constraint", mine)
    queue = site.pool.run("condor_q", "-all", *words).stdout
    history = site.pool.run("condor_history", *words).stdout
    rows = [tuple(line.split()) for line in (queue + history).splitlines() if line]
    assert max(Counter(rows).values()) == 1
    clusters: dict[str, set[str]] = {}
    procs: dict[str, set[int]] = {}
    for batch, cluster, proc in rows:
        clusters.setdefault(batch, set()).add(cluster)
        procs.setdefault(batch, set()).add(int(proc))
    assert all(len(found) == 1 for found in clusters.values()), "a batch was submitted twice"
    assert procs
    for batch, found in procs.items():
        assert found == set(range(len(os.listdir(site.states / "vms" / batch)))), "a batch is not whole"


def check_caps(site: Site) -> list[str]:
    """No more than max_idle wait and max_machines live; returns the ids of those that wait."""
    jobs = site.jobs("JobStatus != 4 && JobStatus != 3")
    idle = [job_id(ad) for ad in jobs if ad["JobStatus"] == 1]
    assert len(idle) <= 5
    assert len(jobs) <= 20
    return idle


@pytest.mark.parametrize(("moment", "there"), [("before", 0), ("after", 5)])
def test_killed_between_announcement_and_confirmation(site: Site, moment: str, there: int) -> None:
    """The moments that random kills may miss: before the schedd has accepted the VMs, and just after."""
    site.entry(dies=moment)
    assert site.once().returncode in {-signal.SIGKILL, 128 + signal.SIGKILL}
    assert len(site.jobs()) == there
    pending = site.state_file()["pending"]
    assert (pending["count"], pending["cluster"]) == (5, None)
    site.entry()
    for _ in range(2):
        assert site.once().returncode == 0, site.last()
        assert len(site.jobs()) == 5
    assert site.state_file()["policy"] == {"asked": 5}
    assert len({ad["VacBatch"] for ad in site.jobs()}) == 1
    check_batches(site)


def test_killed_at_fifty_random_moments(site: Site) -> None:
    site.write(max_machines=20, max_idle=5, max_starting=20)
    rng = random.Random(20)
    for turn in range(KILLS):
        process = site.factory()
        pid = wait_until(lambda: python_of(process), "the factory's process has begun", 60)  # noqa: B023
        if turn % 2:
            # Within a cycle, often between the announcement of a submission and its confirmation.
            written = stamp(site)
            wait_until(lambda: stamp(site) != written, "the state is written", 60)  # noqa: B023
            time.sleep(rng.uniform(0.0, 0.05))
        else:
            # Python starts in 0.1 to 0.2 s here; the first cycle is over soon after, the next comes after 1 s.
            time.sleep(rng.uniform(0.0, 0.5))
        os.kill(pid, signal.SIGKILL)
        process.wait(timeout=20)
        idle = check_caps(site)
        for number, job in enumerate(idle[:3]):
            site.finish(job, 200) if (turn + number) % 3 else site.start(job)
        if turn % 10 == 9:
            running = [job_id(ad) for ad in site.jobs("JobStatus == 2")]
            for job in running:
                site.finish(job, 200)
    assert site.once().returncode == 0, site.last()
    assert site.once().returncode == 0, site.last()
    assert len(check_caps(site)) == 5, "after all that it is as full as its caps allow"
    check_batches(site)


def test_schedd_killed(site: Site) -> None:
    site.write(max_machines=20, max_idle=5, max_starting=20)
    site.submit_factory()
    wait_until(lambda: len(site.jobs()) >= 5, "first submission")
    rng = random.Random(5)
    for _ in range(SCHEDD_KILLS):
        for job in check_caps(site)[:3]:
            site.finish(job, 200)
        time.sleep(rng.uniform(0.0, 1.5))
        site.pool.run("pkill", "-9", "-x", "condor_schedd")
        site.pool.wait_for_schedd()
        wait_until(site.pids, "the factory is started again")
    since = time.time()
    wait_until(lambda: site.last()["time"] > since and not site.last()["error"], "a whole cycle", 90)
    wait_until(lambda: len(check_caps(site)) == 5, "as full as its caps allow", 90)
    wait_until(lambda: len(site.pids()) == 1, "one factory is left", 90)
    check_batches(site)


def test_a_second_factory_stands_by(site: Site) -> None:
    site.factory()
    wait_until(lambda: len(site.jobs()) == 5, "first submission")
    second = site.once()
    assert second.returncode == 75
    assert "/lock: waiting a minute" in site.log()


def test_two_factory_jobs_with_different_directories(site: Site) -> None:
    first = site.submit_factory()
    wait_until(lambda: len(site.jobs()) == 5, "first submission")
    other = site.state + "-other"
    site.pool.run("install", "-d", "-o", "vac", other)
    site.state, states = other, site.states
    second = site.submit_factory()
    site.states = states.with_name(f"{states.name}-other")
    wait_until(lambda: site.last().get("error"), "the second reports the first")
    assert first in site.last()["error"]
    assert len(site.jobs()) == 5
    site.pool.run("condor_rm", first)
    wait_until(lambda: site.last()["error"] is None, "the second takes over")
    assert second in {job_id(ad) for ad in site.factory_jobs()}
