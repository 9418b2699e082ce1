# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics of this machine's tokens and certificates."""

from __future__ import annotations

from condor_vac.cli.metric_families import Metrics
from condor_vac.worker.checks import credentials
from condor_vac.worker.checks.node import Node


def collect(made: Metrics) -> None:
    """Each credential; one that never ends has no time."""
    found, unknown = credentials.of_machine(Node())
    for one in found:
        made.add("condor_vac_credential_readable", one.fault is None, kind=one.kind, path=one.path)
        if one.ends is not None:
            made.add("condor_vac_credential_expiry_timestamp_seconds", one.ends, kind=one.kind, path=one.path)
    made.add("condor_vac_unreadable", len(unknown) > 0, part="credentials")
