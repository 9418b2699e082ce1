# SPDX-License-Identifier: GPL-3.0-or-later
"""``vac_lease acquire|release|list``: the one command that a job's user may run as root (sudo).

It grants the VM of the caller's own sandbox an address, a MAC and three directories shared with that address
alone. Nothing in its arguments can make it touch anything else: the caller is who sudo says (SUDO_UID), the
sandbox is reached without following links and must be the caller's, directories are made with the caller's
own rights, and everything exported squashes all ids to the caller.

The request is one JSON object on standard input, the answer one on standard output. Exit code 1: not now
(another node or a later try may do), 2: the request itself is wrong or not allowed.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import sys
import time
from collections.abc import Callable, Container
from typing import Any, NamedTuple

from condor_vac import EVIDENCE_CPU_FRACTION
from condor_vac.base import fields
from condor_vac.base.errors import UsageError, VacError
from condor_vac.worker import isolation, libvirt, network, privileges, sandbox
from condor_vac.worker import settings as settings_module
from condor_vac.worker.lease import console, http_share, nfs_exports
from condor_vac.worker.lease.store import DOMAIN_PATTERN, Lease, Store, boottime, check_uuid
from condor_vac.worker.settings import Settings

REQUEST_LIMIT = 1 << 16
_WORK_SECONDS = 20.0
_YEAR = 366 * 86400

CHECKS: dict[str, fields.Check] = {
    "sandbox": fields.absolute_path,
    "domain": fields.matching(DOMAIN_PATTERN, "must be HTCondor's name of a VM, USER_CLUSTER.PROC"),
    "sharing": fields.one_of("nfs", "http", "both"),
    "uuid": fields.optional(fields.line(36)),
    "machinetype": fields.matching(r"[A-Za-z0-9._-]{1,64}", "must be a machinetype's name"),
    "chirp_config": fields.optional(fields.absolute_path),
    "fizzle_seconds": fields.integer(0, _YEAR),
    "max_wallclock_seconds": fields.integer(0, _YEAR),
    "heartbeat_file": fields.optional(fields.file_name),
    "heartbeat_seconds": fields.integer(0, _YEAR),
    "evidence_cpu_fraction": fields.number(0.0, 1.0),
    "images": fields.list_of(fields.file_name),
}
# Why HTCondor ends a job (its JOB_EXIT hook's argument).
ENDINGS = ("exit", "remove", "hold", "evict")
REQUIRED = {"sandbox", "domain", "machinetype", "fizzle_seconds", "max_wallclock_seconds"}


class Caller(NamedTuple):
    """Who called sudo."""

    uid: int
    gid: int


def main() -> int:
    """Entry point of ``/usr/local/libexec/vac_lease``."""
    actions: dict[str, Callable[[], object]] = {"acquire": _acquire, "release": _release, "list": _list}
    try:
        if len(sys.argv) != 2 or sys.argv[1] not in actions:
            raise UsageError("usage: vac_lease acquire|release|list, with the request on standard input")
        print(json.dumps(actions[sys.argv[1]]()))
    except UsageError as error:
        print(f"vac_lease: {error}", file=sys.stderr)
        return 2
    except VacError as error:
        print(f"vac_lease: {error}", file=sys.stderr)
        return 1
    return 0


def _acquire() -> object:
    request = read_request(sys.stdin.buffer.read(REQUEST_LIMIT + 1))
    return acquire(request, caller(), settings_module.of_this_node(), Store()).to_mapping()


def _release() -> object:
    which = _parse(sys.stdin.buffer.read(REQUEST_LIMIT + 1))
    act = end_for if "sandbox" in which else release_for
    lease = act(which, caller(root_allowed=True), settings_module.of_this_node(), Store())
    return {"released": None if lease is None else lease.uuid}


def _list() -> object:
    return [lease.to_mapping() for lease in Store().all()]


def caller(*, root_allowed: bool = False) -> Caller:
    """The user who ran sudo, or root itself where that is allowed. Raises UsageError."""
    if os.geteuid() != 0:
        raise UsageError("must run as root; call it by sudo")
    try:
        found = Caller(int(os.environ.get("SUDO_UID", "0")), int(os.environ.get("SUDO_GID", "0")))
    except ValueError as error:
        raise UsageError(f"SUDO_UID, SUDO_GID: {error}; call it by sudo") from error
    if found.uid < 1 and not root_allowed:
        raise UsageError("a lease belongs to a job's user, not to root; call it by sudo from the job")
    return found


def read_request(data: bytes) -> dict[str, Any]:
    """The checked request for a lease. Raises UsageError."""
    request = fields.check_all(_parse(data), CHECKS, REQUIRED, "request")
    if request.get("uuid") is not None:
        check_uuid(request["uuid"])
    return request


def _parse(data: bytes) -> dict[str, Any]:
    if len(data) > REQUEST_LIMIT:
        raise UsageError(f"request: more than {REQUEST_LIMIT} bytes")
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"request: not valid JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise UsageError("request: must be one JSON object")
    return parsed


def acquire(request: dict[str, Any], who: Caller, settings: Settings, store: Store) -> Lease:
    """Grant the lease, or return the one that this VM has. All or nothing.

    Raises UsageError for what will never be granted, VacError for what cannot be granted now.
    """
    _check_sharing(request.get("sharing", "nfs"), settings)
    # libvirt is asked before the lock is held: its hook takes the lock while libvirt waits for the hook.
    earlier = store.by_domain(request["domain"]) is not None
    running = libvirt.active() if earlier else {}
    with sandbox.opened(request["sandbox"], settings.execute, who.uid) as fd, store.lock():
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


def release(lease: Lease, settings: Settings, store: Store, *, has_console: bool = False) -> None:
    """Take back everything that the lease grants; the caller holds the lock. Raises VacError.

    ``has_console``: the job has its console already. The lease goes last, so that whatever fails here is tried
    again by vac_watch.
    """
    if not has_console and os.path.isdir(lease.sandbox):
        try:
            console.hand_over(lease, settings.execute)
        except VacError as error:
            print(f"condor_vac: {lease.domain}: console not handed over: {error}", file=sys.stderr)
    nfs_exports.remove(*lease.exports())
    if lease.by_http:
        http_share.revoke(lease.address)
    console.remove(lease)
    store.delete(lease)


def give_back(found: Lease, settings: Settings, store: Store, *, has_console: bool = False) -> bool:
    """``release`` under the lock; False if somebody else has done it meanwhile. Raises VacError."""
    with store.lock():
        current = store.by_uuid(found.uuid)
        if current is None:
            return False
        release(current, settings, store, has_console=has_console)
        return True


def release_for(which: dict[str, Any], who: Caller, settings: Settings, store: Store) -> Lease | None:
    """Release the lease with the given ``uuid`` or ``domain`` if it is the caller's and its VM is gone.

    Returns it, None if there is none. Raises UsageError for another user's, VacError while the VM runs.
    """
    if _find(which, store) is None:
        return None
    running = libvirt.active()
    with store.lock():
        lease = _find(which, store)
        if lease is None:
            return None
        if who.uid not in (0, lease.uid):
            raise UsageError(f"{lease.uuid}: belongs to another user")
        if lease.domain in running:
            raise VacError(f"{lease.uuid}: its VM {lease.domain} still runs; end the VM first")
        release(lease, settings, store)
        return lease


def end_for(which: dict[str, Any], who: Caller, settings: Settings, store: Store) -> Lease | None:
    """Tell the job in the caller's own ``sandbox`` of its VM's end, as the caller, and release its lease.

    ``reason`` is HTCondor's: exit, remove, hold or evict. Returns the lease, None if there is none or if its VM has
    not started: HTCondor 23 may start it even now (an eviction while the prepare hook ends), and without its ISO that
    start would fail and cost the node its VM universe. vac_watch takes that lease back when the sandbox is gone.
    Raises UsageError for another request, VacError when the ad cannot be told or while the VM runs.
    """
    from condor_vac.worker.vm import ending  # noqa: PLC0415 - nothing of it is needed at a VM's start

    if set(which) != {"sandbox", "reason"} or which["reason"] not in ENDINGS:
        raise UsageError(f'request: must be {{"sandbox": …, "reason": …}}, the reason one of {", ".join(ENDINGS)}')
    mine = (one for one in store.all() if one.sandbox == which["sandbox"] and one.uid == who.uid)
    lease = next(mine, None)
    if lease is None or (lease.started is None and which["reason"] != "exit"):
        return None
    ending.finish(lease, which["reason"], settings.execute)
    return release_for({"uuid": lease.uuid}, who, settings, store)


def _find(which: dict[str, Any], store: Store) -> Lease | None:
    if set(which) == {"uuid"}:
        return store.by_uuid(which["uuid"])
    if set(which) == {"domain"} and isinstance(which["domain"], str):
        return store.by_domain(which["domain"])
    raise UsageError('request: must be {"uuid": …} or {"domain": …}')


def _existing(
    request: dict[str, Any], who: Caller, settings: Settings, store: Store, running: Container[str]
) -> Lease | None:
    """The lease that this very VM has; one that an earlier VM of the same name left is taken back."""
    lease = store.by_domain(request["domain"])
    if lease is None:
        return None
    if lease.sandbox == request["sandbox"] and lease.uid == who.uid and os.path.isdir(lease.joboutputs):
        return lease
    if lease.uid != who.uid and os.path.isdir(lease.sandbox):
        raise VacError(f"{request['domain']}: another user's VM of that name is on this node")
    if lease.domain in running:
        raise VacError(f"{request['domain']}: its earlier VM still runs here; vac_watch will end it")
    release(lease, settings, store)
    return None


def _new(request: dict[str, Any], who: Caller, settings: Settings, store: Store) -> Lease:
    uuid = request.get("uuid") or _random_uuid()
    taken = store.all()
    if any(lease.uuid == uuid for lease in taken):
        raise UsageError(f"request: uuid: {uuid} is another VM's; leave it out")
    place = _free_place({lease.address for lease in taken}, settings)
    path = request["sandbox"]
    return Lease(
        uuid=uuid,
        domain=request["domain"],
        machinetype=request["machinetype"],
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
        sharing=request.get("sharing", "nfs"),
        chirp_config=_chirp_config(request, settings.execute),
        console=console.path(uuid),
        created=int(time.time()),
        created_boottime=boottime(),
        fizzle_seconds=request["fizzle_seconds"],
        max_wallclock_seconds=request["max_wallclock_seconds"],
        heartbeat_file=request.get("heartbeat_file"),
        heartbeat_seconds=request.get("heartbeat_seconds", 0),
        evidence_cpu_fraction=request.get("evidence_cpu_fraction", EVIDENCE_CPU_FRACTION),
        images=request.get("images", ()),
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


def _chirp_config(request: dict[str, Any], execute: str) -> str:
    """Where the way to the starter is told: read only as the job's user, yet held to the job's directory."""
    path: str | None = request.get("chirp_config")
    if path is None:
        return f"{request['sandbox']}/.chirp.config"
    top = sandbox.job_directory(request["sandbox"], execute)
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


def _remove_quietly(export: nfs_exports.Export) -> None:
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
