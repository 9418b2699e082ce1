# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs of every kind, as jobs of a test, and what came back from them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boxes import COMPLETED, HELD, PLACE, Box

from tests.experiment.guest import mjfcheck

CLOUD_IMAGE = "/var/lib/condor_vac/images/cloud.qcow2"
CLOUD = {
    "kind": "cloud-init",
    "sharing": "http",
    "image": CLOUD_IMAGE,
    "image_format": "qcow2",
    "memory_mb": 512,
    "cvmfs_cache_gb": 0,
}
# Name to the machinetype's keys and to options of the agent.
Kinds = dict[str, tuple[dict[str, Any], dict[str, str]]]
OVER_HTTP: Kinds = {
    "cloud-http": (CLOUD, {"power_off": "yes"}),
    "cernvm-http": ({"sharing": "http"}, {}),
}
# Where the node has an NFS server, which takes a kernel of its own.
OVER_NFS: Kinds = {
    "cernvm-nfs": ({"sharing": "nfs"}, {}),
    "cernvm-both": ({"sharing": "both"}, {}),
}
WAIT_SECONDS = 1200


@dataclass(frozen=True)
class Vm:
    """One VM: its kind and its job's cluster."""

    box: Box
    name: str
    cluster: str

    def ended(self) -> dict[str, Any]:
        """The job's ad once the VM has ended."""

        def over(state: dict[str, Any]) -> bool:
            return state["jobs"].get(f"{self.cluster}.0", {}).get("JobStatus") in {COMPLETED, HELD}

        found: dict[str, Any] = self.box.until(f"{self.name} ends", over, WAIT_SECONDS)["jobs"][f"{self.cluster}.0"]
        return found

    def give_task(self) -> None:
        """Have a task for the VM, after which it ends."""
        self.box.add_task(self.name, 5)

    def output(self, name: str) -> str:
        """A file that came back."""
        return self.box.run(f"cat {PLACE}/{self.name}/0/{name}")


def start(box: Box, name: str, *, waits: bool = False) -> Vm:
    """Submit one VM of the kind, with a task to do; one that ``waits`` lives until it is given it (``give_task``)."""
    described, options = {**OVER_HTTP, **OVER_NFS}[name]
    check = f"{PLACE}/{name}/mjf_check"
    with tempfile.TemporaryDirectory() as directory:
        mjfcheck.main(Path(directory))
        form = "mjf_check.b64" if described.get("kind") == "cloud-init" else "mjf_check.sh"
        box.put(check, Path(directory, form).read_bytes())
    cluster = box.submit(
        name,
        options={
            "queue_url": box.queue(name),
            "tasks_per_vm": "1",
            "idle_seconds": "86400" if waits else "60",
            **options,
        },
        machinetype={"user_data_files": {"mjf_check": check}, "hs06": 12.5, **described},
    )
    vm = Vm(box, name, cluster)
    if not waits:
        vm.give_task()
    return vm
