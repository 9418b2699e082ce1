# SPDX-License-Identifier: GPL-3.0-or-later
"""Job ads: HTCondorVMs', ours, and what a submitter may try."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condor_vac.base.errors import VacError
from condor_vac.worker.vm import job_ad
from condor_vac.worker.vm.job_ad import Disk, JobAd

# As condor_submit makes it from HTCondorVMs' vm-atlas.sub, and as the starter changes Iwd.
SEED: dict[str, str] = {
    "ClusterId": "7",
    "ProcId": "3",
    "Owner": '"vac"',
    "User": '"vac@pool.example.org"',
    "Cmd": '"VM-ATLAS"',
    "Iwd": '"/var/lib/condor/execute/dir_4711"',
    "GlobalJobId": '"ap.example.org#7.3#1700000000"',
    "JobVMType": '"kvm"',
    "JobVMMemory": "3000",
    "JobVM_VCPUS": "1",
    "JobVMNetworking": "true",
    "JobVMNetworkingType": '"nat"',
    "JobVMVNCConsole": "false",
    "VMPARAM_vm_Disk": '"ucernvm-prod.1.18-2.cernvm.x86_64.iso:hda:r:raw"',
    "VMPARAM_No_Output_VM": "false",
    "RequestMemory": "3000",
    "RequestCpus": "1",
    "RequestDisk": "DiskUsage",
    "DiskUsage": "20000",
    "PublicKey": '"root.pub"',
    "UserData": '"user_data.MpGUpphM"',
    "HookKeyword": '"VAC"',
    "WantIOProxy": "true",
    "Rank": "0.0",
    "Requirements": '(TARGET.HasVM) && TARGET.VM_Type == "kvm"',
    "OnExitRemove": "true",
}


def text(**changes: str | None) -> str:
    """HTCondorVMs' ad in old syntax with some attributes changed, added or (None) left out."""
    ad = {**SEED, **changes}
    return "".join(f"{name} = {value}\n" for name, value in ad.items() if value is not None)


def parse(**changes: str | None) -> JobAd:
    return job_ad.parse(text(**changes))


def test_htcondorvms_ad_is_understood_unchanged() -> None:
    ad = parse()
    assert {**ad._asdict(), "disks": tuple(disk._asdict() for disk in ad.disks)} == {
        "cluster": 7,
        "proc": 3,
        "owner": "vac",
        "user": "vac@pool.example.org",
        "domain": "vac_pool.example.org_7.3",
        "processors": 1,
        "memory_mb": 3000,
        "request_cpus": None,
        "cpus_provisioned": None,
        "vcpus": 1,
        "disks": (
            {
                "file": "ucernvm-prod.1.18-2.cernvm.x86_64.iso",
                "device": "hda",
                "writable": False,
                "format": "raw",
            },
        ),
        "networking": True,
        "mac": None,
        "vnc": False,
        "working_dir": None,
        "user_data": "user_data.MpGUpphM",
        "public_key": "root.pub",
        "space": None,
        "machinetype": None,
        "machinetype_file": None,
        "want_io_proxy": True,
        "no_output_vm": False,
    }


def test_our_own_attributes() -> None:
    job = parse(
        VacMachinetype='"lhcb-8"',
        VacMachinetypeFile='"lhcb-8.json"',
        VacSpace='"vac.example.org"',
        JobVM_VCPUS="8",
        RequestCpus="8",
        CpusProvisioned="8",
        MemoryProvisioned="16384",
        JobVMMemory="16384",
        JobVMVNCConsole="true",
        VM_WORKING_DIR='"/var/lib/condor/execute/dir_4711"',
        VMPARAM_VM_NAME='"vac_pool.example.org_7.3"',
    )
    assert (job.machinetype, job.machinetype_file) == ("lhcb-8", "lhcb-8.json")
    assert (job.space, job.processors, job.memory_mb) == ("vac.example.org", 8, 16384)
    assert (job.vnc, job.working_dir) == (True, "/var/lib/condor/execute/dir_4711")


@pytest.mark.parametrize(
    ("changes", "processors", "memory_mb"),
    [
        ({"JobVM_VCPUS": "4", "CpusProvisioned": "2"}, 2, 3000),
        ({"JobVM_VCPUS": "1", "CpusProvisioned": "8"}, 1, 3000),
        ({"JobVM_VCPUS": None, "RequestCpus": "2"}, 2, 3000),
        ({"JobVM_VCPUS": None, "RequestCpus": None}, 1, 3000),
        ({"MemoryProvisioned": "2048"}, 1, 2048),
        ({"MemoryProvisioned": "4096"}, 1, 3000),
        ({"JobVMMemory": None, "RequestMemory": "512"}, 1, 512),
        ({"RequestMemory": "ifThenElse(MemoryUsage =!= undefined, MemoryUsage, JobVMMemory)"}, 1, 3000),
        ({"RequestMemory": "MY.JobVMMemory"}, 1, 3000),
        ({"RequestCpus": "MY.JobVM_VCPUS"}, 1, 3000),
    ],
)
def test_the_vm_never_has_more_than_the_slot_gives(
    changes: dict[str, str | None], processors: int, memory_mb: int
) -> None:
    job = parse(**changes)
    assert (job.processors, job.memory_mb) == (processors, memory_mb)


@pytest.mark.parametrize(
    ("user", "domain"),
    [("vac@a.b", "vac_a.b_7.3"), ("vac", "vac_7.3"), ("a.b-c_d+e@f-g", "a.b-c_d+e_f-g_7.3")],
)
def test_the_domain_is_named_as_htcondor_names_it(user: str, domain: str) -> None:
    assert parse(User=f'"{user}"').domain == domain


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a.iso:hda:r", [Disk("a.iso", "hda", False, "raw")]),
        ("/i/a.qcow2:VDA:W:QCOW2", [Disk("/i/a.qcow2", "vda", True, "qcow2")]),
        (
            " /i/a.img : sda1 : rw : raw , b.img:xvdb:w",
            [Disk("/i/a.img", "sda1", True, "raw"), Disk("b.img", "xvdb", True, "raw")],
        ),
        (
            "a.iso:hda:r:raw,/s/context.iso:hdd:r:raw,/s/hd.img:vda:w,/s/disk.img:vdb:w:raw",
            [
                Disk("a.iso", "hda", False, "raw"),
                Disk("/s/context.iso", "hdd", False, "raw"),
                Disk("/s/hd.img", "vda", True, "raw"),
                Disk("/s/disk.img", "vdb", True, "raw"),
            ],
        ),
    ],
)
def test_disks_are_read_as_vm_gahp_reads_them(value: str, expected: list[Disk]) -> None:
    disks = parse(VMPARAM_vm_Disk=f'"{value}"').disks
    assert list(disks) == expected
    assert job_ad.parse_disks(",".join(disk.entry() for disk in disks)) == disks


def test_an_iso_is_a_cd() -> None:
    assert Disk("/a/B.ISO", "hda", False, "raw").cdrom
    assert not Disk("/isolated/disk.img", "vda", True, "raw").cdrom


WRONG: list[tuple[str, str | None, str]] = [
    ("ClusterId", None, "missing"),
    ("ClusterId", "0", "must be a whole number"),
    ("ClusterId", "-1", "must be a whole number"),
    ("ClusterId", "1.5", "must be a whole number"),
    ("ClusterId", '"1"', "must be a whole number"),
    ("ClusterId", "true", "must be a whole number"),
    ("ClusterId", "undefined", "missing"),
    ("ClusterId", "error", "no expression is evaluated"),
    ("ClusterId", "1/0", "no expression is evaluated"),
    ("ProcId", None, "missing"),
    ("Owner", None, "missing"),
    ("Owner", '"a b"', "must be a user name"),
    ("Owner", '"../x"', "must be a user name"),
    ("User", None, "missing"),
    ("User", '"a@b@c"', "must be USER@DOMAIN"),
    ("User", '"a/b@c"', "must be USER@DOMAIN"),
    ("User", '"a</name>@c"', "must be USER@DOMAIN"),
    ("Iwd", '"relative"', "must be an absolute path"),
    ("Iwd", '"/a/../etc"', "must be a path without"),
    ("Iwd", '"/a\'b"', "must be an absolute path"),
    ("JobVMType", '"xen"', "must be one of kvm"),
    ("JobVMType", None, "missing"),
    ("JobVMMemory", "0", "must be a whole number"),
    ("JobVMMemory", "-3000", "must be a whole number"),
    ("JobVMMemory", '"3000</memory>"', "must be a whole number"),
    ("JobVM_VCPUS", "0", "must be a whole number"),
    ("JobVM_VCPUS", "16777217", "must be a whole number"),
    ("JobVMNetworking", '"yes"', "must be true or false"),
    ("JobVMNetworkingType", '"user"', "must be one of nat, bridge"),
    ("JobVMNetworkingType", '"nat\'/><x"', "must be one of nat, bridge"),
    ("JobVM_MACADDR", '"52:54:00"', "must be a MAC address"),
    ("VMPARAM_vm_Disk", None, "missing"),
    ("VMPARAM_vm_Disk", '""', "must be FILE:DEVICE:MODE"),
    ("VMPARAM_vm_Disk", "5", "must be text"),
    ("VMPARAM_vm_Disk", '"a.iso:hda"', "must be FILE:DEVICE:MODE"),
    ("VMPARAM_vm_Disk", '"a.iso:hda:r:raw:x"', "must be FILE:DEVICE:MODE"),
    ("VMPARAM_vm_Disk", '"a.iso:hda:r,"', "must be FILE:DEVICE:MODE"),
    ("VMPARAM_vm_Disk", '"a.iso:fda:r"', "device 'fda' must be"),
    ("VMPARAM_vm_Disk", '"a.iso:hda\'/>:r"', "must be like hda"),
    ("VMPARAM_vm_Disk", '"a.iso:hda:x"', "mode 'x' must be"),
    ("VMPARAM_vm_Disk", '"a.iso:hda:r:vmdk"', "format 'vmdk' must be"),
    ("VMPARAM_vm_Disk", '"a.iso:hda:r,b.iso:hda:r"', "two disks as hda"),
    ("VMPARAM_vm_Disk", '"../a.iso:hda:r"', "must be a file name"),
    ("VMPARAM_vm_Disk", '"/a/../../etc/shadow:hda:r"', "must be a path without"),
    ("VMPARAM_vm_Disk", '"/a\'b.iso:hda:r"', "must be an absolute path"),
    ("VMPARAM_vm_Disk", '"/a<b.iso:hda:r"', "must be an absolute path"),
    ("VMPARAM_VM_NAME", '"other_7.3"', "must be vac_pool.example.org_7.3"),
    ("UserData", '"/etc/shadow"', "must be a file name"),
    ("UserData", '"../shadow"', "must be a file name"),
    ("UserData", '".job.ad"', "must be a file name"),
    ("UserData", "5", "must be a file name"),
    ("PublicKey", '"a/b"', "must be a file name"),
    ("VacSpace", '"a b"', "must be"),
    ("VacMachinetype", '"../x"', "must be"),
    ("VacMachinetypeFile", '"/etc/passwd"', "must be a file name"),
    ("JobVMVNCConsole", '"yes"', "must be true or false"),
    ("WantIOProxy", "1", "must be true or false"),
    ("VMPARAM_No_Output_VM", '"no"', "must be true or false"),
    ("VM_WORKING_DIR", '"x"', "must be an absolute path"),
    ("VMPARAM_VM_NAME", "5", "must be"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_a_wrong_attribute_is_refused_by_name(name: str, value: str | None, message: str) -> None:
    with pytest.raises(VacError) as error_info:
        parse(**{name: value})
    error = str(error_info.value)
    assert error.startswith(f"job ad: {name}: ")
    assert message in error
    assert error.isprintable()


def test_bare_ownership_of_attributes_is_case_insensitive() -> None:
    assert job_ad.parse(text().replace("ClusterId", "clusterid")).cluster == 7


@pytest.mark.parametrize(
    "line",
    ["this is not an attribute", "A == 1", 'A = "open', "= 5", "[A = 1]", "A\x00B = 1", "A =", 'A = "a" "'],
)
def test_an_ad_with_a_line_that_is_no_attribute_is_refused_whole(line: str) -> None:
    """It may come from a line end in a value, by which a submitter could write attributes of HTCondor's."""
    lines = text().splitlines()
    for position in (0, len(lines) // 2, len(lines)):
        broken = "\n".join([*lines[:position], line, *lines[position:]])
        with pytest.raises(VacError, match=r"^job ad: the line .* is not one attribute"):
            job_ad.parse(broken)


def test_blank_lines_and_comments_are_not_attributes() -> None:
    assert job_ad.parse(f"\n# comment\n{text()}\n\n").cluster == 7


@pytest.mark.parametrize("whole", ["", "\n\n"])
def test_an_empty_ad_lacks_what_a_job_has(whole: str) -> None:
    with pytest.raises(VacError, match=r"^job ad: User: missing"):
        job_ad.parse(whole)


def test_quotes_in_a_value_do_not_end_it() -> None:
    with pytest.raises(VacError) as error_info:
        parse(VacSpace=r'"x\" ; ClusterId = 9"')
    assert str(error_info.value).endswith("""; it is '"x\\\\" ; ClusterId = 9"'""")


def test_an_ad_without_end_is_refused() -> None:
    with pytest.raises(VacError, match="more than"):
        job_ad.parse("A = 1\n" * 300_000)


VALUE = st.one_of(
    st.integers().map(str),
    st.booleans().map(str),
    st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters='\n"\\'), max_size=30).map('"{}"'.format),
    st.sampled_from(["undefined", "error", "{1, 2}", "[a = 1]", "TARGET.Memory", "1.5"]),
)


@given(st.dictionaries(st.sampled_from(sorted(SEED)), VALUE, max_size=4))
def test_whatever_the_values_the_answer_is_a_job_or_one_line(changes: dict[str, Any]) -> None:
    try:
        job = parse(**changes)
    except VacError as error:
        message = str(error)
    else:
        message = job.domain
    assert message.isprintable()
