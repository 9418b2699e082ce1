# SPDX-License-Identifier: GPL-3.0-or-later
"""The JOB_EXIT hook, for HTCondor before 25.4 only (25.4 and later run the job again when there is one).

Runs as the job's user in the sandbox, argv[1] is exit, remove, hold or evict, the job ad is on standard
input. HTCondor ignores its output and exit code and gives it 30 s. libvirt's hook has usually done the work
before; then this finds no lease.
"""

from __future__ import annotations

import os
import sys

from condor_vac import ending, lease_client
from condor_vac import settings as settings_module
from condor_vac.errors import VacError
from condor_vac.leases import Lease, Store

REASONS = frozenset({"exit", "remove", "hold", "evict"})


def main() -> int:
    """Entry point; 1 with a line on standard error when something could not be done."""
    sandbox = os.environ.get("_CONDOR_SCRATCH_DIR", os.getcwd())
    reason = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1] in REASONS else "exit"
    try:
        found = find(Store(), sandbox)
        if found is None:
            return 0
        ending.finish(found, reason, settings_module.of_this_node().execute)
        lease_client.release(found.uuid)
    except VacError as error:
        print(f"vac_exit_hook: {error}", file=sys.stderr)
        return 1
    return 0


def find(store: Store, sandbox: str) -> Lease | None:
    """The lease of the job in this sandbox, if it still has one."""
    return next((item for item in store.all() if item.sandbox == sandbox and item.uid == os.getuid()), None)
