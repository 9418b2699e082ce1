# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin: ``ansible-inventory`` on this machine asks the collector of a real pool."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration import chroot
from tests.integration.collection import group_by_suite

SUITES = ("trixie", "sid")
ROOT = Path(__file__).resolve().parents[2]
CONFIG = "DAEMON_LIST = MASTER COLLECTOR NEGOTIATOR SCHEDD STARTD\nNUM_CPUS = 2\nRUNBENCHMARKS = False\n"
SECONDS = 600
# What its startd calls itself.
MACHINE = "127-0-0-1.vac.test"


VMS = {"HasVM": "True", "VM_Type": '"kvm"'}


class Controller:
    """This machine, with the pool's condor_status on its PATH."""

    def __init__(self, pool: chroot.Pool, directory: Path) -> None:
        self.pool = pool
        self.directory = directory
        program = directory / "condor_status"
        program.write_text(f'#!/bin/sh\nexec {shlex.join(pool.inside("condor_status"))} "$@"\n')
        program.chmod(0o755)

    def ask(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """``ansible-inventory`` with an inventory of these options."""
        path = self.directory / "site.htcondor.yml"
        path.write_text(json.dumps({"plugin": "vacuum.htcondor.pool", **options}))
        tools = Path(sys.executable).parent
        environment = {
            **os.environ,
            "PATH": f"{self.directory}:{tools}:/usr/sbin:/usr/bin:/sbin:/bin",
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "ANSIBLE_INVENTORY_ENABLED": "vacuum.htcondor.pool",
            "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
        }
        argv = [str(tools / "ansible-inventory"), "-i", str(path), *words]
        return subprocess.run(
            argv, cwd=self.directory, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
        )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One version's tests are one worker's, so that there is one pool for each."""
    group_by_suite(items, __file__, SUITES)


@pytest.fixture(scope="module", params=SUITES)
def controller(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    """A pool with one real startd, and machines that others advertise."""
    reason = chroot.missing()
    if reason is not None:
        pytest.skip(reason)
    with chroot.Pool(request.param, CONFIG) as pool:
        pool.run("condor_who", "-wait:120", 'IsReady && STARTD_State =?= "Ready"')
        made = Controller(pool, tmp_path_factory.mktemp("controller"))
        pool.advertise("wn1.vac.test", **VMS, VacImages='"cernvm3.iso"', VacShutdownTime="4000000000", VacFindings="3")
        pool.advertise("wn2.vac.test", HasVM="False", VMOfflineReason=r'"{{ 6 * 7 }} \"quoted\""')
        # What a machine that may advertise can say: of itself, and of others.
        pool.advertise("-oProxyCommand=id", **VMS)
        pool.advertise("wn3.vac.test", **VMS, VM_Networking_Types="{" * 90 + "}" * 90, VacImages='"../x"')
        yield made


def test_the_graph(controller: Controller) -> None:
    shown = controller.ask("--graph", groups={"worker_node": True})
    assert shown.returncode == 0, shown.stderr
    lines = [line.strip(" |-") for line in shown.stdout.splitlines()]
    groups: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("@"):
            groups[line] = []
        else:
            groups[list(groups)[-1]].append(line)
    everyone = [MACHINE, "wn1.vac.test", "wn2.vac.test", "wn3.vac.test"]
    assert groups["@worker_node:"] == everyone
    assert groups["@has_vm:"] == ["wn1.vac.test", "wn3.vac.test"]
    assert groups["@problem:"] == [MACHINE, "wn2.vac.test"]
    assert groups["@offline:"] == ["wn2.vac.test"]
    assert groups["@draining:"] == groups["@image_cernvm3_iso:"] == groups["@findings:"] == ["wn1.vac.test"]
    said = " ".join(shown.stderr.split())
    assert "'-oProxyCommand=id' is not a valid host name" in said
    assert "wn3.vac.test: 1 of its images" in said


def text(value: Any) -> str:
    """What ``--list`` prints of a text that is no template."""
    return str(value["__ansible_unsafe"] if isinstance(value, dict) else value)


def test_what_is_known_of_a_host(controller: Controller) -> None:
    known = json.loads(controller.ask("--list", constraint='Machine != "wn1.vac.test"').stdout)["_meta"]["hostvars"]
    assert sorted(known) == [MACHINE, "wn2.vac.test", "wn3.vac.test"]
    assert known[MACHINE]["htcondor"]["cpus"] == 2
    assert text(known[MACHINE]["htcondor"]["version"]) == controller.pool.run("condor_version").stdout.split()[1]
    assert '{{ 6 * 7 }} "quoted"' in text(known["wn2.vac.test"]["htcondor"]["offline_reason"])


def test_condor_drain_puts_the_machine_among_those_that_drain(controller: Controller) -> None:
    controller.pool.run("condor_drain", "-reason", "disk", MACHINE)
    try:
        for _ in range(60):
            shown = controller.ask("--host", MACHINE).stdout
            if json.loads(shown)["htcondor"]["draining"]:
                break
        else:
            pytest.fail(shown)
    finally:
        controller.pool.run("condor_drain", "-cancel", MACHINE)


def test_a_collector_that_is_silent_is_one_error(controller: Controller) -> None:
    silent = controller.ask("--graph", collector="127.0.0.1:1")
    assert silent.returncode != 0
    said = " ".join(silent.stderr.split())
    assert "see whether the central manager runs and whether this machine may read from it" in said
    assert said.count("Failed to parse inventory") + said.count("Failed to parse /") <= 3, said
