# SPDX-License-Identifier: GPL-3.0-or-later
"""Each fault in turn, in the order of this file: what dies, what lives on, and that nothing is left behind.

One job meets the faults that a start can have, one after another, and its VM runs to its end all the same. Four VMs
boot meanwhile, and live through the faults that must end none. Three of them lose what is theirs alone; two go on, by a
restart of HTCondor and a power cut, to their tasks and their code.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from boxes import COMPLETED, Box, cluster_of, job_of, leaks, nothing_leaked, of_clusters
from halfway import HalfWay
from survivors import (
    SETTLE_SECONDS,
    START_SECONDS,
    all_live_on,
    count_running,
    do_their_work,
    kill,
    kill_service,
    main_pid,
    run_again,
    started,
    submit,
    taken_back,
    the_power_is_cut,
)

EXECUTE = "/var/lib/condor/execute"
LOCK = "/run/condor_vac/lock"
LOOKED = "/run/condor_vac/vm_universe_looked"
REFUSAL = "/etc/libvirt/hooks/qemu.d/00-refusal"
EXIT_HOOK = "/usr/local/libexec/vac_exit_hook"
# Until its starter has begun to start a VM.
DELAYED_EXIT_HOOK = f"""#!/bin/sh
for i in $(seq 1200); do pgrep -P $PPID -f vm-gahp > /dev/null && break; sleep 0.1; done
exec {EXIT_HOOK}.real "$@"
"""
ENDS = {"mode": "error600"}


@pytest.fixture(scope="module")
def unlucky(box: Box) -> str:
    """The cluster of the job that meets the faults of a start; the disk of the sandboxes is full when it begins."""
    # Their disk alone: a schedd whose disk is full stops. HTCondor's own files have room there, a VM's have not.
    assert box.state()["leases"] == []
    box.run(f"mount -t tmpfs -o size=128k,mode=0755,uid=$(id -u condor),gid=$(id -g condor) tmpfs {EXECUTE}")
    return box.submit("unlucky", options=ENDS)


def tries(state: dict[str, Any], cluster: str) -> int:
    """How often HTCondor has tried to run the job of a cluster; a try without a VM is not a start (NumJobStarts)."""
    return int(state["jobs"][f"{cluster}.0"].get("NumShadowStarts", 0))


def vm_universe(box: Box) -> str:
    """What the pool knows of the node's VM universe, and why it is away."""
    return box.run("condor_status -constraint PartitionableSlot -af HasVM VMOfflineReason")


def test_the_disk_of_the_sandboxes_is_full(box: Box, unlucky: str) -> None:
    state = box.until("the job is tried again", lambda now: tries(now, unlucky) > 1, SETTLE_SECONDS)
    assert (state["jobs"][f"{unlucky}.0"]["NumJobStarts"], state["domains"]) == (0, {})
    assert "No space left on device" in box.run("grep -h 'PREPARE_JOB Failure' /var/log/condor/StarterLog*")


def test_a_failed_start_takes_the_vm_universe_away_for_a_while_only(box: Box, unlucky: str, half_way: HalfWay) -> None:
    # vac_watch checks the VM universe every five minutes; it must not do so before this test has.
    box.put(REFUSAL, f'#!/bin/sh\n[ "$2" != prepare ] || {{ touch {LOOKED}; exit 1; }}\n'.encode())
    box.run(f"chmod 755 {REFUSAL}; umount -l {EXECUTE}")
    # A try for which not even HTCondor's own files had room is one that HTCondor holds (code 13, subcode 28).
    box.host.run(f"condor_release {unlucky}")
    box.until("the node offers no VM", lambda _: vm_universe(box).startswith("false VMGAHP_"), SETTLE_SECONDS)
    half_way.begin()
    box.run(f"rm {REFUSAL} {LOOKED}")
    box.until("the node offers VMs again", lambda _: vm_universe(box) == "true undefined", SETTLE_SECONDS)


def test_the_prepare_hook_is_killed_half_way(box: Box, unlucky: str, half_way: HalfWay) -> None:
    lease = half_way.until(unlucky)
    before = tries(box.state(), unlucky)
    kill(box, "the prepare hook", "pgrep -f '[l]ibexec/vac_prepare_hook'")
    half_way.end()
    taken_back(box, {lease["uuid"]})
    box.until("the job is tried again", lambda now: tries(now, unlucky) > before, SETTLE_SECONDS)


@pytest.fixture(scope="module")
def cluster(box: Box) -> str:
    """Four VMs that only wait for a task; their domains run."""
    four = submit(box, 4)
    box.until("four VMs run", lambda now: count_running(now, four) == 4, START_SECONDS)
    return four


@pytest.mark.usefixtures("cluster")
def test_a_job_is_removed_as_its_vm_starts(box: Box, half_way: HalfWay) -> None:
    # HTCondor before 25.4 runs the exit hook, and when the prepare hook ends meanwhile it starts the VM none the less.
    before_25_4 = box.condor_version() < (25, 4)
    assert (box.host.run("condor_config_val VAC_HOOK_JOB_EXIT").rc == 0) == before_25_4
    box.put(f"{EXIT_HOOK}.new", DELAYED_EXIT_HOOK.encode())
    box.run(f"chmod 755 {EXIT_HOOK}.new; mv {EXIT_HOOK} {EXIT_HOOK}.real; mv {EXIT_HOOK}.new {EXIT_HOOK}")
    half_way.begin()
    try:
        removed = box.submit("removed", options=ENDS)
        lease = half_way.until(removed)
        box.run(f"condor_rm {removed}")
        sees_it = "pgrep -f '[l]ibexec/vac_exit_hook'" if before_25_4 else f"test ! -e {lease['sandbox']}"
        box.until("the starter ends its job", lambda _: box.host.run(sees_it).rc == 0, SETTLE_SECONDS)
        half_way.end()
        taken_back(box, {lease["uuid"]})
    finally:
        box.run(f"mv {EXIT_HOOK}.real {EXIT_HOOK}")
    line = f"Starting a VM universe job with ID: {removed}.0"
    assert (box.host.run(f"grep -h '{line}' /var/log/condor/StarterLog*").rc == 0) == before_25_4
    assert vm_universe(box) == "true undefined"


def test_what_met_every_fault_of_a_start_runs_to_its_end(box: Box, unlucky: str) -> None:
    def over(now: dict[str, Any]) -> bool:
        completed = now["jobs"][f"{unlucky}.0"]["JobStatus"] == COMPLETED
        return completed and not of_clusters(now, unlucky) and nothing_leaked(now)

    ad = box.until("the VM runs to its end", over, START_SECONDS)["jobs"][f"{unlucky}.0"]
    # The start that failed is one that HTCondor counts.
    assert (ad["NumJobStarts"], ad.get("ShutdownCode"), ad.get("VacCause")) == (2, 600, "message")


@pytest.fixture(scope="module")
def four(box: Box, cluster: str) -> list[dict[str, Any]]:
    """The leases of the four VMs, which work."""
    return started(box, cluster, 4)


def blocked_watch(box: Box) -> int:
    """The process of a vac_watch that waits for the lease lock, in the middle of its work; 0 if there is none now."""
    pid = main_pid(box, "vac_watch")
    waits = box.host.run(f"readlink /proc/{pid}/fd/* | grep -qx {LOCK}").rc == 0
    return pid if pid and waits else 0


def test_vac_watch_is_killed(box: Box, four: list[dict[str, Any]]) -> None:
    box.run("systemctl stop vac_watch.timer")
    box.watch()
    box.run(f"nohup flock {LOCK} sleep 600 > /dev/null 2>&1 & echo $! > /run/holds_lock")
    try:
        deadline = time.monotonic() + SETTLE_SECONDS
        while not blocked_watch(box):
            # It waits for the lock for a quarter of a minute only, so that a look may come too late.
            box.run("systemctl start --no-block vac_watch")
            assert time.monotonic() < deadline, "vac_watch does not come to the lock"
            time.sleep(0.2)
        kill_service(box, "vac_watch")
    finally:
        box.run("pkill -P $(cat /run/holds_lock); rm /run/holds_lock")
    assert box.run("systemctl show --property Result --value vac_watch") == "signal"
    box.watch()
    box.run("systemctl start vac_watch.timer")
    assert box.run("systemctl show --property Result --value vac_watch") == "success"
    all_live_on(box, four)


def test_libvirtd_is_killed(box: Box, four: list[dict[str, Any]]) -> None:
    before = box.state()["domains"]
    kill_service(box, "libvirtd")
    all_live_on(box, four)
    # libvirt gives a domain that it starts another number.
    assert box.state()["domains"] == before


def test_nginx_is_killed(box: Box, four: list[dict[str, Any]]) -> None:
    assert address_answers(box)
    kill_service(box, "vac_http")
    deadline = time.monotonic() + SETTLE_SECONDS
    while not address_answers(box):
        assert time.monotonic() < deadline, "nginx does not come back by itself"
        time.sleep(1)
    all_live_on(box, four)


def address_answers(box: Box) -> bool:
    """Whether nginx is there: who has no lease gets a 403."""
    return box.http_status("http://169.254.169.253/joboutputs/") == "403"


def starter(lease: dict[str, Any]) -> str:
    """The starter's process id, which HTCondor names the sandbox after."""
    return str(lease["sandbox"]).partition("dir_")[2].partition("/")[0]


def test_qemu_starter_and_vm_gahp_are_killed(box: Box, four: list[dict[str, Any]]) -> None:
    qemu, by_starter, by_gahp, untouched = four
    kill(box, "QEMU", f"pgrep -f '[g]uest={qemu['domain']},'")
    kill(box, "the starter", f"pgrep -f condor_starter | grep -x {starter(by_starter)}")
    kill(box, "vm-gahp", f"pgrep -P {starter(by_gahp)} -f vm-gahp")
    state = taken_back(box, {lease["uuid"] for lease in (qemu, by_starter, by_gahp)})
    assert untouched["uuid"] in {lease["uuid"] for lease in state["leases"]}
    state = box.until(
        "the job of the killed QEMU ends",
        lambda now: now["jobs"][job_of(qemu)]["JobStatus"] == COMPLETED,
        SETTLE_SECONDS,
    )
    ad = state["jobs"][job_of(qemu)]
    assert (ad["NumJobStarts"], ad["VacCause"], ad.get("ShutdownCode")) == (1, "crashed", None)
    assert ad["VacRuntime"] > 0
    state = run_again(box, cluster_of(qemu), 3, [qemu, by_starter, by_gahp])
    runs = [state["jobs"][job_of(lease)]["NumShadowStarts"] for lease in (by_starter, by_gahp, untouched)]
    assert runs == [2, 2, 1]


def test_a_removed_vm_leaves_nothing(box: Box, four: list[dict[str, Any]]) -> None:
    untouched = four[3]
    box.run(f"condor_rm {job_of(untouched)}")
    state = taken_back(box, {untouched["uuid"]})
    assert count_running(state, cluster_of(untouched)) == 2


def test_condor_is_restarted(box: Box, cluster: str) -> None:
    before = of_clusters(box.state(), cluster)
    box.run("systemctl restart condor")
    taken_back(box, {lease["uuid"] for lease in before})
    run_again(box, cluster, 2, before)


def test_the_power_is_cut(box: Box, cluster: str) -> None:
    the_power_is_cut(box, cluster, 2)


def test_at_the_end_the_vms_do_their_work_and_the_node_is_clean(box: Box, cluster: str) -> None:
    ads = do_their_work(box, cluster, 2)
    assert [ad["VacCause"] for ad in ads] == ["message"] * 2
    state = box.until("the node is clean", lambda now: not now["leases"] and nothing_leaked(now), SETTLE_SECONDS)
    assert (leaks(state), state["domains"]) == ([], {})
