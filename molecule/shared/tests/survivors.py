# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs through which a fault goes, and the node that they run on: what the scenarios `faults` and `machine` share."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from boxes import COMPLETED, Box, nothing_leaked, of_clusters, working

ROOT = Path(__file__).resolve().parents[3]
QUEUE = "faults"
# Limits of what never takes so long, even where several VMs boot at once and emulated ones in an emulated machine.
START_SECONDS = 1200
SETTLE_SECONDS = 600
BOOT_SECONDS = 1200


def submit(box: Box, count: int) -> str:
    """Submit VMs that write heartbeats and wait for a task each, and then end with 200; returns the cluster."""
    options = {"queue_url": box.queue(QUEUE), "tasks_per_vm": "1", "idle_seconds": "86400", "heartbeat_interval": "5"}
    return box.submit("survivors", count, options=options)


def count_working(state: dict[str, Any], *clusters: str) -> int:
    """How many VMs of these clusters run and have written a heartbeat."""
    return sum(working(lease, state) for lease in of_clusters(state, *clusters))


def count_running(state: dict[str, Any], *clusters: str) -> int:
    """How many VMs of these clusters have a domain."""
    return sum(lease["domain"] in state["domains"] for lease in of_clusters(state, *clusters))


def started(box: Box, cluster: str, count: int) -> list[dict[str, Any]]:
    """The leases of a cluster's VMs, in the order of their jobs, once so many have written a heartbeat."""
    state = box.until(f"{count} VMs work", lambda now: count_working(now, cluster) == count, START_SECONDS)
    return sorted(of_clusters(state, cluster), key=lambda one: str(one["domain"]))


def all_live_on(box: Box, leases: list[dict[str, Any]]) -> None:
    """Assert that the VMs of these leases, no later ones of their jobs, write heartbeats and are not being ended."""
    before = {lease["uuid"]: lease["heartbeat"] for lease in box.state()["leases"]}
    uuids = {lease["uuid"] for lease in leases}
    assert uuids <= set(before)

    def beating(now: dict[str, Any]) -> bool:
        found = {lease["uuid"]: lease for lease in now["leases"]}
        return all(
            uuid in found and working(found[uuid], now) and found[uuid]["heartbeat"] != before[uuid] for uuid in uuids
        )

    after = box.until(f"{len(uuids)} VMs write heartbeats", beating, SETTLE_SECONDS)
    assert not any(lease["stopping"] for lease in after["leases"])


def taken_back(box: Box, uuids: set[str], sandboxes: set[str] | None = None) -> dict[str, Any]:
    """The state once nothing of these leases is left, nor of the sandboxes (their names), nor of anything else."""
    return box.until(
        "nothing is left of what died",
        lambda now: (
            not uuids & {lease["uuid"] for lease in now["leases"]}
            and not (sandboxes or set()) & set(now["sandboxes"])
            and nothing_leaked(now)
        ),
        SETTLE_SECONDS,
    )


def do_their_work(box: Box, cluster: str, count: int) -> list[dict[str, Any]]:
    """Give each VM its task; returns the ads of the jobs that end by it, all with 200. Others had ended before."""
    before = {name for name, ad in box.state()["jobs"].items() if ad["JobStatus"] == COMPLETED}

    def ended(now: dict[str, Any]) -> list[dict[str, Any]]:
        found = {name: ad for name, ad in now["jobs"].items() if name.partition(".")[0] == cluster}
        return [ad for name, ad in found.items() if ad["JobStatus"] == COMPLETED and name not in before]

    for _ in range(count):
        box.add_task(QUEUE, 1)
    ads = ended(box.until(f"{count} VMs do their tasks", lambda now: len(ended(now)) == count, START_SECONDS))
    assert [ad.get("ShutdownCode") for ad in ads] == [200] * count, ads
    return ads


def kill(box: Box, name: str, processes: str) -> None:
    """SIGKILL the one process that a shell command prints, and see that it is gone. Fails if there is none."""
    script = f'set -- $({processes}); [ $# = 1 ] || {{ echo "{name}: processes: $*"; exit 1; }}; kill -9 $1; echo $1'
    pid = box.run(script)
    deadline = time.monotonic() + SETTLE_SECONDS
    while box.host.run(f"grep -q '^State:[[:space:]]*[^Z]' /proc/{pid}/status").rc == 0:
        assert time.monotonic() < deadline, f"{name}: process {pid} does not end by SIGKILL"
        time.sleep(0.2)


def main_pid(box: Box, service: str) -> int:
    """The main process of a service, 0 if it has none."""
    return int(box.run(f"systemctl show --property MainPID --value {service}"))


def kill_service(box: Box, service: str) -> None:
    """SIGKILL the main process of a service that runs; asserts that it was this that ended it."""
    pid = main_pid(box, service)
    assert pid != 0, f"{service} does not run"
    box.run(f"systemctl kill --kill-whom=main --signal=KILL {service}")
    deadline = time.monotonic() + SETTLE_SECONDS
    while main_pid(box, service) == pid:
        assert time.monotonic() < deadline, f"{service}: process {pid} does not end by SIGKILL"
        time.sleep(0.2)


def the_power_is_cut(box: Box, cluster: str, count: int) -> None:
    """Cut the node's power with VMs running, turn it on again, and see that the jobs' VMs run again."""
    state = box.state()
    before = of_clusters(state, cluster)
    assert count_running(state, cluster) == count
    boot = box.run("cat /proc/sys/kernel/random/boot_id")
    for verb in ("cut", "boot"):
        subprocess.run(
            [sys.executable, "-m", "tests.lab", verb, box.host.backend.host],
            cwd=ROOT,
            check=True,
            env=dict(os.environ),
            timeout=BOOT_SECONDS,
        )
    assert box.run("cat /proc/sys/kernel/random/boot_id") != boot
    taken_back(box, {lease["uuid"] for lease in before}, set(state["sandboxes"]))
    run_again(box, cluster, count, before)


def run_again(box: Box, cluster: str, count: int, before: list[dict[str, Any]]) -> dict[str, Any]:
    """The state once so many of a cluster's VMs run, none of them one of the leases of before."""
    old = {lease["uuid"] for lease in before}
    return box.until(
        f"{count} VMs run again",
        lambda now: (
            count_running(now, cluster) == count and not old & {lease["uuid"] for lease in of_clusters(now, cluster)}
        ),
        START_SECONDS,
    )
