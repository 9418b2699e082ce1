# SPDX-License-Identifier: GPL-3.0-or-later
"""What a crash, a killed starter or a power cut left behind on a node, and putting it right.

A VM whose sandbox is gone has no job any more: HTCondor removes a sandbox only when its starter is gone. Such
a VM is destroyed and its lease released. Called by vac_watch, as root.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Collection, Container, Iterable
from functools import partial

from condor_vac.base.errors import VacError
from condor_vac.worker import libvirt, sandbox
from condor_vac.worker.lease import console, http_share, nfs_exports
from condor_vac.worker.lease import store as lease_store
from condor_vac.worker.lease.release import give_console, release_once
from condor_vac.worker.lease.store import Damaged, Export, Lease, Store
from condor_vac.worker.settings import Settings
from condor_vac.worker.vm import ending
from condor_vac.worker.watch.steps import attempt

Log = Callable[[str], None]


def tidy(store: Store, settings: Settings, running: Collection[str], log: Log) -> list[VacError]:
    """Clean up all that can be; returns the errors, each of which the next run tries again."""
    errors: list[VacError] = []
    leases, damaged = store.read()
    for bad in damaged:
        attempt(errors, partial(_damaged, bad, store, log))
    leased = {found.domain for found in leases}
    unknown = {bad.uuid for bad in damaged}
    for name in running:
        if name not in leased:
            attempt(errors, partial(_unknown_domain, name, unknown, log), name)
    for found in leases:
        attempt(errors, partial(_orphan, found, store, running, log), found.label)
    for step in (_stale_exports, _lost_exports):
        attempt(errors, partial(step, store, settings, log))
    for tidied in (_http, _files):
        attempt(errors, partial(tidied, store, log))
    return errors


def over(found: Lease, store: Store, settings: Settings, log: Log, seconds: float) -> None:
    """A VM ended and its job's ad lacks it: do what libvirt's hook does, in so many seconds. Raises VacError."""
    now = store.update(found.uuid, Lease.with_end)
    if now is None:
        return
    ending.finish(now, "unknown", settings.execute, starter_seconds=seconds)
    give_console(now, settings, log)
    release_once(now, store)
    log(f"{found.label}: ended without a hook: recorded in its job, lease released")


def _damaged(bad: Damaged, store: Store, log: Log) -> None:
    """A file that is no lease: nobody knows whose its VM is, so that it ends, and its address is free again.

    Raises VacError for one that cannot be read now; its VM runs on.
    """
    if bad.unreadable:
        raise VacError(f"{bad.reason}; its VM is not checked: check {store.directory}, or end the VM")
    if lease_store.is_uuid(bad.uuid) and libvirt.destroy(bad.uuid):
        log(f"{bad.uuid}: this VM's lease is damaged: destroyed the VM")
    with store.lock():
        kept = store.put_aside(bad)
    log(f"{bad.reason}: put aside as {kept}")


def _orphan(found: Lease, store: Store, running: Container[str], log: Log) -> None:
    """A lease whose job is gone."""
    if not sandbox.is_gone(found.sandbox):
        return
    if found.domain in running and libvirt.destroy(found.uuid):
        log(f"{found.label}: ran, but its job and sandbox are gone: destroyed")
    if release_once(found, store):
        log(f"{found.label}: sandbox is gone: lease of {found.address} released")


def _unknown_domain(name: str, spared: Container[str], log: Log) -> None:
    """A domain without a lease: if it is a vacuum VM, another VM may get its address at any moment.

    ``spared`` are the UUIDs of leases that cannot be read.
    """
    if not re.fullmatch(lease_store.DOMAIN_PATTERN, name):
        return
    uuid, files = libvirt.consoles(name)
    if lease_store.is_uuid(uuid) and console.path(uuid) in files and uuid not in spared and libvirt.destroy(uuid):
        log(f"{name} [{uuid}]: ran without a lease: destroyed")


def _stale_exports(store: Store, settings: Settings, log: Log) -> None:
    """Remove vacuum exports without a lease. While there is a lease that cannot be read, some may be its VM's."""
    with store.lock():
        leases, damaged = store.read()
        if damaged:
            return
        known = {export for found in leases for export in found.exports()}
        stale = sorted(_ours(nfs_exports.current(), settings.execute) - known, key=str)
        nfs_exports.remove(*stale)
    for export in stale:
        log(f"{export.directory}: was exported to {export.address} without a lease: export removed")


def _lost_exports(store: Store, _settings: Settings, log: Log) -> None:
    """Restore the exports that a restart of the NFS server dropped. Raises the first VacError of those that failed."""
    exported = nfs_exports.current()
    errors: list[VacError] = []
    for found in store.all():
        if not found.exports().keys() <= exported:
            attempt(errors, partial(_export_again, found, exported, store, log), found.label)
    if errors:
        raise errors[0]


def _export_again(found: Lease, exported: Container[Export], store: Store, log: Log) -> None:
    if sandbox.is_gone(found.sandbox):
        return
    again = []
    with store.lock():
        if store.by_uuid(found.uuid) is None:
            return
        for export, writable in found.exports().items():
            if export not in exported:
                nfs_exports.add(export, found.uid, found.gid, writable=writable)
                again.append(export)
    for export in again:
        log(f"{found.label}: {export.directory} exported to {export.address} again")


def _ours(found: Iterable[Export], execute: str) -> set[Export]:
    return {export for export in found if export.directory.startswith(f"{execute}/dir_")}


def _http(store: Store, log: Log) -> None:
    """Remove what nginx serves at addresses without a lease. While a lease cannot be read, one may be its VM's."""
    with store.lock():
        leases, damaged = store.read()
        stale = [] if damaged else sorted(http_share.addresses() - {one.address for one in leases if one.by_http})
        for address in stale:
            http_share.revoke(address)
    for address in stale:
        log(f"{address}: was shared by HTTP without a lease: removed")


def _files(store: Store, _log: Log) -> None:
    """Remove the consoles of VMs that have no lease."""
    with store.lock():
        leases, damaged = store.read()
        for path in console.orphans({one.uuid for one in leases} | {bad.uuid for bad in damaged}):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
