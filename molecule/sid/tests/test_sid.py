# SPDX-License-Identifier: GPL-3.0-or-later
"""On HTCondor 25.4 and later libvirt's hook alone ends a VM: once, with its code in the job's ad."""

from __future__ import annotations

import json

import pytest
from boxes import COMPLETED, Box
from kinds import Vm


def test_this_is_the_newest_htcondor(box: Box) -> None:
    version = box.run("condor_version").splitlines()[0].split()[1]
    assert tuple(map(int, version.split("."))) >= (25, 4, 0)


def test_there_is_no_job_exit_hook(box: Box) -> None:
    assert box.host.run("condor_config_val VAC_HOOK_JOB_EXIT").rc != 0
    assert box.run("condor_config_val VAC_HOOK_PREPARE_JOB") == "/usr/local/libexec/vac_prepare_hook"


@pytest.mark.parametrize("name", ["cernvm-nfs", "cernvm-http"])
def test_the_vm_runs_exactly_once_to_200(box: Box, vms: dict[str, Vm], name: str) -> None:
    ad = vms[name].ended()
    assert ad["JobStatus"] == COMPLETED, ad
    assert (ad["ShutdownCode"], ad["VacCause"]) == (200, "message")
    text = box.run(
        f"condor_history -limit 1 {vms[name].cluster} -json -attributes NumJobStarts,JobRunCount,NumShadowStarts"
    )
    assert json.loads(text) == [{"NumJobStarts": 1, "JobRunCount": 1, "NumShadowStarts": 1}]
    assert "mjf-check ended with 0" in vms[name].output("joboutputs/vm-pilot.log")


def test_the_sandboxes_are_gone(box: Box, vms: dict[str, Vm]) -> None:
    """What nginx wrote belongs to its user; HTCondor must be able to remove it."""
    for vm in vms.values():
        vm.ended()
    clusters = [vm.cluster for vm in vms.values()]
    box.until("leases are gone", lambda now: all(cluster not in json.dumps(now["leases"]) for cluster in clusters), 60)
    assert len(box.state()["sandboxes"]) == len(box.state()["leases"])
