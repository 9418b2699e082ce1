# SPDX-License-Identifier: GPL-3.0-or-later
"""The site of this scenario: its nodes, the two releases on its controller, and what must live through an upgrade."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import testinfra
import yaml
from boxes import RUNNING, Box, job_of, working
from desk import ARTIFACT, LAB, ROOT, Desk
from pool import batch, job, until, vms
from survivors import all_live_on

HEAD = "head"
WORKERS = ("node1", "node2", "node3")
GROUPS = {"central_manager": [HEAD], "access_point": [HEAD], "worker_node": list(WORKERS)}
QUEUE = "upgrade"
CURRENT = "/usr/local/lib/condor_vac/current"
FACTORY_LOG = "/var/lib/condor_vac/gridpp/factory.log"
# One VM of the factory fits on a node, beside both smoke VMs (512 MB each) or a batch job.
NODE_MB, VM_MB = 2560, 1400
BATCH_NODE = "node2"
BATCH_SECONDS = 100_000
LAB_VARIABLES = ROOT / "tests/lab/group_vars/all.yml"


@dataclass(frozen=True)
class Lives:
    """What ran: each node's leases, libvirt's number of each VM (UUID to number), and the batch job's ad."""

    leases: dict[str, list[dict[str, Any]]]
    numbers: dict[str, dict[str, int]]
    batch: dict[str, Any]


class Site:
    """The pool and its administrator's directory."""

    def __init__(self, place: Path, newer: Path) -> None:
        inventory = os.environ["MOLECULE_INVENTORY_FILE"]
        self.boxes = {
            name: Box(testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}"))
            for name in (HEAD, *WORKERS)
        }
        self.head = self.boxes[HEAD]
        self.older, self.newer = ARTIFACT, newer
        self.desk = Desk(place, GROUPS)
        self.plays = 0
        self._describe()

    def _describe(self) -> None:
        """Make the README's inventory one of a pool of the collection's own, with a VM that waits on each node."""
        lab = yaml.safe_load((LAB / "inventory.yml").read_text("utf-8"))["all"]["hosts"]
        for name, variables in self.desk.inventory["all"]["hosts"].items():
            variables["pool_network_interface"] = lab[name]["lab_address"]
        self.desk.vars["vacuum_manage_pool"] = True
        self.desk.vars["pool_config"] = yaml.safe_load(LAB_VARIABLES.read_text("utf-8"))["pool_config"]
        node = {"NUM_CPUS": 4, "MEMORY": NODE_MB, "CLAIM_WORKLIFE": 0}
        self.desk.vars["worker_config"] = {**self.desk.vars["worker_config"], **node}
        (keys,) = self.desk.machinetypes.values()
        self.desk.run_in_the_lab(keys, "images/guest.iso", self.head.queue(QUEUE))
        count = len(WORKERS)
        keys.update(memory_mb=VM_MB, max_machines=count, max_idle=count, max_starting=count)
        keys["user_data_options"].update(idle_seconds="86400", heartbeat_interval="5")

    def play(self, playbook: str, *words: str, collections: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Play from the newer release or another one; what it prints is beside molecule's files as well."""
        done = self.desk.play(f"vacuum.htcondor.{playbook}", *words, collections=collections or self.newer)
        self.plays += 1
        name = f"{self.plays:02d}-{playbook}.txt"
        Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], name).write_text(done.stdout, "utf-8")
        return done

    def trees(self) -> dict[str, str]:
        """The program tree that is current on each node."""
        return {name: box.run(f"readlink {CURRENT}") for name, box in self.boxes.items()}

    def fill(self) -> Lives:
        """Wait for a VM at work on each node, and have a batch job beside one of them."""
        leases, numbers = {}, {}
        cluster = batch(self.head, BATCH_SECONDS, f'Machine == "{BATCH_NODE}.lab"')
        for name in WORKERS:
            state = self.boxes[name].until(
                f"{name} has a VM at work", lambda now: [working(one, now) for one in now["leases"]] == [True], 1200
            )
            leases[name] = state["leases"]
            numbers[name] = {one["uuid"]: state["domains"][one["domain"]] for one in state["leases"]}
        # HTCondor counts a start a moment after the job runs.
        until("the batch job runs", lambda: job(self.head, cluster).get("NumJobStarts") == 1)
        return Lives(leases, numbers, job(self.head, cluster))

    def all_live(self, lives: Lives, *without: str) -> None:
        """Assert that all VMs (but those of the nodes ``without``) and the batch job are the ones that ran before."""
        ads = {f"{ad['ClusterId']}.{ad['ProcId']}": ad for ad in vms(self.head, "true")}
        for name in set(WORKERS) - set(without):
            box, leases = self.boxes[name], lives.leases[name]
            all_live_on(box, leases)
            domains = box.state()["domains"]
            assert {one["uuid"]: domains[one["domain"]] for one in leases} == lives.numbers[name], name
            found = [ads[job_of(one)] for one in leases]
            states = [(ad["JobStatus"], ad["NumJobStarts"]) for ad in found]
            assert states == [(RUNNING, 1)] * len(leases), f"{name}: {states}"
        ad = job(self.head, str(lives.batch["ClusterId"]))
        seen = [(one["JobStatus"], one["NumJobStarts"], one["JobCurrentStartDate"]) for one in (ad, lives.batch)]
        assert seen[0] == seen[1], seen

    def factory_version(self) -> str:
        """The release that the latest factory began with, by its log."""
        return self.head.run(f"grep -o 'condor_vac [0-9.]*, pid' {FACTORY_LOG} | tail -n 1").split()[1].rstrip(",")
