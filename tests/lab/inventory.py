# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's nodes that are on as an Ansible inventory and as a status table."""

from __future__ import annotations

import shlex
from typing import Any

import yaml

from . import ssh, state
from .paths import lab_dir, write_atomically
from .state import Node


def hosts() -> dict[str, dict[str, Any]]:
    """Return each ready node's Ansible variables."""
    return {node.name: _variables(node) for node in state.load_all() if node.ready and node.running()}


def _variables(node: Node) -> dict[str, Any]:
    return {
        "ansible_host": node.alias,
        "ansible_ssh_common_args": shlex.join(["-F", str(ssh.config_path())]),
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_pipelining": True,
        "lab_address": node.address,
        "lab_kind": node.kind,
    }


def write() -> str:
    """Write the lab's inventory.yml and return its text."""
    text = yaml.safe_dump({"all": {"hosts": hosts()}}, sort_keys=True)
    write_atomically(lab_dir() / "inventory.yml", text)
    return text


def status() -> list[dict[str, Any]]:
    """Return what there is of every recorded node."""
    return [
        {
            "name": node.name,
            "kind": node.kind,
            "state": _state(node),
            "address": node.address,
            "pid": node.process.pid if node.process else None,
            "image": node.image,
            "memory_mb": node.memory,
            "acceleration": node.acceleration,
            "internet": node.internet,
        }
        for node in state.load_all()
    ]


def _state(node: Node) -> str:
    if not node.running():
        return "off"
    return "up" if node.ready else "booting"


def status_table() -> str:
    """Return the status as text."""
    rows = [[str(value) for value in row.values()] for row in status()]
    if not rows:
        return "no nodes\n"
    rows.insert(0, list(status()[0]))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "".join("  ".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in rows)
