# SPDX-License-Identifier: GPL-3.0-or-later
"""A site's directory with its inventory, and the site playbook typed there by an administrator."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
CHECK = "Refuse an inventory that cannot be right"
# For what hangs.
TIMEOUT_SECONDS = 600
# Where no SSH server listens: a node that is contacted after all refuses at once.
NOBODY = {"ansible_host": "127.0.0.1", "ansible_port": 1}
OFFER = {"root_image": "https://vo.example.org/i.iso", "user_data": "https://vo.example.org/u"}
GRIDPP: dict[str, Any] = {
    "kind": "cernvm",
    "image": "https://images.example.org/cernvm3.iso",
    "user_data": "files/gridpp.user_data",
    "user_data_options": {"cvmfs_proxy": "http://squid.example.org:3128"},
    "user_data_files": {"hostkey": "hostkey.pem"},
    "max_machines": 10,
}


@dataclass
class Run:
    """How a run ended: exit code, output, the (host, task) that started, and what the check found."""

    status: int
    output: str
    started: list[tuple[str, str]] = field(default_factory=list)
    found: dict[str, Any] = field(default_factory=dict)

    def on_nodes(self) -> list[tuple[str, str]]:
        """The tasks that started on a host, other than the check, which runs on the controller."""
        return [(host, task) for host, task in self.started if task != CHECK]


class Site:
    """A directory outside the checkout, with an inventory that is right until a test changes it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.playbook = "site"
        (place / "files").mkdir()
        for name, text in {
            "files/gridpp.user_data": "#!/bin/sh\n",
            "files/hostkey.pem": "key\n",
            "files/vo.pipe": json.dumps({"machinetypes": [{**OFFER, "suffix": "prod"}]}),
            "files/flat.pipe": json.dumps(OFFER),
            "locked.pem": "$ANSIBLE_VAULT;1.1;AES256\n6530\n",
        }.items():
            (place / name).write_text(text, "utf-8")
        (place / "ansible.cfg").write_text("[ssh_connection]\nretries = 0\n", "utf-8")
        self.groups: dict[str, Any] = {
            "central_manager": {"hosts": {"cm": None}},
            "access_point": {"hosts": {"ap": None}},
            "worker_node": {"hosts": {"wn1": {}, "wn2": {}, "wn3": {}}, "vars": {"worker_sharing": ["nfs"]}},
        }
        self.gridpp = dict(GRIDPP)
        self.vars: dict[str, Any] = {
            **NOBODY,
            "worker_node_rack": 7,
            "vacuum_ignore_variables": ["worker_node_*"],
            "worker_config": {"NUM_CPUS": "{{ ansible_facts['processor_vcpus'] }}"},
            "vacuum_pipes": {"vo": {"url": "vo.pipe", "max_machines": 3}},
            "vacuum_machinetypes": {"gridpp": self.gridpp, "vo-prod": {"memory_mb": 4096}},
        }

    def take(self, inventory: dict[str, Any]) -> None:
        """Another inventory instead, with hosts that nobody reaches."""
        self.groups = inventory["children"]
        self.vars = {**inventory.get("vars", {}), **NOBODY}

    def play(self, *words: str, python: Path = Path(sys.executable), collections: Path | None = None) -> Run:
        """The playbook, that of the site unless a test says otherwise, with the inventory as it is now."""
        text = yaml.safe_dump({"all": {"children": self.groups, "vars": self.vars}}, sort_keys=False)
        # What a test wrote as a vault's value.
        text = re.sub(r"VAULT (\w+)", r'!vault "$ANSIBLE_VAULT;1.1;AES256\\n\1\\n"', text)
        (self.place / "inventory.yml").write_text(text, "utf-8")
        witness = self.place / "witness.jsonl"
        witness.write_text("")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
        own = {
            "ANSIBLE_COLLECTIONS_PATH": str(collections or ROOT / "collections"),
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback_plugins"),
            "ANSIBLE_CALLBACKS_ENABLED": "witness",
            "ANSIBLE_NOCOLOR": "1",
            "HOME": str(self.place),
            "WITNESS": str(witness),
        }
        done = subprocess.run(
            [
                str(python.with_name("ansible-playbook")),
                "-i",
                "inventory.yml",
                f"vacuum.htcondor.{self.playbook}",
                *words,
            ],
            cwd=self.place,
            env={**kept, **own},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        events = [json.loads(line) for line in witness.read_text("utf-8").splitlines()]
        started = [(event[0], event[1].rpartition(" : ")[2]) for event in events if isinstance(event, list)]
        found = next((event for event in events if isinstance(event, dict)), {})
        return Run(done.returncode, done.stdout, started, found)
