# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong without a word: hidden mounts, full disks, old images, a wrong clock.

Credentials are `credentials`'s.
"""

from __future__ import annotations

import os
import re

from condor_vac.base import x509
from condor_vac.base.errors import VacError
from condor_vac.base.findings import Finding
from condor_vac.condor import node_clock
from condor_vac.image import failures
from condor_vac.image.fetch import RESERVE_BYTES
from condor_vac.image.store import Store
from condor_vac.worker import startd
from condor_vac.worker.checks.node import Check, Node

LEAST_FILES = 1000
_TRUE = r"(?i:true|t|yes|1)"


def hidden_mounts(node: Node) -> list[Finding]:
    """libvirt can see the sandboxes: HTCondor does not give each job a logical volume that only its starter sees.

    With both switched on the starter advertises HasVM = False (starter_v61_main.cpp, since HTCondor 24.3).
    """
    if not re.fullmatch(_TRUE, node.knobs.get("lvm_hide_mount", "")):
        return []
    if not re.fullmatch(_TRUE, node.knobs.get("startd_enforce_disk_limits", "")):
        return []
    what = "LVM_HIDE_MOUNT is True and STARTD_ENFORCE_DISK_LIMITS as well: HTCondor then advertises HasVM = False"
    return [Finding(what, "set LVM_HIDE_MOUNT = False, then condor_restart -peaceful -startd")]


def disks(node: Node) -> list[Finding]:
    """Images and sandboxes have room: a VM that finds none fails at its start, or stops in its work."""
    found = []
    places = {
        node.settings.image_dir: "condor_vac image list shows what is there",
        node.settings.execute: "see du -xsh",
    }
    for directory, remedy in places.items():
        if not os.path.isdir(node.path(directory)):
            continue
        try:
            free, files = node.room(directory)
        except OSError as error:
            raise VacError(f"{directory}: {error.strerror}") from error
        if free < RESERVE_BYTES:
            found.append(Finding(f"{directory} has {free >> 20} MiB left", f"make room; {remedy}"))
        if files is not None and files < LEAST_FILES:
            found.append(Finding(f"{directory} has room for {files} more files", f"remove files; {remedy}"))
    return found


def servers(node: Node) -> list[Finding]:
    """The servers of images answer: VMs go on with the version that is there, and it gets older."""
    store = Store(node.path(node.settings.image_dir))
    found = []
    for name, failure in sorted(failures.load(store).items()):
        what = f"the image {name[:80]} could not be refreshed since {x509.utc(failure.since)}: {failure.error}"
        found.append(Finding(what, "have its server answer; condor_vac image refresh asks it at once"))
    return found


def clock(node: Node) -> list[Finding]:
    """This node's clock is the central manager's: tokens and leases are judged by both."""
    name = str(node.slot.get("Name"))
    wanted = ",".join(("Name", *node_clock.ATTRIBUTES))
    for ad in startd.ads("condor_status", "-json", "-attributes", wanted, "-constraint", f'Name == "{name}"'):
        wrong = node_clock.fault(ad)
        if wrong is not None:
            what = f"this node's clock was {wrong} the central manager's when the startd reported last"
            return [Finding(what, node_clock.REMEDY)]
    return []


CHECKS = (
    Check("condor", "hidden mounts", hidden_mounts),
    Check("images", "room", disks),
    Check("images", "servers", servers),
    Check("checks", "clock", clock),
)
