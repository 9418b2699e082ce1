# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that need a kernel of the node's own, in the order of this file: its NFS server, its clock, its power.

One VM that waits for a task meets them all, and does its task at the end; the scenario ``faults`` has the others.
"""

from __future__ import annotations

from typing import Any

import pytest
from boxes import Box, leaks, nothing_leaked, of_clusters
from survivors import (
    SETTLE_SECONDS,
    START_SECONDS,
    all_live_on,
    count_working,
    do_their_work,
    kill,
    run_again,
    started,
    submit,
    taken_back,
    the_power_is_cut,
)

THREADS = "/proc/fs/nfsd/threads"


@pytest.fixture(scope="module")
def cluster(box: Box) -> str:
    """The VM's job, submitted; it shares by NFS."""
    return submit(box, 1)


@pytest.fixture(scope="module")
def one(box: Box, cluster: str) -> list[dict[str, Any]]:
    """The lease of the VM, which works."""
    leases = started(box, cluster, 1)
    assert [lease["sharing"] for lease in leases] == ["nfs"]
    return leases


def process(box: Box, name: str) -> str:
    """The id of the one process of that name."""
    return box.run(f"pgrep -x {name}")


def test_the_nfs_server_is_stopped_and_its_daemons_are_killed(box: Box, one: list[dict[str, Any]]) -> None:
    # A kernel thread of nfsd takes no SIGKILL since Linux 6.6; this is how rpc.nfsd ends them.
    daemons = {name: process(box, name) for name in ("rpc.mountd", "nfsdcld")}
    assert int(box.run(f"cat {THREADS}")) > 0
    box.run(f"echo 0 > {THREADS}")
    assert int(box.run(f"cat {THREADS}")) == 0
    for name in daemons:
        kill(box, name, f"pgrep -x {name}")
    box.run("systemctl restart nfs-server")
    assert int(box.run(f"cat {THREADS}")) > 0
    box.until("nfs-server is whole", lambda _: box.host.run("pgrep -x rpc.mountd").rc == 0, SETTLE_SECONDS)
    assert process(box, "rpc.mountd") != daemons["rpc.mountd"]
    all_live_on(box, one)


@pytest.mark.usefixtures("one")
@pytest.mark.parametrize("step", [3600, -3600])
def test_the_clock_steps_by_an_hour(box: Box, cluster: str, step: int) -> None:
    # HTCondor's master restarts all daemons after a jump of MAX_TIME_SKIP, 20 minutes: a VM ends because its job's
    # lease is over by the new time, or lives on while the startd waits for it. vac_watch ends none.
    jumps = "grep -c 'system clock.* jumped' /var/log/condor/MasterLog || true"
    before, seen = started(box, cluster, 1), int(box.run(jumps))
    box.run(f"date -s @$(($(date +%s) + {step}))")
    box.watch()
    stopping = {lease["uuid"]: lease["stopping"] for lease in box.state()["leases"]}
    assert stopping.get(before[0]["uuid"]) is None
    box.until("HTCondor notices the jump", lambda _: int(box.run(jumps)) > seen, SETTLE_SECONDS)
    # What waits for a VM waits no more. After a step back the schedd would wait for the job's lease by the old time, a
    # restart or not ("JobLeaseDuration remaining: 3505" in the ShadowLog): until its shadow is ended.
    box.run("systemctl restart condor")
    if step < 0:
        box.until("a shadow waits for the lease", lambda _: box.host.run("pgrep condor_shadow").rc == 0, SETTLE_SECONDS)
        box.run("pkill -KILL condor_shadow")
    taken_back(box, {before[0]["uuid"]})
    run_again(box, cluster, 1, before)
    box.until("the VM works again", lambda now: count_working(now, cluster) == 1, START_SECONDS)


def test_the_power_is_cut(box: Box, cluster: str) -> None:
    the_power_is_cut(box, cluster, 1)


def test_at_the_end_the_vm_does_its_work_and_the_node_is_clean(box: Box, cluster: str) -> None:
    do_their_work(box, cluster, 1)
    state = box.until("the node is clean", lambda now: not of_clusters(now, cluster) and nothing_leaked(now))
    assert leaks(state) == []
