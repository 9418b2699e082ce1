# SPDX-License-Identifier: GPL-3.0-or-later
"""The README's quick start on a pool with jobs and a policy of its own; the tests are steps, in this order."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from boxes import COMPLETED, RUNNING, Box
from desk import Desk
from pool import batch, job, until, vms

SITE = "vacuum.htcondor.site"
POLICY = "/etc/condor/config.d/20-site.config"
LATER = "/etc/condor/config.d/99-site.config"
ENDED_WELL = f"JobStatus == {COMPLETED} && ShutdownCode =?= 200"
# As condor_reconfig, for which this pool's root has no right.
RECONFIG = "pkill -HUP -x condor_master"
# A VM that is not the factory's.
STRANGE = """universe = vm
executable = strange
vm_type = kvm
vm_memory = 64
vm_disk = /var/lib/condor_vac/images/guest.iso:hda:r:raw
+RequiresVac = True
+HookKeyword = "{keyword}"
queue
"""


@pytest.fixture(scope="module")
def first(box: Box) -> str:
    """A batch job that runs before the collection comes, and for longer than anybody waits."""
    cluster = batch(box, 100_000)
    until("a batch job runs before", lambda: job(box, cluster)["JobStatus"] == RUNNING)
    return cluster


def test_the_playbook_passes_and_ends_no_batch_job(box: Box, desk: Desk, first: str) -> None:
    done = desk.play(SITE)
    assert done.returncode == 0, done.stdout[-4000:]
    ad = job(box, first)
    assert (ad["JobStatus"], ad["NumJobStarts"]) == (RUNNING, 1)
    assert "1 job still runs; the startd loads its new configuration when no job runs any more" in done.stdout


def test_vms_come_once_the_startd_could_restart(box: Box, first: str) -> None:
    box.run(f"condor_rm {first}")
    found = until("a VM of the README's machinetype ends with 200", lambda: vms(box, ENDED_WELL))
    assert {ad["NumJobStarts"] for ad in found} == {1}


def test_a_batch_job_starts_beside_a_vm_and_a_vm_beside_a_batch_job(box: Box) -> None:
    (vm, *_) = until("a VM runs", lambda: vms(box, f"JobStatus == {RUNNING}"))
    second = batch(box, 100_000)
    until("a batch job runs beside it", lambda: job(box, second)["JobStatus"] == RUNNING)
    assert vms(box, f"JobStatus == {RUNNING} && ClusterId == {vm['ClusterId']}")
    started = job(box, second)["JobCurrentStartDate"]
    newer = f"JobStatus == {RUNNING} && JobCurrentStartDate > {started}"
    until("a VM starts beside a batch job", lambda: vms(box, newer))
    ad = job(box, second)
    assert (ad["JobStatus"], ad["NumJobStarts"]) == (RUNNING, 1)
    box.run(f"condor_rm {second}")


def test_each_kind_of_job_has_its_own_hooks(box: Box) -> None:
    cluster = batch(box, 100_000)
    until("a batch job runs", lambda: job(box, cluster)["JobStatus"] == RUNNING)
    marked = box.run("find /var/lib/condor/execute -name site-hook-ran -printf '%u\\n'").split()
    assert marked == ["batch"]
    assert "batch" not in box.run("journalctl -o cat -t condor_vac --since -1h | grep -i hook || true")
    box.run(f"condor_rm {cluster}")


def test_the_sites_start_holds_for_both(box: Box) -> None:
    box.run(f"sed -i 's/^NodeOpen = True/NodeOpen = False/' {POLICY} && {RECONFIG}")
    until("no job runs", lambda: not vms(box, f"JobStatus == {RUNNING}"))
    cluster = batch(box, 1)
    until("a VM waits", lambda: vms(box, "JobStatus == 1"))
    time.sleep(30)
    assert job(box, cluster)["JobStatus"] == 1
    assert not vms(box, f"JobStatus == {RUNNING}")
    box.run(f"sed -i 's/^NodeOpen = False/NodeOpen = True/' {POLICY} && {RECONFIG}")
    until("the batch job has run", lambda: job(box, cluster)["JobStatus"] == COMPLETED)
    until("a VM runs", lambda: vms(box, f"JobStatus == {RUNNING}"))


def test_a_vm_of_somebody_else_and_one_without_our_hooks_stay_out(box: Box) -> None:
    for user, keyword in (("batch", "VAC"), ("vac", "NONE")):
        box.put(f"/srv/{user}.sub", STRANGE.format(keyword=keyword).encode())
        box.run(f"cd / && runuser -u {user} -- condor_submit -terse /srv/{user}.sub")
    mine = "VacMachinetype =?= undefined && VacBatch =?= undefined"
    until("two of them wait", lambda: len(vms(box, f"JobStatus == 1 && {mine}")) == 2)
    # The negotiator has looked at them: it matches them, and the node refuses, or it matches them not at all.
    until("they were considered", lambda: all("LastRejMatchTime" in ad for ad in vms(box, f"JobStatus == 1 && {mine}")))
    assert not vms(box, f"NumJobStarts > 0 && {mine}")
    box.run(f"condor_rm -constraint 'JobUniverse == 13 && {mine}'")


def test_a_later_start_of_the_site_is_named_before_anything_changes(box: Box, desk: Desk) -> None:
    box.run(f"echo 'START = True' > {LATER}")
    before = box.run("sha256sum /etc/condor/config.d/* /etc/condor_vac/*.json")
    done = desk.play(SITE)
    assert done.returncode != 0
    assert f"START: {LATER}, line 1, sets it after this role's 50-vm-universe.config" in " ".join(done.stdout.split())
    assert box.run("sha256sum /etc/condor/config.d/* /etc/condor_vac/*.json") == before
    box.run(f"echo 'START = $(START) && True' > {LATER}")
    done = desk.play(SITE)
    assert done.returncode == 0, done.stdout[-4000:]
    box.run(f"rm {LATER}")


def test_verify_finds_nothing_wrong(box: Box, desk: Desk) -> None:
    box.run(RECONFIG)
    done = desk.play("vacuum.htcondor.verify")
    assert done.returncode == 0, done.stdout[-4000:]
    assert Path(desk.place, "inventory.yml").exists()
