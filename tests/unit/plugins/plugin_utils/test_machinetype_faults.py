# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for machinetypes on the controller: keys, files and the programs' own, all at once."""

from __future__ import annotations

import contextlib
import io
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import controller_programs, faults, machinetype_faults

from condor_vac.cli import dispatch

GOOD: dict[str, Any] = {
    "kind": "cernvm",
    "image": "https://images.example/cernvm4.iso",
    "image_checksum": "sha256:" + "0" * 64,
    "image_signing_dn": r"/CN=cvm-sign01\.cern\.ch$",
    "user_data": "vm.user_data",
    "user_data_options": {"queue": "q", "seconds": 10},
    "user_data_files": {"hostkey": "key.pem"},
    "max_machines": 5,
    "target_share": 2,
}
RUN = controller_programs.run
SUBMIT = "universe = vm\nvm_type = kvm\nvm_memory = 128\nvm_disk = /i/x.iso:hda:r:raw\nqueue\n"


def in_this_process(words: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
    """The program's answer without the time that a process takes to start."""
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        status = dispatch.main(words)
    return subprocess.CompletedProcess(words, status, stdout.getvalue(), "")


@pytest.fixture(autouse=True)
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller_programs, "run", in_this_process)


@pytest.fixture
def site(tmp_path: Path) -> machinetype_faults.Site:
    """An inventory's directory with the files of GOOD, and others."""
    texts = {"vm.user_data": "#!/bin/sh\n", "key.pem": "key", "vm.sub": SUBMIT, "bad.sub": "queue 2\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "vault").write_text("$ANSIBLE_VAULT;1.1;AES256\n6530\n")
    (tmp_path / "directory").mkdir()
    (tmp_path / "local.iso").touch()
    return machinetype_faults.Site("vacuum_machinetypes", {"inventory_dir": str(tmp_path)}, DataLoader(), "vac", {})


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"image": "local.iso", "image_checksum": None},
        {"user_data": "https://vo.example/user_data"},
        {"submit_file": "vm.sub"},
        {"memory_mb": "4096", "vnc": "yes"},
        {"user_data_options": {"queue": faults.UNKNOWN}},
        {"owner": "vo", "accounting_group": "group_a.b"},
    ],
)
def test_machinetypes_that_are_right(site: machinetype_faults.Site, change: dict[str, Any]) -> None:
    other = {"kind": "cloud-init", "image": "https://other.example/cernvm4.iso", "user_data": "vm.user_data"}
    assert list(machinetype_faults.of_all({"atlas": {**GOOD, **change}, "b": other}, site)) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"memory_bm": 1}, "memory_bm: unknown key: correct it to memory_mb"),
        ({"kind": "docker"}, "kind: 'docker': must be one of cernvm, cloud-init"),
        ({"kind": None}, "kind: missing: add it"),
        ({"vnc": "maybe"}, "vnc: 'maybe': must be true or false"),
        ({"memory_mb": "lots"}, "memory_mb: 'lots': must be a whole number"),
        ({"user_data_options": "a=b"}, "user_data_options: must be a mapping of names to values"),
        ({"image_checksum": "md5:12"}, "image_checksum: 'md5:12': must be sha256: and 64 hexadecimal digits"),
        ({"image_signing_dn": "/CN=("}, "image_signing_dn: '/CN=(': no regular expression"),
        ({"image": "http://i.example/x.iso"}, "image: 'http://i.example/x.iso': must be a file or an https URL"),
        ({"image": "https://images.example/"}, "image_format: cannot be derived from suffix"),
        ({"image": "https://images.example/vm"}, "image_format: cannot be derived from suffix ''"),
        ({"image": "gone.iso"}, "image: no file gone.iso on the controller: searched /"),
        ({"image": "directory", "image_format": "iso"}, "image: "),
        ({"user_data": "gone"}, "user_data: no file gone on the controller: searched /"),
        ({"user_data": "directory"}, "user_data: cannot read directory on the controller: "),
        ({"user_data_files": {"k": "vault"}}, "user_data_files.k: cannot read vault on the controller: "),
        ({"root_public_key": "gone.pub"}, "root_public_key: no file gone.pub on the controller"),
        ({"submit_file": "bad.sub"}, "submit_file"),
        ({"submit_file": "gone.sub"}, "submit_file: no file gone.sub on the controller"),
        ({"cycle_seconds": 0}, "cycle_seconds: must be a whole number from 1 to 3600; it is 0"),
        ({"max_idle": 6}, "max_idle: 6 is above max_machines 5; lower it"),
        ({"heartbeat_seconds": 5}, "heartbeat_seconds: needs heartbeat_file"),
        ({"owner": "root"}, "owner: must not be root"),
        ({"requirements": "Name == \"$(X)\""}, "requirements: "),
    ],
)  # fmt: skip
def test_a_machinetype_that_is_wrong_has_one_line(
    site: machinetype_faults.Site, change: dict[str, Any], expected: str
) -> None:
    (line,) = machinetype_faults.of_all({"atlas": {**GOOD, **change}, "good": GOOD}, site)
    assert line.startswith(f"vacuum_machinetypes.atlas.{expected}")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"Atlas": GOOD}, "vacuum_machinetypes.Atlas: the name must be"),
        ({"atlas": "x"}, "vacuum_machinetypes.atlas: 'x': must be a mapping of keys to values"),
        ({"atlas": None}, "vacuum_machinetypes.atlas: None: must be a mapping of keys to values"),
    ],
)
def test_what_is_not_a_machinetype(site: machinetype_faults.Site, wanted: dict[str, Any], expected: str) -> None:
    (line,) = machinetype_faults.of_all(wanted, site)
    assert line.startswith(expected)


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({"target_share": 0}, "target_share: 0 must be a number above 0"),
        ({"target_share": "2", "accounting_group": "a b"}, "accounting_group: 'a b' must be a group name"),
    ],
)
def test_shares_are_those_of_the_inventory_itself(
    site: machinetype_faults.Site, own: dict[str, Any], expected: str
) -> None:
    wanted = {"atlas": {**GOOD, "target_share": 0}}
    assert list(machinetype_faults.of_all(wanted, site)) == [], "a pipe's"
    (line,) = machinetype_faults.of_all(wanted, site._replace(shared={"atlas": own}))
    assert line.startswith(f"vacuum_machinetypes.atlas.{expected}")


def test_all_faults_are_named_at_once_and_no_secret_is(site: machinetype_faults.Site) -> None:
    wanted = {
        "a": {**GOOD, "memory_bm": 1, "knd": "x", "processors": "two"},
        "b": {**GOOD, "cycle_seconds": 0, "fizzle_seconds": -1, "user_data_options": {"bad name": "sesame"}},
        "c": {**GOOD, "user_data": "gone", "root_public_key": "gone"},
    }
    lines = list(machinetype_faults.of_all(wanted, site))
    subjects = sorted(line.removeprefix("vacuum_machinetypes.").partition(":")[0] for line in lines)
    assert subjects == [
        *("a.knd", "a.memory_bm", "a.processors", "b.cycle_seconds", "b.fizzle_seconds", "b.user_data_options"),
        *("c.root_public_key", "c.user_data"),
    ]
    assert "sesame" not in "".join(lines)


def test_what_is_not_known_yet_hides_no_other_fault(site: machinetype_faults.Site) -> None:
    change = {"memory_mb": faults.UNKNOWN, "user_data": "gone", "image_checksum": "12"}
    lines = list(machinetype_faults.of_all({"a": {**GOOD, **change}}, site))
    assert [line.split(": ")[0] for line in lines] == [
        "vacuum_machinetypes.a.image_checksum",
        "vacuum_machinetypes.a.user_data",
    ]
    assert list(machinetype_faults.of_all({"a": faults.UNKNOWN}, site)) == []


def test_the_program_is_found_and_what_it_cannot_do_is_named(
    site: machinetype_faults.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller_programs, "run", RUN)
    (line,) = machinetype_faults.of_all({"a": {**GOOD, "max_idle": 6}, "b": GOOD}, site)
    assert line == "vacuum_machinetypes.a.max_idle: 6 is above max_machines 5; lower it"
    monkeypatch.setattr(controller_programs, "SOURCE", Path("/nowhere"))
    (line,) = machinetype_faults.of_all({"a": GOOD}, site)
    assert "No module named condor_vac" in line

    def hangs(words: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
        raise subprocess.TimeoutExpired(list(words), timeout)

    monkeypatch.setattr(controller_programs, "run", hangs)
    (line,) = machinetype_faults.of_all({"a": GOOD}, site)
    assert line == "vacuum_machinetypes: not checked within 120 s: run the playbook again"
