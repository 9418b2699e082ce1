# SPDX-License-Identifier: GPL-3.0-or-later
"""An administrator's directory outside the checkout: an inventory of the lab's nodes, and the README's commands."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
LAB = ROOT / ".cache/lab/labs" / os.environ["VAC_LAB"]
# Where `tests/artifact` leaves the installed collection.
ARTIFACT = ROOT / ".cache/artifact/collections"
BOX = {"central_manager": ["box"], "access_point": ["box"], "worker_node": ["box"]}
# What a lab needs that a site does not: it has no KVM, no NFS, and little time; a VM may take long to boot.
LAB_VARIABLES = {
    "worker_emulation": True,
    "worker_sharing": ["http"],
    "worker_config": {"STARTER_UPDATE_INTERVAL": 15, "UPDATE_INTERVAL": 15, "RunBenchmarks": "False"},
    "vacuum_manage_pool": False,
}
LAB_MACHINETYPE = {
    "sharing": "http", "memory_mb": 256, "cvmfs_cache_gb": 1, "scratch_gb": 1, "max_machines": 1, "cycle_seconds": 10,
    "fizzle_seconds": 3600, "heartbeat_file": "heartbeat", "heartbeat_seconds": 600, "evidence_seconds": 1,
    "evidence_cpu_fraction": 0,
}  # fmt: skip


def readme_inventory() -> dict[str, Any]:
    """The inventory that README.md shows."""
    blocks = re.findall(r"```yaml\n(# inventory\.yml\n.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    (text,) = blocks
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def typed(place: Path, collections: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """What a command of Ansible's prints in a directory: without any setting of this process, by that ansible.cfg."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment["ANSIBLE_COLLECTIONS_PATH"] = str(collections)
    return subprocess.run(
        command,
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


class Desk:
    """The directory, for the nodes of each group. Tests change ``inventory`` (``vars`` is a part of it) and play it."""

    def __init__(self, place: Path, nodes: Mapping[str, Sequence[str]] = BOX) -> None:
        self.place = place
        self.inventory = readme_inventory()
        lab = yaml.safe_load((LAB / "inventory.yml").read_text("utf-8"))["all"]["hosts"]
        groups = self.inventory["all"]["children"]
        for group in groups:
            groups[group] = {"hosts": dict.fromkeys(nodes[group])}
        self.inventory["all"]["hosts"] = {
            name: {"ansible_host": lab[name]["ansible_host"], "ansible_user": "root"}
            for name in {name for names in nodes.values() for name in names}
        }
        self.vars: dict[str, Any] = self.inventory["all"]["vars"]
        self.vars.update(LAB_VARIABLES)
        (place / "files").mkdir(parents=True)
        common = f"-F {LAB}/ssh_config"
        (place / "ansible.cfg").write_text(f"[ssh_connection]\nssh_common_args = {common}\npipelining = true\n")

    @property
    def machinetypes(self) -> dict[str, dict[str, Any]]:
        """The inventory's machinetypes."""
        found: dict[str, dict[str, Any]] = self.vars["vacuum_machinetypes"]
        return found

    def run_in_the_lab(self, keys: dict[str, Any], image: str, queue: str) -> None:
        """Change a machinetype so that it runs here: the test guest from ``image``, its agent, and small VMs.

        This host cannot reach the servers of images and user data. ``queue`` is the address of the experiment's task
        queue, for VMs. Its paths stay relative ones.
        """
        if "://" in keys["user_data"]:
            keys["user_data"] = "files/agent.user_data"
        (self.place / keys["user_data"]).write_bytes((ROOT / "tests/experiment/guest/agent.user_data").read_bytes())
        (self.place / image).parent.mkdir(exist_ok=True)
        (self.place / image).symlink_to(ROOT / ".cache/lab/guest.iso")
        for key in ("image_checksum", "image_signing_dn"):
            keys.pop(key, None)
        keys.update(LAB_MACHINETYPE, image=image)
        options = {"queue_url": queue, "tasks_per_vm": "1", "idle_seconds": "10"}
        keys["user_data_options"] = {**keys.get("user_data_options", {}), **options}

    def play(self, playbook: str, *words: str, collections: Path = ARTIFACT) -> subprocess.CompletedProcess[str]:
        """Type an ansible-playbook command, with the inventory as it is now, and the collection of a directory."""
        (self.place / "inventory.yml").write_text(yaml.safe_dump(self.inventory), "utf-8")
        return typed(self.place, collections, "ansible-playbook", "-i", "inventory.yml", playbook, *words)
