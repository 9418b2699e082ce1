# SPDX-License-Identifier: GPL-3.0-or-later
"""Attempts that need a real node: sudo, exportfs, libvirt, a job's disks, and a guest on the VMs' network."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from boxes import COMPLETED, HELD, PLACE, STRANGER_ADDRESS, Box, cluster_of, leaks, nothing_leaked, of_clusters, working

ATTACK = Path(__file__).with_name("attack.user_data")
LEASE = "/usr/local/libexec/vac_lease"
REQUEST = {"domain": "vac_x_1.0", "machinetype": "x", "fizzle_seconds": 1, "max_wallclock_seconds": 60}
START_SECONDS = 900


def as_user(box: Box, user: str, command: str, stdin: str = "") -> Any:
    """A command of a user of the node."""
    return box.host.run(f"echo {shlex.quote(stdin)} | runuser -u {user} -- {command}")


@pytest.mark.parametrize(
    "command",
    [
        "sudo -n /usr/sbin/exportfs -o rw,no_root_squash '*:/'",
        "sudo -n /usr/sbin/exportfs -v",
        "sudo -n /bin/sh -c id",
        "sudo -n -s",
        "sudo -n -u condor id",
        "sudo -n -e /etc/shadow",
        "sudo -n /usr/local/libexec/../libexec/vac_watch",
        "sudo -n /usr/local/libexec/vac_watch",
        "sudo -n -E PYTHONPATH=/tmp /usr/local/libexec/vac_lease list",
        "sudo -n PYTHONSTARTUP=/tmp/x LD_PRELOAD=/tmp/x.so /usr/local/libexec/vac_lease list",
        "sudo -n python3 /usr/local/libexec/vac_lease list",
    ],
)
def test_sudo_with_anything_else(box: Box, command: str) -> None:
    assert as_user(box, "vac", command).rc != 0
    assert "no_root_squash" not in box.run("exportfs -s")


@pytest.mark.parametrize("arguments", ["", "acquire x", "exportfs", "--help", "acquire -o rw"])
def test_vac_lease_with_other_arguments(box: Box, arguments: str) -> None:
    done = as_user(box, "vac", f"sudo -n {LEASE} {arguments}", "{}")
    assert done.rc == 2
    assert "usage" in done.stderr


@pytest.mark.parametrize("user", ["nobody", "daemon", "condor"])
def test_a_user_who_is_not_in_the_rule(box: Box, user: str) -> None:
    assert as_user(box, user, f"sudo -n {LEASE} list").rc != 0


@pytest.mark.parametrize(
    "sandbox", ["/", "/etc", "/home", "/var/lib/condor/execute", "/var/lib/condor/execute/dir_1/..", "/root"]
)
def test_exports_of_what_is_no_sandbox(box: Box, sandbox: str) -> None:
    before = box.run("exportfs -s")
    done = as_user(box, "vac", f"sudo -n {LEASE} acquire", json.dumps({**REQUEST, "sandbox": sandbox}))
    assert done.rc == 2
    assert "sandbox" in done.stderr
    assert box.run("exportfs -s") == before


def test_an_export_of_a_sandbox_of_somebody_else(box: Box) -> None:
    place = "/var/lib/condor/execute/dir_999999"
    box.run(f"install -d -o daemon {place}")
    try:
        done = as_user(box, "vac", f"sudo -n {LEASE} acquire", json.dumps({**REQUEST, "sandbox": place}))
        assert done.rc == 2
        assert "own sandbox" in done.stderr
        assert place not in box.run("exportfs -s")
    finally:
        box.run(f"rm -rf {place}")


DISKS = {
    "shadow": "/etc/shadow:vda:r:raw",
    "device": "/dev/nvme0n1:vda:w:raw",
    "markup": "x.iso'/><source dev='/dev/nvme0n1:vda:r:raw",
}


def test_jobs_whose_disks_are_not_theirs_are_held(box: Box) -> None:
    clusters = {name: box.submit(f"disk-{name}", commands={"vm_disk": disk}) for name, disk in DISKS.items()}
    state = box.until(
        "the jobs are held",
        lambda now: all(now["jobs"][f"{one}.0"]["JobStatus"] == HELD for one in clusters.values()),
        START_SECONDS,
    )
    for name, cluster in clusters.items():
        job = state["jobs"][f"{cluster}.0"]
        assert job["HoldReasonCode"] == 19, (name, job)
        assert "vm_disk" in job["HoldReason"] or "vm_Disk" in job["HoldReason"], (name, job)
    box.remove(*clusters.values())


@pytest.fixture(scope="module")
def victim(box: Box) -> Iterator[dict[str, Any]]:
    """The lease of a VM that runs and writes heartbeats."""
    cluster = box.submit("victim", options={"mode": "hang", "heartbeat_interval": "5"})
    state = box.until(
        "the victim runs", lambda now: any(working(one, now) for one in of_clusters(now, cluster)), START_SECONDS
    )
    yield of_clusters(state, cluster)[0]
    # The last test waits for its end; this is for a run that does not come so far.
    box.host.run(f"condor_rm {cluster}")


@pytest.mark.parametrize("version", [3, 4])
def test_a_host_without_a_lease_mounts_nothing(box: Box, victim: dict[str, Any], version: int) -> None:
    own, options = "/srv/stranger", f"-o nfsvers={version},nolock,soft,timeo=100,retrans=2,retry=0"
    box.run(f"mkdir -p {own} /tmp/point && exportfs -o ro,no_subtree_check {STRANGER_ADDRESS}:{own}")
    try:
        assert box.as_stranger(f"mount.nfs 192.168.86.1:{own} /tmp/point {options}").rc == 0, "not even what it may"
    finally:
        box.run(f"exportfs -u {STRANGER_ADDRESS}:{own} && rmdir {own}")
    for place in (victim["joboutputs"], victim["machinefeatures"], victim["sandbox"], "/etc", "/"):
        done = box.as_stranger(f"mount.nfs 192.168.86.1:{place} /tmp/point {options}")
        assert done.rc == 32, (place, done.stdout, done.stderr)
        assert "access denied by server" in done.stderr, (place, done.stderr)


@pytest.fixture(scope="module")
def attack(box: Box, victim: dict[str, Any]) -> dict[str, bool]:
    """What the attacking VM could do, while the other VM ran."""
    options = {
        "victim": victim["sandbox"],
        "victim_address": victim["address"],
        "gateway": victim["gateway"],
        "execute": "/var/lib/condor/execute",
    }
    cluster = box.submit(
        "attacker",
        user_data=ATTACK.read_bytes(),
        options=options,
        machinetype={"heartbeat_file": None, "heartbeat_seconds": 0},
    )
    state = box.until(
        "the attack is over", lambda now: now["jobs"][f"{cluster}.0"].get("JobStatus") == COMPLETED, 2 * START_SECONDS
    )
    place = f"{PLACE}/attacker/0/joboutputs"
    lines = box.run(f"cat {place}/attack.log").splitlines()
    print(box.run(f"cat {place}/said.log"))
    files = box.run(f"ls -ln {place}")
    ad = state["jobs"][f"{cluster}.0"]
    survivor = of_clusters(box.state(), cluster_of(victim))
    assert [one["uuid"] for one in survivor] == [victim["uuid"]]
    assert box.run(f"ls -A {victim['joboutputs']}").split()
    assert ad["ShutdownCode"] == 200, ad
    assert ad["ShutdownMessage"] == '"] ShutdownCode = 300; X = ["', ad
    assert "rws" not in files, files
    assert "link.log" not in files, files
    assert "pipe.log" not in files, files
    return {name: answer == "yes" for name, _, answer in (line.rpartition(": ") for line in lines)}


MAY = {
    "its own features, to see that it can mount",
    "the host, by its own address",
    "the host, by its own address again",
}


def test_a_guest_reaches_only_what_is_its_own(attack: dict[str, bool]) -> None:
    assert {name for name, done in attack.items() if done} == MAY
    assert len(attack) >= 20, attack


def test_the_node_is_as_it_was(box: Box, attack: dict[str, bool], victim: dict[str, Any]) -> None:
    assert attack
    box.remove(cluster_of(victim))
    assert leaks(box.until("the node is clean", nothing_leaked)) == []
    box.run(f"rm -rf {PLACE} {box.tool}")
