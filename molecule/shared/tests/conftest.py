# SPDX-License-Identifier: GPL-3.0-or-later
"""What the testinfra tests of all scenarios share: a VM of the factory that has done its work."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest
import testinfra

from tests.lab import inventory

WAIT_SECONDS = 1200
MACHINETYPE = "lab"
COMPLETED = 4


def group(name: str) -> Any:
    """The first machine of an inventory group, as testinfra reaches it."""
    uri = f"ansible://{name}?ansible_inventory={os.environ['MOLECULE_INVENTORY_FILE']}"
    return testinfra.get_hosts([uri])[0]


@pytest.fixture(scope="session")
def worker() -> Any:
    """A worker node."""
    return group("worker_node")


@pytest.fixture(scope="session")
def lab_kind(worker: Any) -> str:
    """What the worker node is: container or machine."""
    return str(inventory.hosts()[worker.check_output("hostname -s")]["lab_kind"])


@pytest.fixture(scope="session")
def access_point() -> Any:
    """The access point."""
    return group("access_point")


def ended_vms(access_point: Any) -> list[dict[str, Any]]:
    """The whole job ads of the factory's VMs that have ended, from queue and history."""
    constraint = f"""'JobUniverse == 13 && VacMachinetype == "{MACHINETYPE}"'"""
    ads: list[dict[str, Any]] = []
    for tool in ("condor_q -allusers", "condor_history"):
        text = access_point.check_output(f"{tool} -constraint {constraint} -json").strip()
        ads += [ad for ad in json.loads(text or "[]") if ad["JobStatus"] == COMPLETED]
    return ads


@pytest.fixture(scope="session")
def vm(access_point: Any) -> dict[str, Any]:
    """The job ad of a VM that the factory made, that did tasks and ended with 200."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        for ad in ended_vms(access_point):
            if ad.get("ShutdownCode") == 200:
                return ad
        time.sleep(2)
    status = access_point.run("condor_vac status; condor_vac machines; condor_q -allusers -hold").stdout
    pytest.fail(f"no VM ended with ShutdownCode 200 in {WAIT_SECONDS} s:\n{status}")
