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
from collections.abc import Callable, Collection, Iterable

from condor_vac.base.errors import UsageError, VacError
from condor_vac.worker import isolation, libvirt, network, privileges, sandbox
from condor_vac.worker.lease import console, http_share, nfs_exports
from condor_vac.worker.lease.release import give_console, release_once
from condor_vac.worker.lease.requests import AcquireRequest, Caller
from condor_vac.worker.lease.store import Export, Lease, Store, boottime
from condor_vac.worker.settings import Settings

_WORK_SECONDS = 20.0
# What follows the user in HTCondor's name of a VM: the rest of User, and the job's id.
_AFTER_USER = r"_[A-Za-z0-9][A-Za-z0-9_.-]*_[0-9]+\.[0-9]+"


def acquire(
    request: AcquireRequest, who: Caller, settings: Settings, store: Store, log: Callable[[str], None] = print
) -> Lease:
    """Grant the lease, or return the one that this VM has. All or nothing; ``log`` gets what did not matter.

    What the caller can make slow (work as the caller) is done without the store's lock. Raises UsageError for what
    will never be granted, VacError for what cannot be granted now.
    """
    user = user_name(who.uid)
    check_name(request.domain, user, settings.owners)
    _check_sharing(request.sharing, settings)
    _release_earlier(request, who, settings, store, log)
    with sandbox.opened(request.sandbox, settings.execute, who.uid) as fd:
        made = privileges.run_as(
            who.uid, who.gid, lambda: _make_directories(fd, request.sharing), timeout=_WORK_SECONDS
        )
        with contextlib.ExitStack() as undo:
            undo.callback(_remove_directories, fd, made, request.sandbox, store)
            with store.lock():
                lease = _of_this_vm(request, who, settings, store) or _new(request, who, user, settings, store)
                _share(lease, fd, settings, store)
            undo.pop_all()
    return lease


def check_name(domain: str, user: str, owners: Collection[str]) -> None:
    """Refuse a VM's name that HTCondor makes for another user's jobs, or for none. Raises UsageError.

    The name is the job's User, with _ for @, then _CLUSTER.PROC (create_name_for_VM, condor_utils/vm_univ_utils.cpp).
    A user's name may be how another owner's begins: the longest one counts.
    """
    mine = [name for name in {user, *owners} if re.fullmatch(f"{re.escape(name)}{_AFTER_USER}", domain)]
    if not mine or max(mine, key=len) != user:
        raise UsageError(f"request: domain: {domain}: must be one of {user}'s own VMs, {user}_UID_DOMAIN_CLUSTER.PROC")


def _share(lease: Lease, fd: int, settings: Settings, store: Store) -> None:
    """Save the lease and share its directories of the open sandbox, all or nothing; the store is locked."""
    isolation.ensure(settings.bridge, settings.subnet)
    with contextlib.ExitStack() as undo:
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


def _release_earlier(
    request: AcquireRequest, who: Caller, settings: Settings, store: Store, log: Callable[[str], None]
) -> None:
    """Release the lease of an earlier VM of the same name, from another try of the job. Raises VacError."""
    earlier = store.by_domain(request.domain)
    if earlier is None or _is_for(earlier, request, who):
        return
    if earlier.uid != who.uid and not sandbox.is_gone(earlier.sandbox):
        raise VacError(f"{request.domain}: another user's VM of that name is on this node")
    # libvirt is asked before the lock is held: its hook takes the lock while libvirt waits for the hook.
    if request.domain in libvirt.active():
        raise VacError(f"{request.domain}: its earlier VM still runs here; wait until vac_watch has ended it")
    give_console(earlier, settings, log)
    release_once(earlier, store)


def _is_for(lease: Lease, request: AcquireRequest, who: Caller) -> bool:
    """Whether it is the lease of this very VM."""
    return (lease.domain, lease.sandbox, lease.uid) == (request.domain, request.sandbox, who.uid)


def _of_this_vm(request: AcquireRequest, who: Caller, settings: Settings, store: Store) -> Lease | None:
    """The lease that this VM has, if it has one; there is one for each sandbox and for each name. Raises VacError."""
    mine = sandbox.job_directory(request.sandbox, settings.execute)
    for lease in store.all():
        if _is_for(lease, request, who):
            return lease
        if lease.domain == request.domain:
            raise VacError(f"{request.domain}: has just been given a lease for another sandbox")
        if lease.sandbox == mine or lease.sandbox.startswith(f"{mine}/"):
            raise VacError(
                f"{request.sandbox}: has a lease already, for its VM {lease.domain}; one sandbox is one VM's"
            )
    return None


def _new(request: AcquireRequest, who: Caller, user: str, settings: Settings, store: Store) -> Lease:
    uuid = _random_uuid()
    place = _free_place(_taken(store), settings)
    path = request.sandbox
    return Lease(
        uuid=uuid,
        domain=request.domain,
        machinetype=request.machinetype,
        uid=who.uid,
        gid=who.gid,
        user=user,
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


def _taken(store: Store) -> set[str]:
    """The addresses that no other VM may get.

    A lease that cannot be read has one as well: then what is shared with an address counts too.
    """
    leases, damaged = store.read()
    taken = {lease.address for lease in leases}
    if damaged:
        taken |= {export.address for export in nfs_exports.current()} | http_share.addresses()
    return taken


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


def _make_directories(fd: int, sharing: str) -> list[str]:
    names = sandbox.DIRECTORIES if sharing == "nfs" else (*sandbox.DIRECTORIES, sandbox.METADATA)
    return [name for name in names if sandbox.make_directory(fd, name)]


def _remove_directories(fd: int, made: Iterable[str], path: str, store: Store) -> None:
    """Undo ``_make_directories``, unless another request for the same sandbox has got the lease meanwhile."""
    if not any(lease.sandbox == path for lease in store.all()):
        for name in made:
            sandbox.remove_directory(fd, name)


def _remove_quietly(export: Export) -> None:
    """Undo an export on the way out of an error, which is the one to report."""
    with contextlib.suppress(VacError):
        nfs_exports.remove(export)


def _revoke_quietly(lease: Lease) -> None:
    with contextlib.suppress(VacError):
        http_share.revoke(lease.address)


def user_name(uid: int) -> str:
    """The name of the user. Raises VacError: without it nobody knows which VMs are the user's."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError as error:
        raise VacError(f"uid {uid}: no user of this node has it; check its user database") from error
