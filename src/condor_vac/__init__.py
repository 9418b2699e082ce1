# SPDX-License-Identifier: GPL-3.0-or-later
"""What vacuum.htcondor runs in an HTCondor pool: factory, job hooks, lease, watch and their command line."""

from __future__ import annotations

__version__ = "0.1.0"
