# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking back what a lease grants: exports, the HTTP share, the console, and the lease itself."""

from __future__ import annotations

import os
import sys

from condor_vac.base.errors import VacError
from condor_vac.worker.lease import console, http_share, nfs_exports
from condor_vac.worker.lease.store import Lease, Store
from condor_vac.worker.settings import Settings


def release_locked(lease: Lease, settings: Settings, store: Store, *, has_console: bool = False) -> None:
    """Release the lease; the caller holds the store's lock. Raises VacError.

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


def release_once(found: Lease, settings: Settings, store: Store, *, has_console: bool = False) -> bool:
    """Take the lock and release the lease; False if another program has released it meanwhile. Raises VacError."""
    with store.lock():
        current = store.by_uuid(found.uuid)
        if current is None:
            return False
        release_locked(current, settings, store, has_console=has_console)
        return True
