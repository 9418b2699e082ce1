# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a worker node, ``/etc/condor_vac/worker.json``: what its VMs use, and where."""

from __future__ import annotations

import os
from typing import NamedTuple

from condor_vac.base import fields as f
from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.shared import DOMAIN, FIRST_NUMBER, IMAGE_DIRECTORY, LIBVIRT_NAME, SUBNET
from condor_vac.worker import network

PATH = "/etc/condor_vac/worker.json"
NOT_A_WORKER_NODE = (
    "this machine is not a worker node; run this on one, or put it into the group worker_node and run "
    "vacuum.htcondor.site"
)


class Settings(NamedTuple):
    """One worker node. ``network``, ``bridge`` and ``filter`` are libvirt's; ``None`` is JSON's null."""

    network: str = "vac"
    bridge: str = "vac0"
    subnet: str = SUBNET
    filter: str = "clean-traffic"
    # HTCondor's EXECUTE: sandboxes are below it, and nothing else is ever shared with a VM.
    execute: str = "/var/lib/condor/execute"
    image_dir: str = IMAGE_DIRECTORY
    # What all images together may take; 0: what the disk has.
    image_budget_gb: int = 0
    # What follows the host part of a VM's name.
    hostname_domain: str = DOMAIN
    # How VMs here can find features and outputs.
    sharing: tuple[str, ...] = ("nfs",)
    # nginx's own group, which may write outputs and read metadata of the VMs that it serves.
    http_group: str = "vac_http"
    # What a guest tries, in this order; HTCondorVMs' guests speak 3.
    nfs_versions: tuple[str, ...] = ("3", "4")
    # What the outputs of one VM may take of this node's disk, in MiB; a VM that takes more is stopped.
    outputs_mb: int = 1024
    # MiB that one VM may read or write each second on each of its disks; 0: as many as the node can.
    disk_mb_per_second: int = 0
    # The names that go into user data and machine features where a machinetype has none of its own.
    site: str | None = None
    space: str | None = None
    # HS06 of one processor of this node; null: not measured, and the keys are left out.
    hs06_per_processor: float | None = None
    # The least notice, in seconds, that a VM gets between the announcement of a shutdown time and that time.
    grace_seconds: int = 3600
    # Whether VMs may be emulated where KVM does not work, many times slower: for trials and tests.
    emulation: bool = False
    # How many jobs the negotiator may start here in one cycle (NUM_CLAIMS); 0: matching is the site's own.
    starts_per_cycle: int = 0
    # Users who own VM jobs: sudo lets each of them run vac_lease, and nothing else.
    owners: tuple[str, ...] = ("vac",)
    # Host names or addresses of the access points that send VM jobs.
    access_points: tuple[str, ...] = ()
    # How many seconds a VM has to end by itself when another job gets its slot; null: other jobs get no slot of a VM.
    backfill_notice: int | None = None


_LIBVIRT_NAME = f.matching(LIBVIRT_NAME, "must be letters, digits and _ . -")

CHECKS: dict[str, f.Check] = {
    "network": _LIBVIRT_NAME,
    "bridge": f.interface_name,
    "subnet": f.line(32),
    "filter": _LIBVIRT_NAME,
    "execute": f.absolute_path,
    "image_dir": f.absolute_path,
    "image_budget_gb": f.integer(0, 1 << 20),
    "hostname_domain": f.line(200),
    "sharing": f.list_of(f.one_of("nfs", "http"), 2),
    "http_group": f.matching(r"[a-z_][a-z0-9_-]{0,31}", "must be the name of a group"),
    "outputs_mb": f.integer(1, 1 << 24),
    "disk_mb_per_second": f.integer(0, 1 << 20),
    "nfs_versions": f.list_of(f.one_of("3", "4", "4.0", "4.1", "4.2"), 5),
    "site": f.optional(f.space_name),
    "space": f.optional(f.space_name),
    "hs06_per_processor": f.optional(f.number(0.001, 1e6)),
    "grace_seconds": f.integer(0, 30 * 86400),
    "emulation": f.boolean,
    "starts_per_cycle": f.integer(0, 9999),
    "owners": f.list_of(f.user_name, 100),
    "access_points": f.list_of(f.line(255), 1000),
    "backfill_notice": f.optional(f.integer(0, 7 * 86400)),
}


def load(path: str = PATH) -> Settings:
    """The settings in the file; keys that it leaves out have their defaults.

    Raises UsageError (one line: file, key, remedy), also when there is no file: a node that was never set up
    must not guess which network and directories it may share.
    """
    require(path)
    return from_mapping(f.load_object(path), path)


def require(path: str | None = None) -> None:
    """Raise UsageError unless this machine has a worker node's settings, however wrong they are."""
    path = path or PATH
    if not os.path.lexists(path):
        raise UsageError(f"{path}: does not exist: {NOT_A_WORKER_NODE}")


def of_this_node() -> Settings:
    """``load`` for the programs that run while VMs come and go: what is wrong is the node, never the job.

    Raises VacError, which makes HTCondor try the job on another node or later instead of holding it.
    """
    try:
        return load()
    except UsageError as error:
        raise VacError(str(error)) from error


def from_mapping(data: object, source: str) -> Settings:
    """The settings that a JSON object holds; ``source`` is what errors call it. Raises UsageError."""
    settings = Settings(**f.check_all(data, CHECKS, set(), source))
    if not settings.sharing:
        raise UsageError(f"{source}: sharing: must name nfs, http or both; VMs would find nothing")
    if not settings.nfs_versions:
        raise UsageError(f"{source}: nfs_versions: must name at least one version; leave it out for the default")
    if not settings.owners:
        raise UsageError(f"{source}: owners: must name at least one user")
    try:
        network.host(settings.subnet, FIRST_NUMBER, settings.hostname_domain)
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from error
    return settings
