# SPDX-License-Identifier: GPL-3.0-or-later
"""Twenty VMs at once, on a pool whose nodes fail one after the other; the tests are steps, in the order of this file.

======  =====  ====================================================================================================
node    slots  what becomes of it
======  =====  ====================================================================================================
node1   4      a black hole from start to end: each VM's QEMU is killed as soon as it runs
node2   4      the disk of its sandboxes is full at first, so that it cannot prepare a VM
node3   4      its power is cut while its VMs work; later it is on again
node4   4      is drained while its VMs work, by the collection's playbook; later it is undrained
node5   12     is well
======  =====  ====================================================================================================

The factory may have 21 VMs. While node1 and node2 are bad, or avoided because they were, there is room for 20 on the
others: all three have to be full for twenty at once, and one VM waits, which only a bad node would take. With node2
there is room for 24, but for 20 at most on any three of the four: 21 at once need each node that is well again.

The VMs' tasks wait instead of burning CPU, because twenty emulated VMs share two processors; for the same reason their
machinetype lets a VM's age show that it works (``evidence_cpu_fraction: 0``). There is more work than time: VMs
live until they are ended.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from pools import EXECUTE, HEAD, WORKERS, Look, Pool

from tests.experiment.records import Try, fates, is_once, tries

MOST = 21
SLOTS = {"node1": 4, "node2": 4, "node3": 4, "node4": 4, "node5": 12}
WELL = ("node2", "node3", "node4", "node5")
COMPLETED, REMOVED = 4, 3


def test_the_bad_nodes_fail_vms_and_are_avoided_for_it(pool: Pool) -> None:
    bad = {"node1", "node2"}
    look = pool.until("the factory has avoided both bad nodes", lambda now: now.avoided >= bad)
    assert look.avoided == bad
    crashed = [ad for ad in pool.jobs().values() if ad.get("VacCause") == "crashed"]
    assert {(ad["VacKind"], ad.get("ShutdownCode"), ad["NumJobStarts"]) for ad in crashed} == {("site", None, 1)}
    # While its claim lasts, the last host is the one before (node2, perhaps, which could not prepare a VM).
    assert {(ad.get("RemoteHost") or ad["LastRemoteHost"]).partition("@")[2] for ad in crashed} == {"node1.lab"}
    assert pool.matching("node2", "PREPARE_JOB Failure.*No space left on device")
    pool.run("node2", f"umount -l {EXECUTE}")
    pool.note("node2: its disk has space again")


def test_twenty_vms_work_at_once(pool: Pool) -> None:
    look = pool.until("20 VMs work at once", lambda now: now.working >= 20)
    assert look.at_work("node1") == []


@pytest.fixture(scope="module")
def drained(pool: Pool) -> dict[str, dict[str, str]]:
    """The VMs (UUID to job) at work on node3 and node4 as the power of the one was cut and the other was drained."""
    before = pool.look()
    vms = {node: {uuid: before.vms[node][uuid] for uuid in before.at_work(node)} for node in ("node3", "node4")}
    pool.cut("node3")
    pool.note("node4: its drain begins")
    pool.drain("node4", "drain", vacuum_drain_notice=15, vacuum_drain_wait=900)
    pool.note("node4: it is drained")
    return vms


def test_a_drained_nodes_vms_end_as_announced(pool: Pool, drained: dict[str, dict[str, str]]) -> None:
    # HTCondor has released a VM a moment before libvirt's hook has released its lease.
    pool.until("node4 has no VM", lambda now: now.vms["node4"] == {})
    jobs = pool.jobs()
    assert len(drained["node4"]) == SLOTS["node4"]
    for job in drained["node4"].values():
        recorded = {key: jobs[job].get(key) for key in ("JobStatus", "ShutdownCode", "VacKind", "NumJobStarts")}
        assert recorded == {"JobStatus": COMPLETED, "ShutdownCode": 100, "VacKind": "host_request", "NumJobStarts": 1}


@pytest.mark.usefixtures("drained")
def test_all_nodes_that_are_well_again_have_vms_again(pool: Pool) -> None:
    pool.boot("node3")
    pool.drain("node4", "undrain")
    pool.note("node4: it is taken back")
    look = pool.until(f"{MOST} VMs work at once", lambda now: now.working == MOST)
    assert all(look.at_work(node) for node in WELL)


def test_the_vms_that_lost_their_node_run_again_under_the_same_jobs(
    pool: Pool, drained: dict[str, dict[str, str]]
) -> None:
    jobs = pool.jobs()
    lost = set(drained["node3"].values())
    assert len(lost) == SLOTS["node3"]
    assert [jobs[job]["NumJobStarts"] for job in lost] == [2] * len(lost)
    running = {job for leases in pool.look().vms.values() for job in leases.values()}
    # Once it is not avoided for a while, the black hole may get one of them too.
    crashed = {job for job, ad in jobs.items() if ad.get("VacCause") == "crashed"}
    assert lost <= running | crashed


def test_the_tasks_of_lost_vms_are_done_by_others(pool: Pool, drained: dict[str, dict[str, str]]) -> None:
    lost = {uuid for vms in drained.values() for uuid in vms}

    def had(now: Look) -> dict[str, list[tuple[str, str]]]:
        found = fates(now.queue["events"])
        return {task: fate for task, fate in found.items() if any(("taken", uuid) in fate for uuid in lost)}

    look = pool.until(
        "the lost VMs' tasks have been done by others",
        lambda now: all(now.queue["tasks"][task]["state"] == "done" for task in had(now)),
    )
    # A VM that was lost between two tasks had none.
    came_back = [task for task, fate in had(look).items() if any(("requeued", uuid) in fate for uuid in lost)]
    assert came_back


@pytest.fixture(scope="module")
def last(pool: Pool) -> Look:
    """The last look at the pool with VMs: from here on they are ended."""
    pool.run(HEAD, "condor_hold -constraint 'JobUniverse == 7'")
    return pool.until("the factory is held", lambda now: now.working <= MOST)


def test_no_task_is_lost_or_done_twice(last: Look) -> None:
    found = fates(last.queue["events"])
    assert len(last.queue["events"]) < 10_000, "the queue has forgotten what happened first"
    wrong = {task: fate for task, fate in found.items() if task.startswith("t") and not is_once(fate)}
    assert wrong == {}
    done = [task for task, fate in found.items() if fate[-1][0] == "done"]
    assert len(done) == last.queue["done"]
    # What is taken and not done is in the hands of VMs that live, one task each.
    living = {uuid for leases in last.vms.values() for uuid in leases}
    held = Counter(task["vm"] for task in last.queue["tasks"].values() if task["state"] == "taken")
    assert set(held) <= living
    assert set(held.values()) <= {1}


def runs(pool: Pool) -> dict[str, list[Try]]:
    """The tries of each job that have come as far as their VM's start."""
    return {job: [each for each in found if each.executed] for job, found in tries(pool.logs()).items()}


def test_every_vm_is_one_that_the_factory_wanted_and_is_counted_once(pool: Pool, last: Look) -> None:
    jobs = pool.jobs()
    assert sum(cycle["submit"] for cycle in last.cycles) == len(jobs)
    for cycle in last.cycles:
        assert cycle["error"] is None, cycle
        seen = cycle["observed"]
        assert seen["idle"] + seen["running"] + seen["held"] <= MOST, cycle
    executed = runs(pool)
    assert {job: ad["NumJobStarts"] for job, ad in jobs.items()} == {job: len(executed.get(job, ())) for job in jobs}
    # Each start on a node that is well made one VM, which the task queue knows by its UUID.
    started = Counter(each.node for found in executed.values() for each in found)
    assert sum(started[node] for node in WELL) == len(last.queue["vms"])


def test_no_vm_ran_on_two_nodes_at_once(pool: Pool) -> None:
    assert len(pool.looks) > 10
    assert pool.twice == set()


@pytest.mark.usefixtures("last")
def test_the_vms_are_ended_and_nothing_is_left(pool: Pool) -> None:
    ended_before = {job for job, ad in pool.jobs().items() if ad["JobStatus"] in {COMPLETED, REMOVED}}
    pool.run(HEAD, "condor_rm -constraint 'JobUniverse == 13 && JobStatus != 4'")
    pool.until("no VM is left", lambda now: not any(now.vms.values()))
    for node in WORKERS:
        assert pool.run(node, "virsh -q list --all; pgrep -f '[g]uest=' || true") == "", node
    codes: Counter[Any] = Counter()
    for job, ad in pool.jobs().items():
        assert ad["JobStatus"] in {COMPLETED, REMOVED}, ad
        codes[ad.get("ShutdownCode") or ad.get("VacCause") or "removed"] += job in ended_before or 1
    pool.note(f"ends of VM jobs: {dict(codes)}")
