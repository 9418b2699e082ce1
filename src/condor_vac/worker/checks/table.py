# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of ``condor_vac doctor``: a worker node's, in the order of its set-up, and an access point's.

Each checks the node as it is now (the kernel, systemd, libvirt, sudo, HTCondor's own tools) and returns its
findings; none changes anything.
"""

from __future__ import annotations

from condor_vac.worker.checks import condor, credentials, host, matching, network, programs, remains, sharing, silent
from condor_vac.worker.checks.node import Check

CHECKS: tuple[Check, ...] = (
    *host.PREFLIGHT,
    *host.SERVICES,
    *network.CHECKS,
    *sharing.CHECKS,
    *remains.CHECKS,
    *programs.CHECKS,
    *condor.CHECKS,
    *matching.CHECKS,
    *credentials.CHECKS,
    *silent.CHECKS,
)
ACCESS_POINT: tuple[Check, ...] = (*credentials.ACCESS_POINT, *matching.ACCESS_POINT)
