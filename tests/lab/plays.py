# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks run on the lab's machines, and what came of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
# For what hangs: an emulated machine on a busy host takes a fifth of it.
TIMEOUT_SECONDS = 3600
SITE = "vacuum.htcondor.site"
VERIFY = "vacuum.htcondor.verify"
DRAIN = "vacuum.htcondor.drain"
_TASK = re.compile(r"^TASK \[(?:[\w.]+ : )?(.*?)\] \*+$")


@dataclass(frozen=True)
class Play:
    """How ansible-playbook ended: exit code, what it printed, and the seconds that it took."""

    status: int
    output: str
    seconds: float

    def changed(self) -> set[str]:
        """The names of the tasks that changed something, on any host."""
        task, found = "", set()
        for line in self.output.splitlines():
            match = _TASK.match(line)
            task = match.group(1) if match else task
            if line.startswith("changed: ["):
                found.add(task)
        return found

    def failures(self) -> list[str]:
        """The messages of the tasks that failed, each on one line, with the faults of an inventory."""
        texts = re.split(r"^(?:fatal|failed): \[", self.output, flags=re.MULTILINE)[1:]
        return [_message(text) for text in texts]


def _message(text: str) -> str:
    """The message of a failed task's result, as the default callback prints it in YAML."""
    lines = text.splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith("    msg: ")), None)
    if start is None:
        return lines[0]
    end = next((n for n in range(start + 1, len(lines)) if not lines[n].startswith("     ")), len(lines))
    message: str = yaml.safe_load("\n".join(lines[start:end]))["msg"]
    return " ".join([*_faults(lines[:start]), *message.split()])


def _faults(lines: list[str]) -> list[str]:
    """The list ``faults`` of a failed task's result, which comes before its message."""
    start = next((number for number, line in enumerate(lines) if line == "    faults:"), None)
    if start is None:
        return []
    end = next((n for n in range(start + 1, len(lines)) if not re.match(r"    (-|  )", lines[n])), len(lines))
    found: list[str] = yaml.safe_load("\n".join(lines[start:end]))["faults"]
    return found


def run(
    playbook: str,
    inventories: Sequence[str],
    variables: Mapping[str, Any] | None = None,
    *words: str,
) -> Play:
    """Run a playbook by name or path; ``variables`` are extra variables."""
    argv = ["ansible-playbook", *(word for path in inventories for word in ("-i", path)), playbook, *words]
    if variables:
        argv += ["-e", json.dumps(dict(variables))]
    environment = {
        **os.environ,
        "LAB_CHECKOUT": str(ROOT),
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
    }
    started = time.monotonic()
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env=environment,
        # Of its own: a login makes a shared one non-blocking for a while, and Ansible refuses such a one.
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
    return Play(done.returncode, done.stdout, time.monotonic() - started)


def run_in_scenario(playbook: str, variables: Mapping[str, Any] | None = None, *words: str) -> Play:
    """`run` on the machines of the molecule scenario that this process verifies."""
    return run(playbook, [os.environ["MOLECULE_INVENTORY_FILE"]], variables, *words)
