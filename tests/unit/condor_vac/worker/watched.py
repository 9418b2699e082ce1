# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of vac_watch on a pretended node, its VMs, and what they see of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from condor_vac.worker.lease import console
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


def crowd(node: Node, clock: Time, count: int, **changes: Any) -> list[Lease]:
    """So many VMs that run, as leases of theirs would be; without the processes that granting them starts."""
    first = running(node, clock, sandbox=node.sandbox(1), domain="vac_lab_1.0", **changes)
    leases = [first]
    for number in range(2, count + 1):
        path = node.sandbox(number)
        for name in ("machinefeatures", "jobfeatures", "joboutputs"):
            Path(path, name).mkdir()
            os.chown(Path(path, name), first.uid, first.gid)
        uuid = f"00000000-0000-4000-8000-{number:012x}"
        own = {"machinefeatures": f"{path}/machinefeatures", "jobfeatures": f"{path}/jobfeatures"}
        own |= {"joboutputs": f"{path}/joboutputs", "chirp_config": f"{path}/.chirp.config"}
        own |= {"sandbox": path, "address": f"192.168.86.{number + 9}", "console": console.path(uuid)}
        leases.append(node.change(first, uuid=uuid, domain=f"vac_lab_{number}.0", **own))
    table = node.base / "exports"
    table.write_text(
        "".join(f"{export.directory}  {export.address}(rw)\n" for one in leases for export in one.exports())
    )
    for lease in leases:
        # Announced already, so that no work as the user is due.
        Path(lease.jobfeatures, "jobstart_secs").write_text("1000")
        for directory, key in ((lease.jobfeatures, "shutdowntime_job"), (lease.machinefeatures, "shutdowntime")):
            Path(directory, key).write_text(str(1000 + lease.max_wallclock_seconds))
    run_all(node, leases)
    return leases


def run_all(node: Node, leases: list[Lease], cpu: float = 1.0) -> None:
    node.run_domains(*(Domain(lease.domain, 1, cpu, 1) for lease in leases))


def ended(node: Node) -> list[str]:
    """The UUIDs of the VMs whose power button was pressed, and of those that were destroyed."""
    words = [line.split() for line in node.called("virsh")]
    return [line[5] for line in words if line[3] in {"shutdown", "destroy"}]
