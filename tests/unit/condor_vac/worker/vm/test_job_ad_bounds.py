# SPDX-License-Identifier: GPL-3.0-or-later
"""Job ads at their bounds: what may be left out, counts, ids, and what a refusal shows."""

from __future__ import annotations

from typing import Any

import pytest

from condor_vac.base.errors import VacError
from condor_vac.worker.vm import job_ad
from condor_vac.worker.vm.job_ad import Disk
from tests.unit.condor_vac.worker.vm.test_job_ad import parse, text


def refusal(**changes: str | None) -> str:
    with pytest.raises(VacError) as error_info:
        parse(**changes)
    return str(error_info.value)


def test_every_attribute_that_may_be_left_out() -> None:
    job = parse(
        CpusProvisioned="2",
        MemoryProvisioned="2000",
        JobVM_VCPUS="4",
        JobVMNetworking="false",
        JobVMNetworkingType='" Bridge "',
        JobVM_MACADDR='" 52:54:00:AB:CD:EF "',
        JobVMVNCConsole="true",
        VM_WORKING_DIR='"/x/dir_1"',
        VacSpace='"vac.example.org"',
        VacMachinetype='"atlas"',
        VacMachinetypeFile='"atlas.json"',
        WantIOProxy="false",
        VMPARAM_No_Output_VM="true",
        VMPARAM_VM_NAME='"vac_pool.example.org_7.3"',
    )
    assert job == parse()._replace(
        processors=2,
        memory_mb=2000,
        cpus_provisioned=2,
        request_cpus=None,
        vcpus=4,
        networking=False,
        mac="52:54:00:ab:cd:ef",
        vnc=True,
        working_dir="/x/dir_1",
        space="vac.example.org",
        machinetype="atlas",
        machinetype_file="atlas.json",
        want_io_proxy=False,
        no_output_vm=True,
    )


def test_what_is_left_out_is_none_or_false() -> None:
    names = ("JobVMNetworking", "JobVMNetworkingType", "JobVMVNCConsole", "VMPARAM_No_Output_VM", "WantIOProxy")
    job = parse(**dict.fromkeys((*names, "UserData", "PublicKey")))
    expected: dict[str, Any] = {"networking": False, "vnc": False, "no_output_vm": False, "want_io_proxy": False}
    assert job == parse()._replace(user_data=None, public_key=None, **expected)


@pytest.mark.parametrize("name", ["JobVMMemory", "JobVM_VCPUS", "CpusProvisioned", "MemoryProvisioned"])
def test_the_bounds_of_counts(name: str) -> None:
    parse(**{name: "1"})
    parse(**{name: str(1 << 24)})
    for value in ("0", str((1 << 24) + 1)):
        assert refusal(**{name: value}) == (f"job ad: {name}: must be a whole number from 1 to 16777216; it is {value}")


def test_a_request_is_used_and_checked_where_nothing_else_binds() -> None:
    assert parse(JobVM_VCPUS=None, RequestCpus="3").request_cpus == 3
    assert refusal(JobVM_VCPUS=None, RequestCpus="0").startswith("job ad: RequestCpus: must be a whole number from 1")
    assert refusal(JobVMMemory=None, RequestMemory="0").startswith(
        "job ad: RequestMemory: must be a whole number from 1"
    )
    assert refusal(JobVMMemory=None, RequestMemory=None) == ("job ad: RequestMemory: missing; a VM-universe job has it")


def test_the_bounds_of_a_jobs_id() -> None:
    job = parse(ClusterId=str(2**53), ProcId="0")
    assert (job.cluster, job.proc) == (2**53, 0)
    assert refusal(ClusterId="0") == "job ad: ClusterId: must be a whole number from 1 to 9007199254740992; it is 0"
    assert "from 1 to 9007199254740992" in refusal(ClusterId=str(2**53 + 1))
    assert "from 0 to 9007199254740992" in refusal(ProcId="-1")
    assert "from 0 to 9007199254740992" in refusal(ProcId=str(2**53 + 1))


def test_the_source_is_named() -> None:
    with pytest.raises(VacError, match=r"^x\.ad: Owner: missing; a VM-universe job has it$"):
        job_ad.parse(text(Owner=None), "x.ad")


def test_what_is_wrong_is_shown_in_part_and_in_ascii() -> None:
    message = refusal(User='"' + "\u00e9" * 200 + '"')
    head = "job ad: User: must be USER@DOMAIN of letters, digits and . _ + -; it is "
    assert message == head + ("'" + "\\xe9" * 200)[:80]
    assert (
        refusal(JobVM_MACADDR="5") == "job ad: JobVM_MACADDR: must be a MAC address such as 52:54:00:12:34:56; it is 5"
    )
    assert refusal(VMPARAM_VM_NAME='"x"') == (
        "job ad: VMPARAM_VM_NAME: must be vac_pool.example.org_7.3, as HTCondor names this VM; remove it"
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "must be text such as /images/vm.iso:hda:r:raw"),
        ("x" * 16385, "must be text such as /images/vm.iso:hda:r:raw"),
        ("x" * 16384, f"entry {('x' * 80)!a} must be FILE:DEVICE:MODE or FILE:DEVICE:MODE:FORMAT"),
        ("a:hda:r,b:hda:r", "has two disks as hda; give each its own device"),
        ("a:" + "x" * 30 + ":r", f"device {('x' * 20)!a} must be like hda, sda, vda or xvda"),
        ("a:hda:" + "x" * 30, f"mode {('x' * 20)!a} must be r, w or rw"),
        ("a:hda:r:" + "x" * 30, f"format {('x' * 20)!a} must be one of raw, qcow2"),
    ],
)
def test_what_is_wrong_with_disks(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=r"must|has") as error_info:
        job_ad.parse_disks(value)
    assert str(error_info.value) == message


def test_an_entry_is_as_htcondor_writes_it() -> None:
    assert Disk("a.raw", "vda", True, "raw").entry() == "a.raw:vda:w:raw"
    assert Disk("/a.qcow2", "hda", False, "qcow2").entry() == "/a.qcow2:hda:r:qcow2"
