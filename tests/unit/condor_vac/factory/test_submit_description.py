# SPDX-License-Identifier: GPL-3.0-or-later
"""Submit descriptions: no value of a machinetype or of a site's file can become another command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import classad2
import htcondor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from condor_vac.base.errors import UsageError
from condor_vac.condor import submit_parser
from condor_vac.factory import submit_description
from condor_vac.factory.submit_description import classad_string
from condor_vac.model import outcome_record
from tests.unit.condor_vac.standins import machinetype

SEED = """\
# as HTCondorVMs' vm-atlas.sub
universe    = vm
vm_type     = kvm
executable  = VM-ATLAS
log         = vm-atlas.log
leave_in_queue = True
vm_memory   = 2048
vm_disk     = /images/ucernvm.iso:hda:r:raw
transfer_input_files = user_data, root.pub,https://example.org/x,/abs/file
requirements = (OpSys == "LINUX") && \\
               HasVM
+UserData   = "user_data"
MY.HookKeyword = "OTHER"
+requiresvac = False
queue
"""


def site_file(tmp_path: Path, text: str = SEED) -> str:
    """The file's path."""
    path = tmp_path / "vm.sub"
    path.write_text(text)
    return str(path)


def test_a_generated_description_has_what_a_vm_job_needs() -> None:
    commands = submit_description.describe(
        machinetype(memory_mb=3000, processors=4, accounting_group="group_a", space="ce.example.org", rank="KFlops")
    )
    expected = {
        "universe": "vm", "vm_type": "kvm", "vm_memory": "3000", "request_memory": "3000", "vm_vcpus": "4",
        "request_cpus": "4", "vm_disk": "/images/ucernvm.iso:hda:r:raw", "+RequiresVac": "True",
        "+HookKeyword": '"VAC"', "+WantIOProxy": "True", "+VacMachinetype": '"gridpp"', "+VacSpace": '"ce.example.org"',
        "accounting_group": "group_a", "accounting_group_user": "vac", "rank": "KFlops",
        "transfer_output_files": "console.log,joboutputs",
    }  # fmt: skip
    assert {key: commands.get(key) for key in expected} == expected
    assert "output" not in commands
    assert "3600" in commands["leave_in_queue"]


def test_a_console_is_asked_for_only_where_the_machinetype_wants_one() -> None:
    assert "vm_vnc" not in submit_description.describe(machinetype())
    commands = submit_description.describe(machinetype(vnc=True))
    assert htcondor2.Submit("\n".join(f"{key} = {value}" for key, value in commands.items()))["vm_vnc"] == "true"


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ({}, {"job_machine_attrs": "VacHepscore,VacHepspec"}),
        (
            {"accounting_fqan": "/lhcb/mc/Role=pilot", "gocdb_sitename": "UKI-X", "processors": 8, "hs06": 100.0},
            {"+VacFqan": '"/lhcb/mc/Role=pilot"', "+VacVO": '"lhcb"', "+VacSite": '"UKI-X"', "+VacHs06": "12.500000"},
        ),
        (
            {"processors": 3, "hs06_per_processor": 1.1, "hepscore23_per_processor": 12},
            {"+VacHs06": "1.100000", "+VacHepscore23": "12.0"},
        ),
    ],
)
def test_what_accounting_needs_is_in_the_job(keys: dict[str, Any], wanted: dict[str, str]) -> None:
    commands = submit_description.describe(machinetype(**keys))
    names = ("+VacFqan", "+VacVO", "+VacSite", "+VacHs06", "+VacHepscore23")
    assert {name: commands[name] for name in names if name in commands} == {
        name: value for name, value in wanted.items() if name in names
    }
    assert commands["job_machine_attrs"] == "VacHepscore,VacHepspec"


def test_a_sites_own_machine_attributes_stay(tmp_path: Path) -> None:
    path = site_file(tmp_path, SEED.replace("queue", "job_machine_attrs = Rack\nqueue"))
    commands = submit_description.describe(machinetype(submit_file=path))
    assert commands["job_machine_attrs"] == "Rack,VacHepscore,VacHepspec"


@pytest.mark.parametrize(
    ("image", "keys", "disk"),
    [("/i/a.iso", {}, "hda:r:raw"), ("/i/a.qcow2", {}, "vda:r:qcow2"), ("/i/a.img", {}, "vda:r:raw"),
     ("/i/a", {"image_format": "raw"}, "vda:r:raw")],
)  # fmt: skip
def test_the_disk_follows_the_images_format(image: str, keys: dict[str, Any], disk: str) -> None:
    assert submit_description.describe(machinetype(image=image, **keys))["vm_disk"] == f"{image}:{disk}"


@pytest.mark.parametrize("text", ["HasVM\nqueue 1000", "$(HOME) == 1", "$$(Machine)", "$ENV(HOME)", "HasVM \\"])
@pytest.mark.parametrize("key", ["requirements", "rank"])
def test_an_expression_cannot_change_the_description(key: str, text: str) -> None:
    with pytest.raises(UsageError, match=key):
        submit_description.describe(machinetype(**{key: text}))


def test_the_digest_changes_with_any_command_and_with_nothing_else() -> None:
    same = {submit_description.describe(machinetype())["+VacDigest"] for _ in range(3)}
    assert len(same) == 1
    assert submit_description.describe(machinetype(max_machines=3))["+VacDigest"] in same, "limits are the factory's"
    for keys in ({"memory_mb": 2049}, {"requirements": "True"}, {"image": "/images/other.iso"}, {"space": "x"}):
        assert submit_description.describe(machinetype(**keys))["+VacDigest"] not in same


@given(st.text(max_size=40))
def test_a_string_stays_one_string_or_is_refused(text: str) -> None:
    try:
        literal = classad_string(text)
    except UsageError:
        return
    inner = literal[1:-1].replace("\\\\", "").replace('\\"', "")
    assert '"' not in inner
    assert "\n" not in literal
    assert "$(" not in literal


@pytest.mark.parametrize("text", ["a\nb", "a\r", "\x00", "$(X)", "$$(X)", "a $F(X) b", "\u2028"])
def test_what_cannot_be_a_string_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        classad_string(text)


def test_a_batch_has_its_name_and_a_directory_for_each_vm() -> None:
    commands = submit_description.for_batch({"universe": "vm"}, "b-1", "/var/vms/b-1", ["wn2", "wn1", "wn2"])
    assert commands["initialdir"] == "/var/vms/b-1/$(ProcId)"
    assert commands["+VacAvoidHosts"] == '"wn1,wn2"'
    assert commands["+VacBatch"] == '"b-1"'


def test_a_sites_own_file_is_the_description_with_our_marks(tmp_path: Path) -> None:
    commands = submit_description.describe(machinetype(submit_file=site_file(tmp_path)))
    assert commands["executable"] == "VM-ATLAS"
    assert commands["vm_memory"] == "2048"
    assert commands["+RequiresVac"] == "True"
    assert commands["+HookKeyword"] == '"VAC"'
    assert not {"+requiresvac", "log", "initialdir"} & set(commands)
    assert commands["leave_in_queue"] != "True"
    assert commands["transfer_input_files"] == (
        f"{tmp_path}/user_data,{tmp_path}/root.pub,https://example.org/x,/abs/file"
    )
    assert commands["requirements"].startswith('((OpSys == "LINUX") &&')
    assert "VacAvoidHosts" in commands["requirements"]


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("universe = vanilla\nqueue\n", "universe"), ("", "universe"), ("universe = vm\noutput = x\nqueue\n", "output"),
        ("universe = vm\nif true\nqueue\n", ":2:"), ("universe = vm\ninclude : /etc/passwd\n", ":2:"),
        ("universe = vm\nqueue 5\nvm_memory = 1\nqueue\n", ":3:"), ("universe = vm\nthis is not a command\n", ":2:"),
        ("universe = vm\n= x\n", ":2:"), ("use feature : x\n", ":1:"), ("universe = vm\nmax_materialize = 3\n", "max_"),
        ("universe = vm\n\n# c\nerror : no\n", ":4:"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_describe_one_job_is_refused(tmp_path: Path, text: str, printed: str) -> None:
    with pytest.raises(UsageError, match=printed) as error:
        submit_parser.load(site_file(tmp_path, text))
    assert "vm.sub" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        submit_parser.load(str(tmp_path / "missing"))
    (tmp_path / "bytes").write_bytes(b"universe = \xff\xfe")
    with pytest.raises(UsageError, match="UTF-8"):
        submit_parser.load(str(tmp_path / "bytes"))
    (tmp_path / "huge").write_text("#" * (submit_parser.LIMIT + 1))
    with pytest.raises(UsageError, match="larger"):
        submit_parser.load(str(tmp_path / "huge"))


def test_relative_files_are_those_beside_it_or_in_its_initialdir(tmp_path: Path) -> None:
    text = SEED.replace("queue\n", "initialdir = sub\nqueue 10\n")
    commands = submit_parser.load(site_file(tmp_path, text))
    assert commands["transfer_input_files"].startswith(f"{tmp_path}/sub/user_data,")


@pytest.mark.parametrize(
    ("cause", "message", "leaves"),
    [
        ("backfill", "Another job gets the slot", False),
        ("message", "No work", True),
        # What a guest writes does not keep its job in the queue.
        ("message", "x VacCause=backfill VacRuntime=1", True),
        ("message", "ShutdownCode=100 VacCause=backfill ", True),
    ],
)
def test_the_job_of_a_vm_that_ended_for_another_job_stays_in_the_queue(cause: str, message: str, leaves: bool) -> None:
    end = {"ShutdownCode": 100, "ShutdownMessage": message, "VacCause": cause, "VacKind": "host_request"}
    record = outcome_record.write({**end, "VacRuntime": 60, "VacAbort": False, "VacEnded": 1700000000})
    job = classad2.ClassAd({outcome_record.NAME: record})
    job["OnExitRemove"] = classad2.ExprTree(submit_description.describe(machinetype())["on_exit_remove"])
    assert job.eval("OnExitRemove") is leaves
