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
from condor_vac.worker import libvirt
from condor_vac.worker.lease import console, http_share, nfs_exports
from condor_vac.worker.lease import store as lease_store
from condor_vac.worker.lease.release import release_once
from condor_vac.worker.lease.store import Export, Lease, Store
from condor_vac.worker.settings import Settings
from condor_vac.worker.vm import ending

Log = Callable[[str], None]


def tidy(store: Store, settings: Settings, running: Collection[str], log: Log) -> list[VacError]:
    """Clean up all that can be; returns the errors, each of which the next run tries again."""
    leased = {found.domain for found in store.all()}
    steps = [partial(_unknown_domain, name, log) for name in running if name not in leased]
    steps += [partial(_orphan, found, store, settings, running, log) for found in store.all()]
    steps += [partial(_exports, store, settings, log), partial(_http, store, log), partial(_files, store)]
    errors: list[VacError] = []
    for step in steps:
        try:
            step()
        except VacError as error:
            errors.append(error)
    return errors


def over(found: Lease, store: Store, settings: Settings, log: Log) -> None:
    """A VM ended and its job's ad lacks it: do what libvirt's hook does. Raises VacError."""
    now = store.update(found.uuid, Lease.with_end)
    if now is None:
        return
    ending.finish(now, "unknown", settings.execute)
    release_once(now, settings, store)
    log(f"{found.domain}: ended without a hook: recorded in its job, lease released")


def _orphan(found: Lease, store: Store, settings: Settings, running: Container[str], log: Log) -> None:
    """A lease whose job is gone."""
    if os.path.isdir(found.sandbox):
        return
    if found.domain in running:
        log(f"{found.domain}: runs, but its job and sandbox are gone: destroying it")
        libvirt.destroy(found.domain)
    if release_once(found, settings, store):
        log(f"{found.domain}: sandbox is gone: lease of {found.address} released")


def _unknown_domain(name: str, log: Log) -> None:
    """A domain without a lease: if it is a vacuum VM, another VM may get its address at any moment."""
    if not re.fullmatch(lease_store.DOMAIN_PATTERN, name):
        return
    uuid, files = libvirt.consoles(name)
    if lease_store.is_uuid(uuid) and console.path(uuid) in files:
        log(f"{name}: runs without a lease: destroying it")
        libvirt.destroy(name)


def _exports(store: Store, settings: Settings, log: Log) -> None:
    """Remove vacuum exports without a lease; restore those that a restart of the NFS server dropped."""
    with store.lock():
        known = {
            export: (found, writable)
            for found in store.all()
            if os.path.isdir(found.sandbox)
            for export, writable in found.exports().items()
        }
        exported = nfs_exports.current()
        for export in sorted(_ours(exported, settings.execute) - known.keys(), key=str):
            nfs_exports.remove(export)
            log(f"{export.directory}: exported to {export.address} without a lease: export removed")
        for export in sorted(known.keys() - exported, key=str):
            found, writable = known[export]
            nfs_exports.add(export, found.uid, found.gid, writable=writable)
            log(f"{export.directory}: exported to {export.address} again")


def _ours(found: Iterable[Export], execute: str) -> set[Export]:
    return {export for export in found if export.directory.startswith(f"{execute}/dir_")}


def _http(store: Store, log: Log) -> None:
    """Remove what nginx serves at addresses without a lease."""
    with store.lock():
        known = {found.address for found in store.all() if found.by_http}
        for address in sorted(http_share.addresses() - known):
            http_share.revoke(address)
            log(f"{address}: shared by HTTP without a lease: removed")


def _files(store: Store) -> None:
    """Consoles of VMs that have no lease."""
    with store.lock():
        for path in console.orphans({found.uuid for found in store.all()}):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
