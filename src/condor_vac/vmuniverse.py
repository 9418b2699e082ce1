# SPDX-License-Identifier: GPL-3.0-or-later
"""HTCondor's VM universe on this node, which one VM that could not be started takes away.

Then the starter has the startd say ``HasVM = False`` for its lifetime, whether the node was to blame or the moment
(``handleFTL`` in src/condor_starter.V6.1/vm_proc.cpp), as where the job was removed while its VM started. No VM comes
here any more, so that none can show that the node is well again. All its reasons are VMGAHP_ERR_… or VMGAHP_REQ_….
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from condor_vac import atomic, tools
from condor_vac.errors import VacError

# At most one VM in this time fails on a node that is not well.
LOOK_SECONDS = 300.0
_LOOKED = "vm_universe_looked"
_UPDATE_SECONDS = 60.0


def offer_again(run_directory: str, log: Callable[[str], None]) -> None:
    """Have the startd offer VMs again if a failed start is why it does not; the caller has heard from libvirt.

    Looks only now and then. What an administrator has taken away has another reason than ``VMGAHP_…`` and stays
    away. HTCondor may just be restarting: that it does not answer is told and nothing more. Raises VacError where it
    answers and then does not do as it is told.
    """
    if not _due(f"{run_directory}/{_LOOKED}"):
        return
    # Its imports take as long as a whole run of vac_watch.
    from condor_vac.checks.node import Node  # noqa: PLC0415

    node = Node()
    try:
        slot = node.slot if node.master.get("STARTD_Addr") else {}
    except VacError as error:
        log(f"whether the startd offers VMs: {error}; asked again in {LOOK_SECONDS:.0f} s")
        return
    reason = slot.get("VMOfflineReason")
    if slot.get("HasVM") is True or not isinstance(reason, str) or not reason.startswith("VMGAHP_"):
        return
    tools.run(["condor_update_machine_ad", "/dev/stdin"], timeout=_UPDATE_SECONDS, stdin=b"HasVM = true\n")
    log(
        f"a VM could not be started here ({tools.one_line(reason.encode())}) and the startd offered none; it does again"
    )


def _due(path: str) -> bool:
    """Whether the last look is long enough ago; a clock that went back counts as long enough."""
    try:
        if 0 <= time.time() - os.stat(path).st_mtime < LOOK_SECONDS:
            return False
    except FileNotFoundError:
        pass
    atomic.write(path, b"", mode=0o644)
    return True
