# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool in a root directory as a host of Ansible's: modules run inside, as root, beside the real daemons."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.integration.chroot import CHECKOUT, Pool

# Where a node has /usr/local/bin/condor_vac.
CLI = """#!/usr/bin/python3
import sys
sys.path.insert(0, "/checkout/src")
sys.dont_write_bytecode = True
from condor_vac.cli import main
sys.exit(main(sys.argv[1:]))
"""


class Node:
    """Runs modules of the collection inside the pool; ``work`` is a directory of the test's."""

    def __init__(self, pool: Pool, work: Path) -> None:
        self._work = work
        programs = pool.local / "programs"
        if not programs.exists():
            programs.mkdir()
            programs.joinpath("condor_vac").write_text(CLI)
            programs.joinpath("condor_vac").chmod(0o755)
            # In the pool's own mount namespace: the root directory itself is shared by all pools.
            pool.run("mount", "--bind", "/pool/programs", "/usr/local/bin")
        self._python = work / "python"
        inside = shlex.join(pool.inside("python3"))
        self._python.write_text(f'#!/bin/sh\nexec {inside} "$@"\n')
        self._python.chmod(0o755)

    def run(self, module: str, arguments: dict[str, Any], *flags: str) -> dict[str, Any]:
        """The module's result; ``flags`` are ansible's, such as --check. A failed one has ``msg``."""
        host = f"ap ansible_connection=local ansible_pipelining=true ansible_python_interpreter={self._python}\n"
        self._work.joinpath("inventory").write_text(host)
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible")),
                "-i",
                str(self._work / "inventory"),
                "ap",
                "-m",
                f"vacuum.htcondor.{module}",
                "-a",
                json.dumps(arguments),
                *flags,
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=self._work,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
                "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            },
        )
        _, found, text = done.stdout.partition("=> ")
        if not found:
            raise AssertionError(f"{module}: {done.stdout}{done.stderr}")
        result, _ = json.JSONDecoder().raw_decode(text)
        return dict(result, failed="FAILED" in done.stdout.split("=>")[0])
