# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of modules on a machine by the real Ansible, one after another in one play, and their results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# For what hangs: an emulated machine on a busy host takes a fifth of it.
TIMEOUT_SECONDS = 3600
# One call: the module's name, its arguments, and whether in check mode.
Step = tuple[str, dict[str, Any], bool]
FOUR = (True, False, True, False)


def play(inventory: str | Path, host: str, directory: Path, steps: list[Step]) -> list[dict[str, Any]]:
    """The results of *steps*; a failed one does not stop the next. *directory* is for the play's own files."""
    tasks: list[dict[str, Any]] = [
        {
            f"vacuum.htcondor.{module}": arguments,
            "check_mode": check,
            "diff": True,
            "register": f"result_{number}",
            "ignore_errors": True,
        }
        for number, (module, arguments, check) in enumerate(steps)
    ]
    results = ", ".join(f"result_{number}" for number in range(len(steps)))
    copy = {"content": f"{{{{ [{results}] | to_json }}}}", "dest": str(directory / "results.json")}
    local = {"ansible_python_interpreter": sys.executable, "ansible_connection": "local"}
    tasks.append({"ansible.builtin.copy": copy, "delegate_to": "localhost", "vars": local, "become": False})
    playbook = directory / "play.json"
    playbook.write_text(json.dumps([{"hosts": host, "gather_facts": False, "become": True, "tasks": tasks}]))
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        # The scenario `machine` has that of the artifact there.
        "ANSIBLE_COLLECTIONS_PATH": os.environ.get("ANSIBLE_COLLECTIONS_PATH", str(ROOT / "collections")),
        "ANSIBLE_PIPELINING": "1",
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), str(playbook)]
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return list(json.loads((directory / "results.json").read_text()))


def assert_four(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Check, apply, check, apply: changed, changed, unchanged, unchanged; returns *results*."""
    failures = [result.get("msg") for result in results if result["failed"]]
    assert not failures, f"failed: {failures}"
    changed = [result["changed"] for result in results]
    assert changed == [True, True, False, False], f"check, apply, check, apply changed {changed}: {results}"
    return results


def four(module: str, arguments: dict[str, Any]) -> list[Step]:
    """The four calls of one module with the same arguments."""
    return [(module, arguments, check) for check in FOUR]
