# SPDX-License-Identifier: GPL-3.0-or-later
"""An administrator's directory: the README's inventory with the lab's host in it, and the README's commands."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
LAB = ROOT / ".cache/lab/labs" / os.environ["VAC_LAB"]
# What a lab needs that a site does not: it has no KVM, no NFS, and little time.
LAB_VARIABLES = {
    "worker_emulation": True,
    "worker_sharing": ["http"],
    "worker_config": {"STARTER_UPDATE_INTERVAL": 15, "UPDATE_INTERVAL": 15, "RunBenchmarks": "False"},
    "vacuum_manage_pool": False,
}
LAB_MACHINETYPE = {
    "sharing": "http", "memory_mb": 256, "cvmfs_cache_gb": 1, "scratch_gb": 1, "max_machines": 1, "cycle_seconds": 10,
    "fizzle_seconds": 300, "heartbeat_file": "heartbeat", "heartbeat_seconds": 600,
}  # fmt: skip


def readme_inventory() -> dict[str, Any]:
    """The inventory that README.md shows."""
    blocks = re.findall(r"```yaml\n(# inventory\.yml\n.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    (text,) = blocks
    found: dict[str, Any] = yaml.safe_load(text)
    return found


class Desk:
    """A directory outside the checkout. ``queue`` is the address of the experiment's task queue, for VMs."""

    def __init__(self, place: Path, queue: str) -> None:
        self.place = place
        lab = yaml.safe_load((LAB / "inventory.yml").read_text("utf-8"))["all"]["hosts"]["box"]
        self.inventory = readme_inventory()
        groups = self.inventory["all"]["children"]
        for group in groups:
            groups[group] = {"hosts": {"box": None}}
        self.inventory["all"]["hosts"] = {"box": {"ansible_host": lab["ansible_host"], "ansible_user": "root"}}
        self.vars = self.inventory["all"]["vars"]
        self.vars.update(LAB_VARIABLES)
        (place / "files").mkdir(parents=True)
        (place / "images").mkdir()
        (name,) = self.vars["vacuum_machinetypes"]
        self.machinetype = self.vars["vacuum_machinetypes"][name]
        # This host cannot reach the server of the README's image; the path of its user data stays, a relative one.
        agent = (ROOT / "tests/experiment/guest/agent.user_data").read_bytes()
        (place / self.machinetype["user_data"]).write_bytes(agent)
        (place / "images/guest.iso").symlink_to(ROOT / ".cache/lab/guest.iso")
        del self.machinetype["image_checksum"]
        self.machinetype.update(LAB_MACHINETYPE, image="images/guest.iso")
        self.machinetype["user_data_options"] = {"queue_url": queue, "tasks_per_vm": "1", "idle_seconds": "10"}
        common = f"-F {LAB}/ssh_config"
        (place / "ansible.cfg").write_text(f"[ssh_connection]\nssh_common_args = {common}\npipelining = true\n")

    def play(self, playbook: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Type an ansible-playbook command of the README, with the inventory as it is now."""
        (self.place / "inventory.yml").write_text(yaml.safe_dump(self.inventory), "utf-8")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        environment["ANSIBLE_COLLECTIONS_PATH"] = str(ROOT / ".cache/artifact/collections")
        return subprocess.run(
            ["ansible-playbook", "-i", "inventory.yml", playbook, *words],
            cwd=self.place,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
