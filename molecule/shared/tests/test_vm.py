# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM that the factory made for itself, from its job ad to its logs."""

from __future__ import annotations

import json
import time
from typing import Any

SCHEDULER_UNIVERSE = 7
CLEAN_SECONDS = 300


def output(access_point: Any, vm: dict[str, Any], name: str) -> str:
    """A file that came back from the VM, in its job's directory on the access point."""
    return str(access_point.check_output(f"cat {vm['Iwd']}/{name}"))


def test_the_factory_is_a_scheduler_universe_job_of_the_owner(access_point: Any) -> None:
    constraint = f"JobUniverse == {SCHEDULER_UNIVERSE}"
    ads = json.loads(access_point.check_output(f"condor_q -allusers -constraint '{constraint}' -json"))
    assert [(ad["Owner"], ad["JobStatus"], ad["VacFactory"]) for ad in ads] == [("vac", 2, "lab")]
    assert "42" in str(ads[0]["OnExitRemove"])


def test_the_code_is_in_the_job_ad(vm: dict[str, Any]) -> None:
    assert vm["ShutdownCode"] == 200
    assert vm["ShutdownMessage"] == "Success"
    assert vm["VacKind"] == "success"
    assert vm["VacAbort"] is False
    assert vm["VacRuntime"] > 5


def test_the_vm_ran_once(vm: dict[str, Any]) -> None:
    assert vm["NumJobStarts"] == 1
    assert vm["JobRunCount"] == 1


def test_logs_come_back(access_point: Any, vm: dict[str, Any]) -> None:
    for name in ("joboutputs/vm-bootstrap.log", "joboutputs/vm-pilot.log", "console.log"):
        assert len(output(access_point, vm, name)) > 20


def test_the_vm_found_context_and_disks(access_point: Any, vm: dict[str, Any]) -> None:
    console = output(access_point, vm, "console.log")
    assert "prolog.sh start: ok" in console
    assert "FAILED" not in console
    for disk in ("vda", "vdb"):
        assert disk in console


def test_the_features_came(access_point: Any, vm: dict[str, Any]) -> None:
    pilot = output(access_point, vm, "joboutputs/vm-pilot.log")
    for key in ("jobfeature cpu_limit_secs", "machinefeature total_cpu", "jobfeature job_id"):
        assert f"{key} = " in pilot
    assert "MISSING" not in pilot


def test_nothing_of_an_ended_vm_is_left_on_the_node(worker: Any, vm: dict[str, Any]) -> None:
    ended = f"{vm['Owner']}_{vm['ClusterId']}.{vm['ProcId']}"
    deadline = time.monotonic() + CLEAN_SECONDS
    # The job's ad has the code before the node has been cleaned up.
    while ended in (left := worker.check_output("/usr/local/libexec/vac_lease list && virsh list --all --name")):
        assert time.monotonic() < deadline, left
        time.sleep(2)
