# SPDX-License-Identifier: GPL-3.0-or-later
"""Granting a lease: an address, a MAC, and three directories of the caller's own sandbox for that address alone.

Nothing in a request can make it touch anything else: the sandbox is reached without following links and must be the
caller's, directories are made with the caller's own rights, and everything exported squashes all ids to the caller.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import time
from collections.abc import Container

from condor_vac.base.errors import UsageError, VacError
from condor_vac.worker import isolation, libvirt, network, privileges, sandbox
from condor_vac.worker.lease import console, http_share, nfs_exports
from condor_vac.worker.lease.release import release_locked
from condor_vac.worker.lease.requests import AcquireRequest, Caller
from condor_vac.worker.lease.store import Export, Lease, Store, boottime
from condor_vac.worker.settings import Settings

_WORK_SECONDS = 20.0


def acquire(request: AcquireRequest, who: Caller, settings: Settings, store: Store) -> Lease:
    """Grant the lease, or return the one that this VM has. All or nothing.

    Raises UsageError for what will never be granted, VacError for what cannot be granted now.
    """
    _check_sharing(request.sharing, settings)
    # libvirt is asked before the lock is held: its hook takes the lock while libvirt waits for the hook.
    earlier = store.by_domain(request.domain) is not None
    running = libvirt.active() if earlier else {}
    with sandbox.opened(request.sandbox, settings.execute, who.uid) as fd, store.lock():
        lease = _existing(request, who, settings, store, running) or _new(request, who, settings, store)
        isolation.ensure(settings.bridge, settings.subnet)
        with contextlib.ExitStack() as undo:
            made = privileges.run_as(who.uid, who.gid, lambda: _make_directories(fd, lease), timeout=_WORK_SECONDS)
            for name in made:
                undo.callback(sandbox.remove_directory, fd, name)
            store.save(lease)
            undo.callback(store.delete, lease)
            for export, writable in lease.exports().items():
                undo.callback(_remove_quietly, export)
                nfs_exports.add(export, lease.uid, lease.gid, writable=writable)
                if not sandbox.same_directory(fd, os.path.basename(export.directory), export.directory):
                    raise UsageError(f"{export.directory}: changed while it was being shared")
            if lease.by_http:
                undo.callback(_revoke_quietly, lease)
                http_share.grant(lease, fd, http_share.group_id(settings.http_group))
            undo.pop_all()
    return lease


def _existing(
    request: AcquireRequest, who: Caller, settings: Settings, store: Store, running: Container[str]
) -> Lease | None:
    """The lease that this very VM has; the lease of an earlier VM of the same name is released."""
    lease = store.by_domain(request.domain)
    if lease is None:
        return None
    if lease.sandbox == request.sandbox and lease.uid == who.uid and os.path.isdir(lease.joboutputs):
        return lease
    if lease.uid != who.uid and os.path.isdir(lease.sandbox):
        raise VacError(f"{request.domain}: another user's VM of that name is on this node")
    if lease.domain in running:
        raise VacError(f"{request.domain}: its earlier VM still runs here; wait until vac_watch has ended it")
    release_locked(lease, settings, store)
    return None


def _new(request: AcquireRequest, who: Caller, settings: Settings, store: Store) -> Lease:
    uuid = request.uuid or _random_uuid()
    taken = store.all()
    if any(lease.uuid == uuid for lease in taken):
        raise UsageError(f"request: uuid: {uuid} is another VM's; leave it out")
    place = _free_place({lease.address for lease in taken}, settings)
    path = request.sandbox
    return Lease(
        uuid=uuid,
        domain=request.domain,
        machinetype=request.machinetype,
        uid=who.uid,
        gid=who.gid,
        user=_user_name(who.uid),
        sandbox=path,
        address=place.address,
        mac=place.mac,
        hostname=place.hostname,
        network=settings.network,
        filter=settings.filter,
        gateway=network.gateway(settings.subnet),
        machinefeatures=f"{path}/machinefeatures",
        jobfeatures=f"{path}/jobfeatures",
        joboutputs=f"{path}/joboutputs",
        sharing=request.sharing,
        chirp_config=_chirp_config(request, settings.execute),
        console=console.path(uuid),
        created=int(time.time()),
        created_boottime=boottime(),
        fizzle_seconds=request.fizzle_seconds,
        max_wallclock_seconds=request.max_wallclock_seconds,
        heartbeat_file=request.heartbeat_file,
        heartbeat_seconds=request.heartbeat_seconds,
        evidence_cpu_fraction=request.evidence_cpu_fraction,
        images=request.images,
    )


def _random_uuid() -> str:
    """From the kernel (random(4)), without all that Python's uuid module imports."""
    with open("/proc/sys/kernel/random/uuid", encoding="ascii") as stream:
        return stream.read().strip()


def _free_place(taken: set[str], settings: Settings) -> network.Host:
    for place in network.table(settings.subnet, settings.hostname_domain):
        if place.address not in taken:
            return place
    raise VacError(f"no address of {settings.subnet} is free; {len(taken)} VMs have leases on this node")


def _chirp_config(request: AcquireRequest, execute: str) -> str:
    """The file that names the starter's address: read only as the job's user, and only in the job's directory."""
    path = request.chirp_config
    if path is None:
        return f"{request.sandbox}/.chirp.config"
    top = sandbox.job_directory(request.sandbox, execute)
    if not re.fullmatch(re.escape(top) + r"(/[A-Za-z0-9_]+)?/\.chirp\.config", path):
        raise UsageError(f"request: chirp_config: must be .chirp.config below {top}")
    return path


def _check_sharing(sharing: str, settings: Settings) -> None:
    for way in ("nfs", "http"):
        if sharing in {way, "both"} and way not in settings.sharing:
            here = " and ".join(settings.sharing)
            raise UsageError(
                f"request: sharing: this node shares by {here} only; change the machinetype, or worker_sharing here"
            )


def _make_directories(fd: int, lease: Lease) -> list[str]:
    names = (*sandbox.DIRECTORIES, sandbox.METADATA) if lease.by_http else sandbox.DIRECTORIES
    return [name for name in names if sandbox.make_directory(fd, name)]


def _remove_quietly(export: Export) -> None:
    """Undo an export on the way out of an error, which is the one to report."""
    with contextlib.suppress(VacError):
        nfs_exports.remove(export)


def _revoke_quietly(lease: Lease) -> None:
    with contextlib.suppress(VacError):
        http_share.revoke(lease.address)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
