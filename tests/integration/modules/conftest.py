# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules run by the real Ansible on a real pool: collector, negotiator, schedd, and a startd."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration import chroot
from tests.integration.collection import group_by_suite
from tests.module_calls import Step, assert_four, four, play

SUITES = ("trixie",)
CONFIG = """
DAEMON_LIST = MASTER COLLECTOR NEGOTIATOR SCHEDD STARTD
SEC_TOKEN_SYSTEM_DIRECTORY = /pool/tokens.d
SEC_PASSWORD_DIRECTORY = /pool/passwords.d
TRUST_DOMAIN = vac.test
SEC_DEFAULT_AUTHENTICATION_METHODS = FS, IDTOKENS
SEC_CLIENT_AUTHENTICATION_METHODS = FS, IDTOKENS
NUM_CPUS = 2
RUNBENCHMARKS = False
"""


class Node:
    """Runs modules inside a pool; Ansible reaches it by an interpreter that enters the pool's namespaces."""

    def __init__(self, pool: chroot.Pool, directory: Path) -> None:
        self.pool = pool
        self.directory = directory
        interpreter = directory / "python"
        interpreter.write_text(f'#!/bin/sh\nexec {shlex.join(pool.inside("/usr/bin/python3"))} "$@"\n')
        interpreter.chmod(0o755)
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": str(interpreter),
            "ansible_remote_tmp": "/tmp/.ansible",
            "ansible_become": False,
        }
        (directory / "inventory.json").write_text(json.dumps({"all": {"hosts": {"node": variables}}}))

    def play(self, *steps: Step) -> list[dict[str, Any]]:
        """The results of *steps*, run one after another."""
        return play(self.directory / "inventory.json", "node", self.directory, list(steps))

    def four_calls(self, module: str, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        """Check, apply, check, apply: asserts changed, changed, unchanged, unchanged."""
        return assert_four(self.play(*four(module, arguments)))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One version's tests are one worker's, so that there is one pool for each."""
    group_by_suite(items, __file__, SUITES)


@pytest.fixture(scope="session", params=SUITES)
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A machine that is a whole pool, with HTCondor 23.9.6."""
    reason = chroot.missing()
    if reason is not None:
        pytest.skip(reason)
    with chroot.Pool(request.param, CONFIG) as pool:
        made = Node(pool, tmp_path_factory.mktemp("node"))
        made.play(("condor_daemons", {"state": "ready"}, False))
        yield made
