# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking back what a lease grants: exports, the HTTP share, the console, and the lease itself."""

from __future__ import annotations

from collections.abc import Callable

from condor_vac.base.errors import VacError
from condor_vac.worker import sandbox
from condor_vac.worker.lease import console, http_share, nfs_exports
from condor_vac.worker.lease.store import Lease, Store
from condor_vac.worker.settings import Settings


def give_console(lease: Lease, settings: Settings, log: Callable[[str], None]) -> None:
    """Give the job its console, as its user, who can make this take long: never while the store's lock is held."""
    try:
        if not sandbox.is_gone(lease.sandbox):
            console.hand_over(lease, settings.execute)
    except VacError as error:
        log(f"{lease.label}: console not handed over: {error}")


def release_locked(lease: Lease, store: Store) -> None:
    """Release the lease; the caller holds the store's lock. Raises VacError.

    The lease goes last, so that whatever fails here is tried again by vac_watch.
    """
    nfs_exports.remove(*lease.exports())
    if lease.by_http:
        http_share.revoke(lease.address)
    console.remove(lease)
    store.delete(lease)


def release_once(found: Lease, store: Store) -> bool:
    """Take the lock and release the lease; False if another program has released it meanwhile. Raises VacError."""
    with store.lock():
        current = store.by_uuid(found.uuid)
        if current is None:
            return False
        release_locked(current, store)
        return True
