# SPDX-License-Identifier: GPL-3.0-or-later
"""Each fault in turn, in the order of this file: what dies, what lives on, and that nothing is left behind.

Four VMs that only write heartbeats live through the faults that must end none; three of them are then ended by
the death of a part that is theirs alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from boxes import COMPLETED, Box, cluster_of, job_of, leaks, nothing_leaked, of_clusters, working

ROOT = Path(__file__).resolve().parents[3]
# Waits for the power button in vain, and writes heartbeats until it is ended.
STAYS = {"mode": "hang", "heartbeat_interval": "5"}
ENDS = {"mode": "error600"}
# Four VMs boot at once on one emulated processor.
START_SECONDS = 900
EXECUTE = "/var/lib/condor/execute"
# Two runs of the watch, and HTCondor's look at its VMs, on a processor that others may share.
SETTLE_SECONDS = 300


@pytest.fixture(scope="module")
def four(box: Box) -> list[dict[str, Any]]:
    """The leases of four VMs that run."""
    cluster = box.submit("faults", 4, options=STAYS)
    state = box.until("four VMs run", lambda now: count_working(now, cluster) == 4, START_SECONDS)
    return sorted(of_clusters(state, cluster), key=lambda one: str(one["domain"]))


def count_working(state: dict[str, Any], *clusters: str) -> int:
    return sum(working(lease, state) for lease in of_clusters(state, *clusters))


def all_live_on(box: Box, four: list[dict[str, Any]]) -> None:
    """The same VMs, not others of their names, have written heartbeats since now."""
    before = box.state()
    names = {lease["domain"] for lease in four}
    beats = {lease["domain"]: lease["heartbeat"] for lease in before["leases"]}

    def beating(now: dict[str, Any]) -> bool:
        found = {lease["domain"]: lease["heartbeat"] for lease in now["leases"]}
        return all(found.get(name) and found[name] != beats.get(name) for name in names)

    after = box.until("the four VMs write heartbeats", beating, SETTLE_SECONDS)
    assert {lease["uuid"] for lease in four} <= {lease["uuid"] for lease in after["leases"]}
    assert names <= set(after["domains"])
    assert [after["jobs"][job_of(lease)]["NumJobStarts"] for lease in four] == [1] * 4
    assert not any(lease["stopping"] for lease in after["leases"])


@pytest.fixture(scope="module")
def ids(box: Box, four: list[dict[str, Any]]) -> dict[str, int]:
    """libvirt's number of each VM, another one for another start."""
    now = box.state()["domains"]
    return {lease["domain"]: now[lease["domain"]] for lease in four}


def test_vac_watch_is_killed(box: Box, four: list[dict[str, Any]]) -> None:
    box.run("systemctl start --no-block vac_watch; sleep 0.4; systemctl kill --signal=KILL vac_watch || true")
    box.run("systemctl reset-failed vac_watch || true; systemctl start vac_watch")
    all_live_on(box, four)


def test_libvirtd_is_killed(box: Box, four: list[dict[str, Any]], ids: dict[str, int]) -> None:
    box.run("systemctl kill --signal=KILL libvirtd")
    box.until("libvirtd is back", lambda now: len(now["domains"]) >= 4, SETTLE_SECONDS)
    all_live_on(box, four)
    now = box.state()["domains"]
    assert {lease["domain"]: now[lease["domain"]] for lease in four} == ids


def test_nfs_server_threads_and_daemons_are_killed(box: Box, four: list[dict[str, Any]]) -> None:
    box.run("kill -9 $(pgrep -x nfsd) $(pgrep -x rpc.mountd) $(pgrep -x nfsdcld) 2>/dev/null || true")
    box.run("systemctl restart nfs-server")
    box.until("everything is exported again", lambda now: count_working(now, cluster_of(four[0])) == 4, SETTLE_SECONDS)
    all_live_on(box, four)


def test_nginx_is_killed(box: Box, four: list[dict[str, Any]]) -> None:
    assert address_answers(box)
    box.run("systemctl kill --signal=KILL vac_http.service")
    deadline = time.monotonic() + SETTLE_SECONDS
    while not address_answers(box):
        assert time.monotonic() < deadline, "nginx does not come back by itself"
        time.sleep(2)
    all_live_on(box, four)


def address_answers(box: Box) -> bool:
    """Whether nginx is there: who has no lease gets a 403."""
    return box.http_status("http://169.254.169.253/joboutputs/") == "403"


def starter(lease: dict[str, Any]) -> str:
    """The starter's process id, which HTCondor names the sandbox after."""
    return str(lease["sandbox"]).partition("dir_")[2].partition("/")[0]


def test_qemu_starter_and_vm_gahp_are_killed(box: Box, four: list[dict[str, Any]]) -> None:
    qemu, by_starter, by_gahp, untouched = four
    gahp = f"$(pgrep -P {starter(by_gahp)} -f vm-gahp)"
    box.run(f"kill -9 $(pgrep -f '[g]uest={qemu['domain']},') {starter(by_starter)} {gahp}")
    gone = {lease["uuid"] for lease in (qemu, by_starter, by_gahp)}
    state = box.until(
        "their leases are taken back",
        lambda now: not gone & {lease["uuid"] for lease in now["leases"]} and nothing_leaked(now),
        SETTLE_SECONDS,
    )
    assert untouched["uuid"] in {lease["uuid"] for lease in state["leases"]}
    state = box.until(
        "the job of the killed QEMU ends",
        lambda now: now["jobs"][job_of(qemu)]["JobStatus"] == COMPLETED,
        SETTLE_SECONDS,
    )
    told = state["jobs"][job_of(qemu)]
    assert (told["NumJobStarts"], told["VacCause"], told.get("ShutdownCode")) == (1, "crashed", None)
    assert told["VacRuntime"] > 0


def test_removed_vms_leave_nothing(box: Box, four: list[dict[str, Any]]) -> None:
    box.remove(cluster_of(four[0]))
    assert leaks(box.state()) == []


def runs_once_to_its_end(box: Box, cluster: str) -> None:
    """The job's VM runs once, tells 600, and nothing of any try is left, not even a sandbox that is on its way out."""
    job = f"{cluster}.0"

    def over(now: dict[str, Any]) -> bool:
        return now["jobs"][job]["JobStatus"] == COMPLETED and not of_clusters(now, cluster) and nothing_leaked(now)

    told = box.until("the VM runs to its end, and nothing of it is left", over, START_SECONDS)["jobs"][job]
    assert (told["NumJobStarts"], told.get("ShutdownCode")) == (1, 600)


def when_leased(box: Box, command: str) -> None:
    """Have a command run on the box the moment a VM has its lease, which is in the middle of its prepare hook."""
    box.run(
        "nohup sh -c 'for i in $(seq 2400); do"
        f" [ -e /run/condor_vac/leases/*.json ] && {command} && exit; sleep 0.1; done'"
        " > /dev/null 2>&1 &"
    )


def vm_universe(box: Box) -> str:
    """What the pool hears of the node's VM universe, and why it is away."""
    return box.run("condor_status -af HasVM VMOfflineReason")


def test_a_job_is_removed_as_its_vm_starts(box: Box) -> None:
    # HTCondor runs the exit hook, and when the prepare hook ends meanwhile it starts the VM none the less.
    hook = "/usr/local/libexec/vac_exit_hook"
    box.run(f"mv {hook} {hook}.real")
    try:
        box.put(
            hook,
            b"#!/bin/sh\nfor i in $(seq 200); do\n"
            b"  pgrep -f '[c]ondor_vm-gahp -f -M 3' > /dev/null && break; sleep 0.1\ndone\n"
            b'exec /usr/local/libexec/vac_exit_hook.real "$@"\n',
        )
        box.run(f"chmod 755 {hook}")
        when_leased(box, "condor_rm -constraint JobUniverse==13")
        cluster = box.submit("faults", 1, options=STAYS)
        started = f"grep -h 'Starting a VM universe job with ID: {cluster}.0' /var/log/condor/StarterLog* || true"
        box.until("the VM is started", lambda _: box.run(started), SETTLE_SECONDS)
        box.until("nothing is left of it", lambda now: not now["leases"] and nothing_leaked(now), SETTLE_SECONDS)
    finally:
        box.run(f"mv {hook}.real {hook}")
    assert vm_universe(box) == "true undefined"


def test_a_failed_start_takes_the_vm_universe_away_for_a_while_only(box: Box) -> None:
    ad = 'HasVM = false\\nVMOfflineReason = "VMGAHP_ERR_INTERNAL"\\n'
    box.run(f"printf '{ad}' | condor_update_machine_ad /dev/stdin")
    box.until("the node offers no VM", lambda _: vm_universe(box) == "false VMGAHP_ERR_INTERNAL", SETTLE_SECONDS)
    box.run("rm -f /run/condor_vac/vm_universe_looked; systemctl start vac_watch")
    box.until("the node offers VMs again", lambda _: vm_universe(box) == "true undefined", SETTLE_SECONDS)


def test_the_prepare_hook_is_killed_half_way(box: Box) -> None:
    when_leased(box, "pkill -9 -f [l]ibexec/vac_prepare_hook")
    cluster = box.submit("faults", 1, options=ENDS)
    job = f"{cluster}.0"
    # A try that ends before its VM starts is no start of the job's (NumJobStarts).
    box.until("the job is tried again", lambda now: now["jobs"][job].get("NumShadowStarts", 0) > 1)
    runs_once_to_its_end(box, cluster)


def test_the_disk_of_the_sandboxes_is_full(box: Box) -> None:
    # Their disk alone: this box is the access point as well, and a schedd whose disk is full stops. There is room
    # for what HTCondor itself puts into a sandbox, not for a context ISO. A VM of another job would need that room,
    # and the mount would hide its sandbox.
    assert box.state()["leases"] == []
    box.run(f"mount -t tmpfs -o size=128k,mode=0755,uid=$(id -u condor),gid=$(id -g condor) tmpfs {EXECUTE}")
    try:
        # By HTTP, because nothing is exported from a file system in memory.
        cluster = box.submit("faults", 1, options=ENDS, machinetype={"sharing": "http"})
        job = f"{cluster}.0"
        state = box.until("the job is tried again", lambda now: now["jobs"][job].get("NumShadowStarts", 0) > 1)
        assert (state["jobs"][job]["NumJobStarts"], state["domains"]) == (0, {})
        refusals = box.run("grep -h 'PREPARE_JOB Failure' /var/log/condor/StarterLog*")
        assert "No space left on device" in refusals
    finally:
        box.run(f"umount -l {EXECUTE}")
    # A try for which not even HTCondor's own files had room is one that HTCondor holds (code 13, subcode 28).
    box.host.run(f"condor_release {cluster}")
    runs_once_to_its_end(box, cluster)


@pytest.fixture(scope="module")
def two(box: Box) -> str:
    """The cluster of two VMs that run."""
    cluster = box.submit("faults", 2, options=STAYS)
    box.until("two VMs run", lambda now: count_working(now, cluster) == 2, START_SECONDS)
    return cluster


def test_condor_is_restarted(box: Box, two: str) -> None:
    before = {lease["uuid"] for lease in of_clusters(box.state(), two)}
    box.run("systemctl restart condor")
    box.until(
        "the VMs' leases are taken back",
        lambda now: not before & {lease["uuid"] for lease in now["leases"]} and nothing_leaked(now),
        SETTLE_SECONDS,
    )
    box.until("two VMs run again", lambda now: count_working(now, two) == 2, START_SECONDS)


def boot_id(box: Box) -> str:
    """Which boot of the machine this is; empty while it cannot be asked."""
    try:
        return str(box.host.run("cat /proc/sys/kernel/random/boot_id").stdout).strip()
    except RuntimeError:  # what testinfra makes of ssh's exit code 255
        return ""


def test_the_power_is_cut(box: Box, two: str) -> None:
    state = box.state()
    before, sandboxes = {lease["uuid"] for lease in of_clusters(state, two)}, set(state["sandboxes"])
    boot = boot_id(box)
    assert boot
    code = (
        "import sys; from tests.lab import qemu, state;"
        " qemu.command(state.require(sys.argv[1]).directory, 'system_reset')"
    )
    subprocess.run([sys.executable, "-c", code, box.host.backend.host], cwd=ROOT, check=True, env=dict(os.environ))
    deadline = time.monotonic() + START_SECONDS
    while boot_id(box) in {"", boot}:
        assert time.monotonic() < deadline, "the machine does not come back"
        time.sleep(5)
    box.until(
        "nothing is left of before",
        lambda now: (
            not before & {lease["uuid"] for lease in now["leases"]}
            and not sandboxes & set(now["sandboxes"])
            and nothing_leaked(now)
        ),
        SETTLE_SECONDS,
    )
    box.until("the pool runs VMs again", lambda now: count_working(now, two) == 2, START_SECONDS)


def lives_or_is_gone(lease: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether a VM writes heartbeats since its lease was looked at, or nothing of it is left."""
    same = [one for one in now["leases"] if one["uuid"] == lease["uuid"]]
    return not same or same[0]["heartbeat"] != lease["heartbeat"]


@pytest.mark.parametrize("step", [3600, -3600])
def test_the_clock_steps_by_an_hour(box: Box, two: str, step: int) -> None:
    # HTCondor's master restarts all daemons after a jump of MAX_TIME_SKIP, 20 minutes: VMs end because their jobs'
    # leases are over by the new time, or live on while the startd waits for them. vac_watch ends none.
    box.until("two VMs run", lambda now: count_working(now, two) == 2, START_SECONDS)
    # The watch goes on without a starter that is gone already, and says so at its end.
    box.run(f"date -s @$(($(date +%s) + {step})) && (systemctl start vac_watch || true)")
    before = of_clusters(box.state(), two)
    assert not any(lease["stopping"] for lease in before)
    box.until(
        "each VM lives on or is gone",
        lambda now: nothing_leaked(now) and all(lives_or_is_gone(one, now) for one in before),
        START_SECONDS,
    )
    # What waits for VMs, or for the leases of jobs by the old time, waits no more.
    box.run("systemctl restart condor")
    box.until("the pool answers again", lambda now: f"{two}.0" in now["jobs"])


def test_at_the_end_a_vm_runs_to_its_code_and_the_box_is_clean(box: Box, two: str) -> None:
    box.remove(two)
    cluster = box.submit("faults", 1, options=ENDS)
    job = f"{cluster}.0"
    state = box.until("a VM ends", lambda now: now["jobs"][job].get("JobStatus") == COMPLETED, START_SECONDS)
    assert state["jobs"][job]["ShutdownCode"] == 600
    assert state["jobs"][job]["NumJobStarts"] == 1
    assert leaks(box.until("the node is clean", nothing_leaked, SETTLE_SECONDS)) == []
    box.run(f"rm -rf /var/lib/condor_vac/tests {box.tool}")
