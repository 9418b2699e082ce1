# SPDX-License-Identifier: GPL-3.0-or-later
"""The pool of this scenario: its VMs by node and experiment, and what the negotiator gave in each cycle."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab import plays, ssh, state

CONVERGE = Path(__file__).resolve().parents[1] / "converge.yml"
HEAD = "head"
NODES = ("node1", "node2", "node3")
EXPERIMENTS = ("alpha", "beta")
LOOK_SECONDS = 2.0
# Ten times what it takes on a busy host.
LIMIT_SECONDS = 1800.0
# As the site's root, for whom this pool's daemons know no other method.
BY_FILE_SYSTEM = "_CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS=FS"
_MATCH = re.compile(r" Matched (\d+\.\d+) .* (slot\S+@(\w+)\S*)$", re.MULTILINE)


class Pool:
    """The nodes, by SSH."""

    def run(self, node: str, script: str) -> str:
        """Standard output of a shell script on a node, which must succeed. Raises LabError."""
        return ssh.run(state.require(node), script, "").strip()

    def vms(self) -> list[dict[str, Any]]:
        """The VM jobs in the queue, with what tests ask of them."""
        names = "ClusterId,ProcId,JobStatus,VacMachinetype,RemoteHost,NumJobStarts"
        words = f"condor_q -allusers -constraint 'JobUniverse == 13' -json -attributes {names}"
        found: list[dict[str, Any]] = json.loads(self.run(HEAD, words) or "[]")
        return found

    def idle(self) -> Counter[str]:
        """How many VMs of each experiment wait."""
        return Counter(str(ad["VacMachinetype"]) for ad in self.vms() if ad["JobStatus"] == 1)

    def running(self) -> Counter[tuple[str, str]]:
        """How many VMs of an experiment run on a node, by experiment and node."""
        return Counter(
            (str(ad["VacMachinetype"]), node_of(ad)) for ad in self.vms() if ad["JobStatus"] == 2 and "RemoteHost" in ad
        )

    def shares(self) -> Counter[str]:
        """How many VMs of each experiment run."""
        found: Counter[str] = Counter()
        for (name, _node), number in self.running().items():
            found[name] += number
        return found

    def domains(self, node: str) -> set[str]:
        """The domains that libvirt runs on a node."""
        return set(self.run(node, "virsh -q list --name").split())

    def log(self) -> str:
        """The negotiator's log."""
        return self.run(HEAD, "cat $(condor_config_val NEGOTIATOR_LOG)")

    def cycles(self, since: int = 0) -> list[Counter[str]]:
        """How many VMs each negotiation cycle gave to each node, of those that gave any; after ``since``."""
        found = []
        for text in self.log()[since:].split("Started Negotiation Cycle")[1:]:
            given = Counter(match[3] for match in _MATCH.finditer(text))
            found += [given] if given else []
        return found

    def until(self, what: str, wanted: Callable[[], Any]) -> Any:
        """The first true value of ``wanted()``."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while not (found := wanted()):
            if time.monotonic() > deadline:
                shown = self.run(HEAD, "condor_status; condor_q -allusers -nobatch; condor_vac status")
                pytest.fail(f"not within {LIMIT_SECONDS:.0f} s: {what}\n{shown}")
            time.sleep(LOOK_SECONDS)
        return found

    def converge(self, node: str, **variables: Any) -> plays.Play:
        """Run the scenario's site on one node, with these variables changed; its pool stays as it is."""
        changed = {"vacuum_manage_pool": False, **variables}
        return plays.run(str(CONVERGE), [os.environ["MOLECULE_INVENTORY_FILE"]], changed, "--limit", node)


def node_of(ad: dict[str, Any]) -> str:
    """The node on which a VM runs: ``slot1_2@node1.lab``."""
    return str(ad["RemoteHost"]).rpartition("@")[2].partition(".")[0]
