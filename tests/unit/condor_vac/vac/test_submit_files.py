# SPDX-License-Identifier: GPL-3.0-or-later
"""condor_vac import of submit files: a machinetype that makes the same VMs, and a note on what it cannot have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import machinetypes as inventory

from condor_vac.base.errors import UsageError
from condor_vac.cli import dispatch
from condor_vac.condor import submit_parser
from condor_vac.factory import submit_description
from condor_vac.model.machinetype import Machinetype
from condor_vac.vac import importer

# Many cases, or cases that wait: too much for `make check`.
pytestmark = pytest.mark.slow

# What every file needs; a test adds what it is about.
LEAST = {
    "universe": "vm",
    "executable": "VM-ATLAS",
    "vm_type": "kvm",
    "vm_memory": "2048",
    "vm_disk": "/images/cernvm4.iso:hda:r:raw",
    "+UserData": '"user_data"',
    "transfer_input_files": "user_data",
}
DEFAULT_NOTES = ["max_machines, max_idle, backoff_seconds: not in a submit file; see docs/machinetypes.md"]


def text(**commands: str | None) -> str:
    """A submit file; names with __ for what cannot be in a name of Python's, None leaves a command out."""
    named = {key.replace("plus__", "+").replace("my__", "MY."): value for key, value in commands.items()}
    lines = {**LEAST, **named}
    return "".join(f"{key} = {value}\n" for key, value in lines.items() if value is not None) + "queue 1\n"


def imported(tmp_path: Path, content: str, name: str = "vm-atlas.sub") -> tuple[dict[str, Any], list[str]]:
    """(keys, notes) of the machinetype that the file becomes."""
    (tmp_path / name).write_text(content)
    found = importer.load([str(tmp_path / name)])
    (machinetype,) = found.machinetypes
    return found.machinetypes[machinetype], found.notes[machinetype]


def test_the_least_that_a_file_has(tmp_path: Path) -> None:
    keys, notes = imported(tmp_path, text())
    assert keys == {
        "kind": "cernvm",
        "image": "/images/cernvm4.iso",
        "user_data": f"{tmp_path}/user_data",
        "memory_mb": 2048,
    }
    assert notes == DEFAULT_NOTES


@pytest.mark.parametrize(
    ("file", "executable", "name"),
    [
        ("vm-atlas.sub", "x", "atlas"),
        ("vac_lhcb_prod.submit", "x", "lhcb-prod"),
        ("GridPP.txt", "x", "gridpp"),
        ("na62", "x", "na62"),
        ("---.sub", "VM-ATLAS", "atlas"),
        ("---.sub", "vac.t2k", "vac-t2k"),
        ("vm-vm-x.sub", "x", "vm-x"),
        ("a.b.sub", "x", "a-b"),
        (f"{'a' * 65}.sub", "VM-LONG", "long"),
    ],
)
def test_the_name_is_the_files_or_else_the_executables(tmp_path: Path, file: str, executable: str, name: str) -> None:
    (tmp_path / file).write_text(text(executable=executable))
    assert list(importer.load([str(tmp_path / file)]).machinetypes) == [name]


@pytest.mark.parametrize("executable", [None, "---", "/"])
def test_a_file_that_gives_no_name_is_refused(tmp_path: Path, executable: str | None) -> None:
    with pytest.raises(UsageError, match=r"___\.sub: neither the file's name nor executable gives a name"):
        imported(tmp_path, text(executable=executable), "___.sub")


def test_several_files_are_several_machinetypes_but_of_one_name_there_is_one(tmp_path: Path) -> None:
    for name in ("vm-atlas.sub", "vm-lhcb.sub", "atlas.sub"):
        (tmp_path / name).write_text(text(vm_memory=str(1000 + len(name))))
    both = importer.load([str(tmp_path / "vm-lhcb.sub"), str(tmp_path / "vm-atlas.sub")])
    assert {name: keys["memory_mb"] for name, keys in both.machinetypes.items()} == {"lhcb": 1011, "atlas": 1012}
    with pytest.raises(UsageError, match=r"/atlas\.sub: a second machinetype atlas; rename the file"):
        importer.load([str(tmp_path / "vm-atlas.sub"), str(tmp_path / "atlas.sub")])


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ({"vm_disk": "vm.iso:hda:r:raw"}, {"image": "@/vm.iso"}),
        ({"vm_disk": "images/vm.iso:hda:r"}, {"image": "@/images/vm.iso"}),
        ({"vm_disk": '" /i/vm.iso : hda : r : raw "'}, {"image": "/i/vm.iso"}),
        ({"vm_disk": "/i/vm.qcow2:vda:w:qcow2"}, {"image": "/i/vm.qcow2", "image_format": "qcow2"}),
        ({"vm_disk": "/i/vm.img:vda:w:raw"}, {"image": "/i/vm.img", "image_format": "raw"}),
        ({"vm_disk": "/i/vm:vda:w"}, {"image": "/i/vm"}),
        ({"vm_disk": "/i/vm.vmdk:vda:w:vmdk"}, {"image": "/i/vm.vmdk"}),
        ({"initialdir": "/srv/vms", "vm_disk": "vm.iso:hda:r"}, {"image": "/srv/vms/vm.iso"}),
        ({"initialdir": "sub", "vm_disk": "vm.iso:hda:r"}, {"image": "@/sub/vm.iso"}),
    ],
)
def test_the_first_disk_is_the_image(tmp_path: Path, commands: dict[str, str], expected: dict[str, str]) -> None:
    keys, notes = imported(tmp_path, text(**commands))
    found = {key: value for key, value in keys.items() if key.startswith("image")}
    assert found == {key: value.replace("@", str(tmp_path)) for key, value in expected.items()}
    assert notes == DEFAULT_NOTES


@pytest.mark.parametrize("names", [("cache.img",), ("cache.img", "scratch.img"), ("a.img", "b.img", "c.img")])
def test_other_disks_are_named(tmp_path: Path, names: tuple[str, ...]) -> None:
    others = "".join(f", {name}:vd{letter}:w:raw" for name, letter in zip(names, "abc"))
    keys, notes = imported(tmp_path, text(vm_disk=f"/i/vm.iso:hda:r:raw{others}"))
    assert keys["image"] == "/i/vm.iso"
    (note,) = [note for note in notes if note.startswith("vm_disk: ")]
    assert note.endswith(f"set cvmfs_cache_gb and scratch_gb for {', '.join(names)}")


@pytest.mark.parametrize(
    ("commands", "note"),
    [
        ({"vm_disk": None}, "vm_disk: missing; set image"),
        ({"plus__UserData": None}, "+UserData: missing; set user_data"),
    ],
)
def test_what_a_machinetype_needs_and_the_file_lacks_is_reported(
    tmp_path: Path, commands: dict[str, None], note: str
) -> None:
    content = text(**{"transfer_input_files": None, **commands})
    keys, notes = imported(
        tmp_path, content.replace('+UserData = "user_data"\n', "") if "UserData" in note else content
    )
    assert note in notes
    assert note.rpartition(" ")[2] not in keys


@pytest.mark.parametrize(
    ("commands", "memory", "processors"),
    [
        ({"vm_memory": "3000", "request_memory": "4000"}, 3000, None),
        ({"vm_memory": None, "request_memory": "4000"}, 4000, None),
        ({"vm_memory": "lots", "request_memory": "4000"}, 4000, None),
        ({"vm_memory": None, "request_memory": "2GB"}, 2048, None),
        ({"vm_memory": None, "request_memory": "1.5 G"}, 1536, None),
        ({"vm_memory": None, "request_memory": "4096M"}, 4096, None),
        ({"vm_memory": None, "request_memory": "1 TiB"}, 1048576, None),
        ({"vm_memory": "2000.0"}, 2000, None),
        ({"vm_vcpus": "8", "request_cpus": "4"}, 2048, 8),
        ({"request_cpus": "4"}, 2048, 4),
        ({"vm_vcpus": "ifThenElse(x, 1, 2)"}, 2048, None),
    ],
)
def test_sizes(tmp_path: Path, commands: dict[str, str], memory: int, processors: int | None) -> None:
    keys, _ = imported(tmp_path, text(**commands))
    assert (keys["memory_mb"], keys.get("processors")) == (memory, processors)


@pytest.mark.parametrize(
    ("commands", "printed"),
    [
        ({"vm_memory": "2 GBs"}, "vm_memory: not converted: '2 GBs' is not a whole number; set memory_mb"),
        ({"vm_memory": "-2"}, "vm_memory: not converted: '-2' is not a whole number; set memory_mb"),
        ({"vm_vcpus": "$(CPUS)"}, "vm_vcpus: not converted: '$(CPUS)' is not a whole number; set processors"),
        (
            {"vm_memory": "\u0662\u0660"},
            "vm_memory: not converted: '\\u0662\\u0660' is not a whole number; set memory_mb",
        ),
    ],
)
def test_a_size_that_is_not_a_number_is_reported(tmp_path: Path, commands: dict[str, str], printed: str) -> None:
    keys, notes = imported(tmp_path, text(**commands))
    assert printed in notes
    assert printed.rpartition(" ")[2] not in keys


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ({"accounting_group": "group_atlas.vac"}, {"accounting_group": "group_atlas.vac"}),
        ({"requirements": '(Machine =!= "a") && HasVM'}, {"requirements": '(Machine =!= "a") && HasVM'}),
        ({"rank": "KFlops"}, {"rank": "KFlops"}),
        ({"job_lease_duration": "1800"}, {"job_lease_duration": 1800}),
        ({"vm_vnc": "TRUE"}, {"vnc": True}),
        ({"vm_vnc": "false"}, {}),
        ({"plus__VacSpace": '"vac.example.org"'}, {"space": "vac.example.org"}),
        ({"my__VacSpace": '"vac.example.org"'}, {"space": "vac.example.org"}),
        (
            {"plus__publickey": '"root.pub"', "transfer_input_files": "root.pub,user_data"},
            {"root_public_key": "@/root.pub"},
        ),
        ({"plus__PublicKey": '"/etc/root.pub"'}, {"root_public_key": "/etc/root.pub"}),
    ],
)
def test_other_commands_that_a_machinetype_has(
    tmp_path: Path, commands: dict[str, str], expected: dict[str, Any]
) -> None:
    least, _ = imported(tmp_path, text())
    keys, notes = imported(tmp_path, text(**commands))
    wanted = {
        key: value.replace("@", str(tmp_path)) if isinstance(value, str) else value for key, value in expected.items()
    }
    assert keys == {**least, **wanted}
    assert notes == DEFAULT_NOTES


def test_continued_lines_comments_and_spellings(tmp_path: Path) -> None:
    content = (
        "# of the site\nUNIVERSE=VM\nVM_Memory   =   3000\nrequirements = (Memory > 1) && \\\n# within\n   HasVM\n"
        'vm_disk = /i/a.iso:hda:r\nMY.userdata = "ud"\n\n   queue\n'
    )
    keys, _ = imported(tmp_path, content)
    assert (keys["memory_mb"], keys["user_data"]) == (3000, f"{tmp_path}/ud")
    assert " ".join(keys["requirements"].split()) == "(Memory > 1) && HasVM"


# What the factory, the hooks or the generated description do themselves.
OURS = {
    "vm_networking": "true", "vm_networking_type": "nat", "should_transfer_files": "YES",
    "when_to_transfer_output": "ON_EXIT", "transfer_output_files": "joboutputs", "log": "x.log",
    "notification": "never", "leave_in_queue": "true", "vm_no_output_vm": "false", "accounting_group_user": "vac",
    "batch_name": "x", "plus__HookKeyword": '"VAC"', "plus__RequiresVac": "True", "plus__WantIOProxy": "True",
    "request_disk": "1",
}  # fmt: skip


@pytest.mark.parametrize("name", OURS)
def test_what_every_vm_job_has_is_not_reported_as_lost(tmp_path: Path, name: str) -> None:
    least, _ = imported(tmp_path, text())
    assert imported(tmp_path, text(**{name: OURS[name]})) == (least, DEFAULT_NOTES)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("periodic_remove", "JobStatus == 5", "the factory decides it"),
        ("periodic_hold", "True", "the factory decides it"),
        ("on_exit_remove", "True", "the factory decides it"),
        ("on_exit_hold", "False", "the factory decides it"),
        ("max_retries", "3", "the factory decides it"),
        ("plus__SiteMark", '"x"', "keep the file as submit_file if it is needed"),
        ("concurrency_limits", "licence", "keep the file as submit_file if it is needed"),
        ("environment", '"A=1"', "keep the file as submit_file if it is needed"),
        ("x", "y" * 200, "keep the file as submit_file if it is needed"),
    ],
)
def test_what_a_machinetype_cannot_have_is_reported(tmp_path: Path, name: str, value: str, why: str) -> None:
    least, _ = imported(tmp_path, text())
    keys, notes = imported(tmp_path, text(**{name: value}))
    assert keys == least
    shown = f"{name.replace('plus__', '+').lower()} = {value[:80]}: not converted: {why}"
    assert notes == [shown, *DEFAULT_NOTES]


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("vm_type", "xen", "VMs are KVM's here"),
        ("vm_networking_type", "bridge", "behind NAT"),
        ("vm_networking_type", "user", "behind NAT"),
        ("vm_networking", "false", "every VM has a network here"),
        ("should_transfer_files", "NO", "files always go with the job"),
        ("plus__RequiresVac", "False", "every VM needs a worker node of this collection"),
        ("plus__HookKeyword", '"SITE"', "the hooks of this collection"),
    ],
)
def test_commands_whose_value_is_not_ours_are_reported(tmp_path: Path, name: str, value: str, why: str) -> None:
    least, _ = imported(tmp_path, text())
    keys, notes = imported(tmp_path, text(**{name: value}))
    assert keys == least
    assert notes[1:] == DEFAULT_NOTES
    assert notes[0].startswith(f"{name.replace('plus__', '+').lower()} = {value}: not converted: ")
    assert why in notes[0]


def test_a_file_of_vmware_is_left_out_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "vm-x.sub").write_text(text(vm_type="vmware", vm_disk=None, vmware_dir="/vm"))
    assert dispatch.main(["import", str(tmp_path / "vm-x.sub")]) == 1
    assert "# x: vm_type = vmware: VMs are KVM's here" in capsys.readouterr().out


def test_macros_are_expanded_and_not_reported(tmp_path: Path) -> None:
    content = text(vm_disk="$(images)/vm.iso:hda:r:raw", vm_memory="$(mem:3000)", x__y="$(images)")
    keys, notes = imported(tmp_path, f"images = /srv/images\n{content}".replace("x__y", "images_copy"))
    assert (keys["image"], keys["memory_mb"]) == ("/srv/images/vm.iso", 3000)
    assert [note.partition(" ")[0] for note in notes[:-1]] == ["images_copy"]


def test_what_differs_from_job_to_job_is_reported(tmp_path: Path) -> None:
    keys, notes = imported(tmp_path, text(plus__UserData='"ud-$(Process)"', log="vm-$(ProcId).log"))
    assert "user_data" not in keys
    assert '+userdata = "ud-$(Process)": not converted: it differs from job to job' in " | ".join(notes)
    assert not [note for note in notes if note.startswith("log")]


def test_input_files_that_are_neither_image_nor_key_nor_user_data_are_named(tmp_path: Path) -> None:
    files = '"user_data, cernvm4.iso,root.pub, extra.txt ,/etc/site/key.pem"'
    _, notes = imported(tmp_path, text(plus__PublicKey='"root.pub"', transfer_input_files=files))
    left = "is not converted; user_data_files put files into user data"
    assert notes == [f"transfer_input_files: {name} {left}" for name in ("extra.txt", "key.pem")] + DEFAULT_NOTES


@pytest.mark.parametrize(
    ("content", "printed"),
    [
        (text(universe="vanilla"), "neither Vac's configuration nor a submit file of the vm universe"),
        (text(universe=None), "neither Vac's configuration nor a submit file of the vm universe"),
        (text() + "vm_memory = 1\nqueue\n", ":9: 'vm_memory = 1' follows queue"),
        ("if nonsense\n" + text(), ":1: 'if nonsense': only key = value lines"),
        ("use feature : gpus\n" + text(), ":1: 'use feature : gpus': only key = value lines"),
        ("include : /etc/passwd\n" + text(), ":1: 'include : /etc/passwd': only key = value lines"),
        (text(x="y").replace("x = y", "x"), ":8: 'x': not a submit command"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_describe_one_vm_job_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, printed: str
) -> None:
    path = tmp_path / "vm-atlas.sub"
    path.write_text(content)
    assert dispatch.main(["import", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{path}" in err
    assert printed in err


FULL = {
    "vm_memory": "3000", "vm_vcpus": "4", "vm_disk": "/images/cernvm4.iso:hda:r:raw",
    "accounting_group": "group_a.prod", "requirements": '(Machine =!= "bad.example.org")', "rank": "KFlops",
    "vm_vnc": "true", "job_lease_duration": "900", "plus__VacSpace": '"vac.example.org"',
    "plus__PublicKey": '"root.pub"', "transfer_input_files": "user_data,root.pub",
}  # fmt: skip
SAME = (
    "universe", "vm_type", "vm_memory", "vm_vcpus", "vm_disk", "accounting_group", "rank", "vm_vnc",
    "job_lease_duration", "+VacSpace", "+HookKeyword", "+RequiresVac",
)  # fmt: skip


@pytest.mark.parametrize("left_out", ["", *sorted(set(FULL) - {"vm_memory", "vm_disk", "transfer_input_files"})])
def test_the_machinetype_makes_the_vms_that_the_file_makes(tmp_path: Path, left_out: str) -> None:
    """The generated description beside the one that the file itself gives, as submit_file."""
    keys, _ = imported(tmp_path, text(**{name: value for name, value in FULL.items() if name != left_out}))
    checked = inventory.checked({"atlas": keys})["atlas"]
    image = f"/images/{Path(checked['image']).name}"
    document = inventory.document(checked, "atlas", str(tmp_path), image, {"owner": "vac"})
    ours = submit_description.describe(Machinetype.from_mapping(document, "atlas"))
    theirs = submit_parser.load(str(tmp_path / "vm-atlas.sub"))
    compared = set(SAME) & set(theirs)
    assert len(compared) >= len(SAME) - 3
    assert {name: ours[name] for name in compared} == {name: theirs[name] for name in compared}
    assert theirs.get("requirements", "True") in ours["requirements"]
    assert set(theirs) - set(ours) <= {"executable"}


def test_json_has_the_same_as_the_yaml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "vm-atlas.sub").write_text(text(plus__SiteMark='"x"'))
    assert dispatch.main(["import", "--json", str(tmp_path / "vm-atlas.sub")]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["machinetypes"]["atlas"]["memory_mb"] == 2048
    assert data["notes"]["atlas"][0].startswith("+sitemark = ")
    assert dispatch.main(["import", str(tmp_path / "vm-atlas.sub")]) == 0
    printed = capsys.readouterr().out
    assert f"    # {data['notes']['atlas'][0]}\n" in printed
    assert "    memory_mb: 2048\n" in printed
