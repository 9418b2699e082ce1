# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool in a root directory as a host of Ansible's: modules run inside, as root, beside the real daemons."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.integration.chroot import CHECKOUT, OWNER, Pool

ROLE = """
- hosts: ap
  gather_facts: false
  tasks:
    - name: Deploy machinetypes and factories
      ansible.builtin.import_role:
        name: vacuum.htcondor.factory
"""


class Node:
    """Runs modules and the role of access points inside the pool; ``work`` is a directory of the test's."""

    def __init__(self, pool: Pool, work: Path) -> None:
        self._work = work
        python = work / "python"
        python.write_text(f'#!/bin/sh\nexec {shlex.join(pool.inside("python3"))} "$@"\n')
        python.chmod(0o755)
        host = f"ap ansible_connection=local ansible_pipelining=true ansible_python_interpreter={python}\n"
        work.joinpath("inventory").write_text(host)

    def run(self, module: str, arguments: dict[str, Any], *flags: str) -> dict[str, Any]:
        """The module's result; ``flags`` are ansible's, such as --check. A failed one has ``failed``."""
        words = ["ap", "-m", f"vacuum.htcondor.{module}", "-a", json.dumps(arguments), *flags]
        output = self._command("ansible", *words)
        status, found, text = output.partition("=> ")
        if not found:
            raise AssertionError(f"{module}: {output}")
        result, _ = json.JSONDecoder().raw_decode(text)
        return dict(result, failed="FAILED" in status)

    def play_role(self, machinetypes: dict[str, Any], *words: str, removable: Sequence[str] = ()) -> str:
        """Run the role factory with these machinetypes; what ansible-playbook printed.

        ``words`` are more words of its command line.
        """
        self._work.joinpath("play.yml").write_text(ROLE)
        variables = {
            "factory_machinetypes": machinetypes,
            "factory_owner": OWNER,
            "factory_create_owner": False,
            "factory_space": "vac.test",
            "vacuum_remove_machinetypes": list(removable),
        }
        self._work.joinpath("vars.yml").write_text(yaml.safe_dump(variables))
        return self._command("ansible-playbook", "play.yml", "-e", "@vars.yml", "--diff", *words)

    def _command(self, program: str, *words: str) -> str:
        done = subprocess.run(
            [str(Path(sys.executable).with_name(program)), "-i", "inventory", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd=self._work,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
                "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
                "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "collections"),
            },
        )
        return done.stdout + done.stderr
