# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's running machines as an Ansible inventory and as a status table."""

from __future__ import annotations

import shlex
from typing import Any

import yaml

from . import ssh, state
from .paths import cache_dir, write_atomically
from .state import Machine


def hosts() -> dict[str, dict[str, Any]]:
    """Return each ready machine's Ansible variables."""
    return {machine.name: _variables(machine) for machine in state.load_all() if machine.ready and machine.running()}


def _variables(machine: Machine) -> dict[str, Any]:
    return {
        "ansible_host": "127.0.0.1",
        "ansible_port": machine.ssh_port,
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(ssh.private_key()),
        "ansible_ssh_common_args": "-F none " + shlex.join(ssh.OPTIONS),
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_pipelining": True,
        "lab_address": machine.address,
    }


def write() -> str:
    """Write .cache/lab/inventory.yml and return its text."""
    text = yaml.safe_dump({"all": {"hosts": hosts()}}, sort_keys=True)
    write_atomically(cache_dir() / "inventory.yml", text)
    return text


def status() -> list[dict[str, Any]]:
    """Return what there is of every recorded machine."""
    return [
        {
            "name": machine.name,
            "state": _state(machine),
            "address": machine.address,
            "ssh_port": machine.ssh_port,
            "pid": machine.process.pid if machine.process else None,
            "memory_mb": machine.memory,
            "acceleration": machine.acceleration,
            "internet": machine.internet,
            "image": machine.image,
        }
        for machine in state.load_all()
    ]


def _state(machine: Machine) -> str:
    if not machine.running():
        return "dead"
    return "up" if machine.ready else "booting"


def status_table() -> str:
    """Return the status as text."""
    rows = [[str(value) for value in row.values()] for row in status()]
    if not rows:
        return "no machines\n"
    rows.insert(0, list(status()[0]))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "".join("  ".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in rows)
