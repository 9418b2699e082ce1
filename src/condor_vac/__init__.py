# SPDX-License-Identifier: GPL-3.0-or-later
"""What vacuum.htcondor runs in an HTCondor pool: factory, job hooks, lease, watch and their command line."""

from __future__ import annotations

__version__ = "0.1.0"

# What a worker node knows of its VMs, which a reboot forgets with them.
RUN_DIRECTORY = "/run/condor_vac"
