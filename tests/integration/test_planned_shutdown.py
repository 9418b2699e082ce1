# SPDX-License-Identifier: GPL-3.0-or-later
"""A planned shutdown between vac_watch, a real startd and a real negotiator: who still starts on the node."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from condor_vac.factory import submit_description
from tests.integration.chroot import OWNER, Pool, missing
from tests.integration.factory.site import wait_until
from tests.unit.condor_vac.standins import machinetype

CONFIG = """
DAEMON_LIST = MASTER COLLECTOR NEGOTIATOR SCHEDD STARTD
NUM_CPUS = 4
MEMORY = 4000
START = True
SUSPEND = False
PREEMPT = False
RunBenchmarks = False
CLAIM_WORKLIFE = 0
NEGOTIATOR_INTERVAL = 2
NEGOTIATOR_MIN_INTERVAL = 1
NEGOTIATOR_CYCLE_DELAY = 1
SCHEDD_MIN_INTERVAL = 1
ALLOW_ADVERTISE_STARTD = *
"""
# What vac_watch does in its run, with a directory of the pool's.
PUBLISH = (
    "import sys; sys.path.insert(0, '/checkout/src'); sys.dont_write_bytecode = True\n"
    "from condor_vac.worker.watch import node_ad\n"
    "when = int(sys.argv[1])\n"
    "node_ad.publish('/pool/run', {**node_ad.of_plan(when or None), **node_ad.of_findings(when % 7)}, print)"
)


@pytest.fixture(scope="module", params=["trixie", "sid"])
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    reason = missing()
    if reason:
        pytest.skip(reason)
    with Pool(request.param, CONFIG) as made:
        wait_until(lambda: ads(made), "the startd is there")
        yield made


def publish(pool: Pool, when: int) -> str:
    """One run's part of vac_watch, with a plan or 0 for none, and findings with it; what it logs."""
    return pool.run("python3", "-c", PUBLISH, str(when)).stdout


def ads(pool: Pool, attribute: str = "VacShutdownTime") -> set[str]:
    """What the collector's slots have of it."""
    return set(pool.run("condor_status", "-af", attribute).stdout.split())


def submit(pool: Pool, name: str, least: int) -> None:
    """A job with the requirements of such a VM; only a node with a hypervisor could start the VM itself."""
    requirements = submit_description.describe(machinetype(min_wallclock_seconds=least))["requirements"]
    text = f"""
universe = vanilla
executable = /bin/sleep
transfer_executable = false
should_transfer_files = NO
arguments = 300
request_memory = 10
request_disk = 10
initialdir = /pool/vac
requirements = {requirements}
+VacAvoidHosts = ""
+VacMachinetype = "{name}"
queue
"""
    (pool.local / "vac" / f"{name}.sub").write_text(text)
    pool.run("condor_submit", f"/pool/vac/{name}.sub", user=OWNER)


def running(pool: Pool) -> set[str]:
    """The names of the jobs that run."""
    return set(
        pool.run("condor_q", "-allusers", "-constraint", "JobStatus == 2", "-af", "VacMachinetype").stdout.split()
    )


def rejected(pool: Pool, name: str) -> str:
    """Why the negotiator gave the job no slot."""
    which = f'VacMachinetype == "{name}"'
    return pool.run("condor_q", "-allusers", "-constraint", which, "-af", "LastRejMatchReason").stdout


def test_short_vms_start_until_the_shutdown_and_long_ones_when_it_is_cancelled(pool: Pool) -> None:
    # A number of findings goes the same way.
    when = (int(time.time()) + 3600) // 7 * 7 + 3
    assert f"VacShutdownTime = {when}" in publish(pool, when)
    wait_until(lambda: ads(pool) == {str(when)}, "the collector knows the plan")
    assert publish(pool, when) == "", "once is enough"
    submit(pool, "long", 7200)
    submit(pool, "short", 600)
    wait_until(lambda: running(pool) == {"short"}, "the short one starts")
    wait_until(lambda: "no match" in rejected(pool, "long").lower(), "the negotiator has looked at the long one")
    assert running(pool) == {"short"}
    # Every slot has it, also the one that was just made for the job.
    assert (ads(pool), ads(pool, "VacFindings")) == ({str(when)}, {"3"})
    publish(pool, 0)
    wait_until(lambda: running(pool) == {"short", "long"}, "without the plan the long one starts as well")
    assert ads(pool) == ads(pool, "VacFindings") == {"undefined"}
