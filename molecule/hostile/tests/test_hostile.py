# SPDX-License-Identifier: GPL-3.0-or-later
"""Attempts of a job's user that need a real node: sudo, vac_lease's arguments, a job's disks.

Each is refused in the words of who refuses; the same user's one permitted command shows that nothing else did.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from boxes import HELD, Box

LEASE = "/usr/local/libexec/vac_lease"
START_SECONDS = 900
NO_RULE = r"sudo: (a password is required|sorry, you are not allowed to (preserve|set) .*)"


def as_user(box: Box, user: str, command: str) -> Any:
    """A command of a user of the node."""
    return box.host.run(f"runuser -u {user} -- {command} < /dev/null")


def test_the_owner_may_run_vac_lease(box: Box) -> None:
    assert json.loads(as_user(box, "vac", f"sudo -n {LEASE} list").stdout) == []


@pytest.mark.parametrize(
    "command",
    [
        "/usr/sbin/exportfs -o rw,no_root_squash '*:/'",
        "/usr/sbin/exportfs -v",
        "/bin/sh -c id",
        "-s",
        "-u condor id",
        "-e /etc/shadow",
        "/usr/local/libexec/../libexec/vac_watch",
        "/usr/local/libexec/vac_watch",
        "-E PYTHONPATH=/tmp /usr/local/libexec/vac_lease list",
        "PYTHONSTARTUP=/tmp/x LD_PRELOAD=/tmp/x.so /usr/local/libexec/vac_lease list",
        "python3 /usr/local/libexec/vac_lease list",
    ],
)
def test_sudo_refuses_anything_else(box: Box, command: str) -> None:
    done = as_user(box, "vac", f"sudo -n {command}")
    assert (done.rc, done.stdout) == (1, "")
    assert re.fullmatch(NO_RULE, done.stderr.strip().splitlines()[-1]), done.stderr


@pytest.mark.parametrize("arguments", ["", "acquire x", "exportfs", "--help", "acquire -o rw"])
def test_vac_lease_refuses_other_arguments(box: Box, arguments: str) -> None:
    done = as_user(box, "vac", f"sudo -n {LEASE} {arguments}")
    assert (done.rc, done.stdout) == (2, "")
    assert done.stderr.startswith("vac_lease: usage: vac_lease acquire|release|end|list")


@pytest.mark.parametrize("user", ["nobody", "daemon", "condor"])
def test_sudo_refuses_a_user_who_is_not_in_the_rule(box: Box, user: str) -> None:
    done = as_user(box, user, f"sudo -n {LEASE} list")
    assert (done.rc, done.stdout) == (1, "")
    assert re.fullmatch(NO_RULE, done.stderr.strip().splitlines()[-1]), done.stderr


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
