# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of vac_watch on a pretended node, its VMs, and what they see of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from condor_vac.worker.lease.store import Lease
from condor_vac.worker.libvirt import Domain
from condor_vac.worker.programs import watch
from tests.unit.condor_vac.worker.conftest import Node, Time


def look(node: Node) -> list[str]:
    """One run of vac_watch; the errors that it reports."""
    return [str(error) for error in watch.Watch(node.store, node.settings).run()]


def running(node: Node, clock: Time, **changes: Any) -> Lease:
    """A VM that runs and was started a second ago."""
    lease = node.change(node.acquire(**changes), started=1, started_boottime=clock.now - 1)
    domain(node, lease)
    return lease


def domain(node: Node, lease: Lease, cpu: float = 1.0, state: int = 1) -> None:
    node.run_domains(Domain(lease.domain, state, cpu, 1))


def actions(node: Node) -> list[str]:
    """The changes that libvirt was asked for, without the queries."""
    words = [line.split() for line in node.called("virsh")]
    return [line[3] for line in words if line[3] in {"shutdown", "destroy"}]


def feature(lease: Lease, key: str) -> int | None:
    directory = lease.machinefeatures if key == "shutdowntime" else lease.jobfeatures
    path = Path(directory, key)
    return int(path.read_text()) if path.exists() else None
