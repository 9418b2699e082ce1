# SPDX-License-Identifier: GPL-3.0-or-later
"""The package tasks of the roles, with a package manager that finds no HTCondor or fails in another way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
# Gives the answers of a file, and writes down each call.
MANAGER = """#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
import json, os
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({"name": {"type": "list"}, "state": {"type": "str"}, "update_cache": {"type": "bool"}})
here = os.environ["PRETENDED"]
with open(f"{here}/calls", "a") as stream:
    stream.write(json.dumps(module.params) + "\\n")
answers = json.load(open(f"{here}/answers"))
answer = answers["fresh" if module.params["update_cache"] else "present"]
module.exit_json() if answer is None else module.fail_json(msg=answer)
"""
PLAY = """
- hosts: localhost
  gather_facts: false
  vars:
    worker_all_packages: [condor, libvirt-clients]
    pool_packages: []
  tasks:
    - ansible.builtin.set_fact:
        pkg_mgr: pretended
        distribution: Debian
        distribution_version: "12.12"
        distribution_major_version: "12"
        os_family: Debian
        cacheable: true
    - ansible.builtin.include_tasks: {tasks}
"""


def play(place: Path, role: str, present: str | None, fresh: str | None) -> tuple[int, str, list[dict[str, Any]]]:
    """Exit code, output and the calls of the package manager."""
    (place / "library").mkdir()
    (place / "library/pretended.py").write_text(MANAGER)
    (place / "answers").write_text(json.dumps({"present": present, "fresh": fresh}))
    (place / "play.yml").write_text(PLAY.replace("{tasks}", str(ROOT / "roles" / role / "tasks/packages.yml")))
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        "ANSIBLE_LIBRARY": str(place / "library"),
        "ANSIBLE_LOCAL_TEMP": str(place / "tmp"),
        "PRETENDED": str(place),
    }
    program = str(Path(sys.executable).parent / "ansible-playbook")
    argv = [program, "-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}"]
    done = subprocess.run(
        [*argv, str(place / "play.yml")], env=environment, cwd=place, capture_output=True, text=True, check=False
    )
    calls = [json.loads(line) for line in (place / "calls").read_text().splitlines()]
    return done.returncode, done.stdout, calls


@pytest.mark.slow
@pytest.mark.parametrize(("role", "variable"), [("pool", "pool_packages"), ("worker", "worker_packages")])
def test_the_last_failure_names_the_repository(role: str, variable: str, tmp_path: Path) -> None:
    missing = "No package matching 'condor' is available"
    code, printed, calls = play(tmp_path, role, missing, missing)
    assert code != 0
    assert [call["update_cache"] for call in calls] == [None, True]
    last = printed[printed.index("Stop - which package is missing") :]
    assert "condor: in no package repository of this machine (Debian 12.12)" in last
    assert "htcondor-25.x-bookworm.list" in last
    assert variable in last


@pytest.mark.slow
@pytest.mark.parametrize("role", ["pool", "worker"])
def test_fresh_lists_that_have_it_are_enough(role: str, tmp_path: Path) -> None:
    code, printed, calls = play(tmp_path, role, "No package matching 'condor' is available", None)
    assert code == 0
    assert [call["update_cache"] for call in calls] == [None, True]
    assert "Stop - which package is missing" not in printed
