# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs are the backfill: a batch job gets the slot of a VM, which gets a notice and runs again. After test_site.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from boxes import COMPLETED, IDLE, RUNNING, Box
from desk import Desk
from pool import ads, batch, job, until, vms

# The node has four processors (prepare.yml); the VM has one.
BESIDE = 3
NOTICE_SECONDS = 45
# So long that no VM ends by itself here.
TASK_SECONDS = 100_000


def leases(box: Box) -> list[dict[str, Any]]:
    """What vac_lease knows of the node's VMs."""
    found: list[dict[str, Any]] = json.loads(box.run("/usr/local/libexec/vac_lease list"))
    return found


def play(desk: Desk, **changes: Any) -> None:
    """Run the site's playbook with these variables."""
    desk.vars.update(changes)
    done = desk.play("vacuum.htcondor.site")
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.fixture(scope="module")
def full(box: Box, desk: Desk) -> Iterator[dict[str, Any]]:
    """A node without a free processor: batch jobs, and one VM at work; the ad of its job."""
    (keys,) = desk.machinetypes.values()
    keys["user_data_options"]["queue_url"] = box.queue("long")
    play(desk)
    box.add_task("long", TASK_SECONDS, 3, light=True)
    # It fails where there is none just now.
    box.host.run("condor_rm -constraint 'JobUniverse == 13'")
    before = max(int(ad["ClusterId"]) for ad in vms(box, "true"))
    (vm, *_) = until("a VM runs", lambda: vms(box, f"JobStatus == {RUNNING} && ClusterId > {before}"))
    clusters = [batch(box, TASK_SECONDS) for _ in range(BESIDE)]
    until("batch jobs run beside it", lambda: all(job(box, one)["JobStatus"] == RUNNING for one in clusters))
    yield vm
    box.run("condor_rm -constraint 'JobUniverse == 5'")


@pytest.fixture(scope="module")
def waiting(box: Box, full: dict[str, Any]) -> str:
    """A batch job for which there is no processor."""
    cluster = batch(box, TASK_SECONDS)
    until("the negotiator has looked at it", lambda: "LastRejMatchTime" in job(box, cluster))
    assert vms(box, f"JobStatus == {RUNNING} && ClusterId == {full['ClusterId']}")
    return cluster


def test_without_the_setting_a_batch_job_waits(box: Box, waiting: str) -> None:
    ad = job(box, waiting)
    assert (ad["JobStatus"], ad.get("NumJobStarts", 0)) == (IDLE, 0)
    assert [lease["leaves"] for lease in leases(box)] == [None]


@pytest.fixture(scope="module")
def vm(box: Box, desk: Desk, full: dict[str, Any], waiting: str) -> dict[str, Any]:
    """The job of a VM that began when VMs were the backfill already; again the node is full."""
    play(desk, worker_backfill=True, worker_backfill_notice=NOTICE_SECONDS)
    box.run(f"condor_rm {waiting} {full['ClusterId']}")
    newer = f"JobStatus == {RUNNING} && ClusterId != {full['ClusterId']}"
    found: dict[str, Any] = until("another VM runs", lambda: vms(box, newer))[0]
    return found


@pytest.fixture(scope="module")
def second(box: Box, vm: dict[str, Any]) -> str:
    """A batch job for which there is no processor but the VM's."""
    assert vm["JobStatus"] == RUNNING
    return batch(box, TASK_SECONDS)


def test_with_it_the_vm_gets_a_notice_and_the_batch_job_its_slot(box: Box, vm: dict[str, Any], second: str) -> None:
    (lease, *_) = until("the VM gets its notice", lambda: [lease for lease in leases(box) if lease["leaves"]])
    # It is in the lease first.
    file = f"{lease['jobfeatures']}/shutdowntime_job"
    until("the VM can read it", lambda: abs(int(box.run(f"cat {file}")) - lease["leaves"]) <= 1)
    until("the batch job runs", lambda: job(box, second)["JobStatus"] == RUNNING)
    (ad,) = vms(box, f"ClusterId == {vm['ClusterId']}")
    assert (ad["JobStatus"], ad["NumJobStarts"]) == (IDLE, 1)
    assert (ad["ShutdownCode"], ad["VacCause"], ad["VacAbort"]) == (100, "backfill", False)


def test_no_batch_job_was_disturbed(box: Box, second: str) -> None:
    running = [ad for ad in ads(box, "-constraint 'JobUniverse == 5'") if ad["JobStatus"] == RUNNING]
    assert len(running) == BESIDE + 1
    # HTCondor counts a start a moment after the job runs.
    assert {ad["NumShadowStarts"] for ad in running} == {1}
    assert second in {str(ad["ClusterId"]) for ad in running}


def test_its_job_runs_again_when_there_is_room(box: Box, vm: dict[str, Any], second: str) -> None:
    box.run(f"condor_rm {second}")
    again = f"NumJobStarts == 2 && ClusterId == {vm['ClusterId']}"
    (ad,) = until("the VM's job runs again", lambda: vms(box, again))
    assert ad["JobStatus"] in {RUNNING, COMPLETED}
    assert [lease["leaves"] for lease in until("it has a lease", lambda: leases(box))] == [None]


def test_a_drain_takes_no_slot_from_a_vm(box: Box, vm: dict[str, Any]) -> None:
    until("the VM runs", lambda: vms(box, f"JobStatus == {RUNNING} && ClusterId == {vm['ClusterId']}"))
    drain = "_CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS=FS condor_drain"
    box.run(f"{drain} $(hostname)")
    retiring = "condor_status -constraint 'Activity == \"Retiring\" && JobUniverse == 13' -af Name"
    until("its slot retires", lambda: box.run(retiring))
    box.watch()
    assert [lease["leaves"] for lease in leases(box)] == [None]
    box.run(f"{drain} -cancel $(hostname)")
    until("its slot retires no more", lambda: not box.run(retiring))
    assert vms(box, f"JobStatus == {RUNNING} && ClusterId == {vm['ClusterId']}")
