# SPDX-License-Identifier: GPL-3.0-or-later
"""HTCondor's VM universe on this node: offered again after a failed start, and not offered without KVM.

One VM that cannot be started ends it: the starter has the startd publish ``HasVM = False`` for its lifetime, whether
the node was to blame or the moment (``handleFTL`` in src/condor_starter.V6.1/vm_proc.cpp), as where the job was removed
while its VM started. No VM comes here any more, so that none can show that the node is well again. All its reasons are
VMGAHP_ERR_… or VMGAHP_REQ_…; ours begin with "condor_vac: ".
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from condor_vac.base import atomic, tools
from condor_vac.base.errors import VacError
from condor_vac.base.shared import one_line
from condor_vac.condor import chirp
from condor_vac.worker import kvm_device, startd
from condor_vac.worker.settings import Settings

# At most one VM in this time fails on a node that is not well.
LOOK_SECONDS = 300.0
# For each question.
_STARTD_SECONDS = 15.0
_LOOKED = "vm_universe_looked"
_OURS = "condor_vac: "
_REASONS = ("VMGAHP_", _OURS)


def look(run_directory: str, settings: Settings, log: Callable[[str], None]) -> None:
    """Have the startd offer VMs again if a failed start is why it does not; the caller has heard from libvirt.

    While KVM does not work, and VMs must not be emulated, the startd is made to offer none: each would fail. Looks
    only now and then. What an administrator has taken away has another reason and stays away. HTCondor may just be
    restarting: no answer is only logged. Raises VacError where it answers and then does not
    do as requested.
    """
    if not _due(f"{run_directory}/{_LOOKED}"):
        return
    try:
        master = startd.daemons(_STARTD_SECONDS)
        slot = startd.slot(master, _STARTD_SECONDS) if master.get("STARTD_Addr") else {}
    except VacError as error:
        log(f"cannot read whether the startd offers VMs ({error}): trying again in {LOOK_SECONDS:.0f} s")
        return
    offered, reason = slot.get("HasVM") is True, slot.get("VMOfflineReason")
    if not offered and not (isinstance(reason, str) and reason.startswith(_REASONS)):
        return
    trouble = None if settings.emulation else kvm_device.trouble()
    if trouble is not None:
        wanted = f"{_OURS}KVM does not work: {trouble.what}"
        if offered or reason != wanted:
            startd.change_ad("HasVM = false", f"VMOfflineReason = {chirp.literal(wanted)}")
            log(f"KVM does not work ({trouble.what}): the startd now offers no VMs; {trouble.remedy}")
    elif not offered:
        startd.change_ad("HasVM = true")
        log(f"the startd offered no VMs ({one_line(str(reason), tools.SHOWN)}): it offers them again")


def _due(path: str) -> bool:
    """Whether the last look is long enough ago; a clock that went back counts as long enough."""
    try:
        if 0 <= time.time() - os.stat(path).st_mtime < LOOK_SECONDS:
            return False
    except FileNotFoundError:
        pass
    atomic.write(path, b"", mode=0o644)
    return True
