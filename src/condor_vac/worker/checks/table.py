# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of ``condor_vac doctor``, in the order of the worker node's set-up.

Each checks the node as it is now (the kernel, systemd, libvirt, sudo, HTCondor's own tools) and returns its
findings; none changes anything.
"""

from __future__ import annotations

from condor_vac.worker.checks import condor, host, network, programs, sharing
from condor_vac.worker.checks.node import Check

CHECKS: tuple[Check, ...] = (
    *host.PREFLIGHT,
    *host.SERVICES,
    *network.CHECKS,
    *sharing.CHECKS,
    *programs.CHECKS,
    *condor.CHECKS,
)
