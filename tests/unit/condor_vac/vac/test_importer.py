# SPDX-License-Identifier: GPL-3.0-or-later
"""condor_vac import: what Vac's configuration and HTCondorVMs' submit files become, and what they cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import machinetypes as inventory

from condor_vac.base.errors import UsageError
from condor_vac.cli import dispatch
from condor_vac.factory import submit_description
from condor_vac.model.machinetype import Machinetype
from condor_vac.vac import importer, options
from condor_vac.vac.inventory_data import Imported

VAC = """
# A site's configuration
[settings]
vac_space = vac02.site.example ; the name in monitoring
factories = wn1.site.example
    wn2.site.example
mb_per_processor = 2500
hs06_per_processor = 10.5
disk_gb_per_cpu = 40
overload_per_processor = 2.0
gocdb_sitename = SITE-EXAMPLE
user_data_option_cvmfs_proxy = http://squid:3128;http://squid2:3128
user_data_option_greeting = {{ lookup('pipe', 'id') }}
machinefeatures_option_rack = r12
root_public_key = /root/.ssh/id_rsa.pub
wobble = 3

[machinetype lhcb-prod]
machine_model = cernvm4
root_image = https://vo.example/cernvm4.iso
user_data = https://vo.example/lhcb_user_data
target_share = 2.5
max_processors = 4
min_processors = 1
max_wallclock_seconds = 172800
min_wallclock_seconds = 9000
backoff_seconds = 600
heartbeat_file = vm-heartbeat
heartbeat_seconds = 600
accounting_fqan = /lhcb/Role=pilot
user_data_option_dirac_site = VAC.Site.example
user_data_file_hostkey = hostkey.pem
user_data_proxy = True
legacy_proxy = true
root_device = hda

[vmtype old]
root_image = images/old.iso
user_data = user_data
cernvm_signing_dn = /CN=cvm-sign01

[machinetype box]
machine_model = docker
root_image = docker://vo/box

[vacuum_pipe gridpp]
vacuum_pipe_url = http://vo.example/gridpp.pipe
target_share = 1
user_data_option_dirac_site = VAC.Site.example

[somewhere else]
x = 1
"""

SEED = """# The VMs of one experiment
universe = vm
executable = VM-ATLAS
vm_type = kvm
vm_networking = true
vm_networking_type = nat
vm_memory = 3000
vm_vcpus = 2
vm_disk = cernvm3.iso:hda:r:raw
request_memory = 3000
transfer_input_files = root.pub,cernvm3.iso,user_data.atlas,extra.txt
+PublicKey = "root.pub"
+UserData = "user_data.atlas"
+VacSpace = "vac.site.example"
+HookKeyword = "VAC"
+RequiresVac = True
+SiteMark = "x"
accounting_group = group_atlas.vac
requirements = (Machine =!= "bad.site.example")
periodic_remove = JobStatus == 5
log = /tmp/vm.log
queue 1
"""


def load(tmp_path: Path, text: str, name: str = "vac.conf") -> Imported:
    (tmp_path / name).write_text(text)
    return importer.load([str(tmp_path / name)])


def test_vacs_machinetypes_have_the_sites_settings(tmp_path: Path) -> None:
    found = load(tmp_path, VAC)
    assert list(found.machinetypes) == ["lhcb-prod", "old"]
    assert found.machinetypes["lhcb-prod"] == {
        "kind": "cernvm",
        "image": "https://vo.example/cernvm4.iso",
        "user_data": "https://vo.example/lhcb_user_data",
        "user_data_options": {
            "cvmfs_proxy": "http://squid:3128;http://squid2:3128",
            "greeting": "{{ lookup('pipe', 'id') }}",
            "dirac_site": "VAC.Site.example",
        },
        "user_data_files": {"hostkey": "/var/lib/vac/machinetypes/lhcb-prod/files/hostkey.pem"},
        "heartbeat_file": "vm-heartbeat",
        "backoff_seconds": 600,
        "max_wallclock_seconds": 172800,
        "min_wallclock_seconds": 9000,
        "heartbeat_seconds": 600,
        "processors": 4,
        "memory_mb_per_processor": 2500,
        "disk_gb_per_processor": 40,
        "accounting_group": "group_lhcb",
        "accounting_fqan": "/lhcb/Role=pilot",
        "gocdb_sitename": "SITE-EXAMPLE",
        "target_share": 2.5,
        "user_data_proxy": True,
        "space": "vac02.site.example",
        "root_public_key": "/root/.ssh/id_rsa.pub",
        "hs06_per_processor": 10.5,
        "user_data_proxy_cert": "/var/lib/vac/machinetypes/lhcb-prod/x509cert.pem",
        "user_data_proxy_key": "/var/lib/vac/machinetypes/lhcb-prod/x509key.pem",
        "machinefeatures": {"rack": "r12"},
    }
    assert found.machinetypes["old"]["image_signing_dn"] == "/CN=cvm-sign01"
    assert found.machinetypes["old"]["image"] == "/var/lib/vac/machinetypes/old/files/images/old.iso"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "factories: put these hosts into the inventory's group worker_node: wn1.site.example wn2.site.example"),
        ("", "gocdb_sitename: VMs are accounted under it, but no APEL records are written here, and APEL's parser"),
        ("", "wobble: no such option is known"),
        ("", "[somewhere else]: no such section"),
        ("lhcb-prod", "min_processors: not converted"),
        ("lhcb-prod", "legacy_proxy: not converted"),
        ("lhcb-prod", "user_data_proxy: set user_data_proxy_cert"),
        ("lhcb-prod", "root_device: not converted"),
        ("lhcb-prod", "accounting_fqan: /lhcb/Role=pilot became accounting_group group_lhcb"),
        ("lhcb-prod", "max_machines: Vac has no such limit"),
        ("box", "machine_model: docker is a container"),
        ("gridpp", "vacuum_pipe_url: http://vo.example/gridpp.pipe is not safe against changes on the way"),
        ("old", "target_share: 0 or none means that Vac starts no VM of it"),
    ],
)
def test_what_is_not_converted_is_reported(tmp_path: Path, name: str, words: str) -> None:
    assert any(note.startswith(words) for note in load(tmp_path, VAC).notes[name])


def test_a_pipe_has_only_what_the_site_sets(tmp_path: Path) -> None:
    pipe = load(tmp_path, VAC).pipes["gridpp"]
    assert pipe["url"] == "https://vo.example/gridpp.pipe"
    assert pipe["target_share"] == 1.0
    assert pipe["user_data_options"]["dirac_site"] == "VAC.Site.example"
    assert pipe["memory_mb_per_processor"] == 2500
    assert not {"kind", "image", "processors", "memory_mb"} & set(pipe), "left to the pipe"
    assert pipe["defaults"] == {
        "user_data_options": {
            "cvmfs_proxy": "http://squid:3128;http://squid2:3128",
            "greeting": "{{ lookup('pipe', 'id') }}",
        }
    }


def test_later_files_win_as_in_vac(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text("[machinetype x]\nuser_data = a\nroot_image = i.iso\n")
    (tmp_path / "b.conf").write_text("[settings]\nvac_space = v\n[machinetype x]\nuser_data = /b\n")
    found = importer.load([str(tmp_path / "a.conf"), str(tmp_path / "b.conf")])
    assert found.machinetypes["x"]["user_data"] == "/b"
    assert found.machinetypes["x"]["space"] == "v"


def test_htcondorvms_submit_file_is_a_machinetype(tmp_path: Path) -> None:
    found = load(tmp_path, SEED, "vm-atlas.sub")
    assert found.machinetypes["atlas"] == {
        "kind": "cernvm",
        "image": f"{tmp_path}/cernvm3.iso",
        "user_data": f"{tmp_path}/user_data.atlas",
        "root_public_key": f"{tmp_path}/root.pub",
        "memory_mb": 3000,
        "processors": 2,
        "accounting_group": "group_atlas.vac",
        "requirements": '(Machine =!= "bad.site.example")',
        "space": "vac.site.example",
    }
    notes = " | ".join(found.notes["atlas"])
    assert "transfer_input_files: extra.txt" in notes
    assert "+sitemark" in notes
    assert "periodic_remove = JobStatus == 5: not converted: the factory decides it" in notes


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("universe = vanilla\nqueue\n", "x.sub", "neither Vac's configuration nor a submit file of the vm universe"),
        ("hello\n", "x.conf", "not a submit command"),
        ("[settings]\nx\n", "vac.conf", "not Vac's configuration"),
        ("[machinetype ../x]\nuser_data = y\n", "vac.conf", "the name must be"),
        ("universe = vm\nqueue\n", "___.sub", "gives a name"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(tmp_path, text, name)


@pytest.mark.parametrize(("text", "name"), [(VAC, "vac.conf"), (SEED, "vm-atlas.sub")])
def test_the_yaml_is_what_the_role_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, name: str
) -> None:
    (tmp_path / name).write_text(text)
    assert dispatch.main(["import", str(tmp_path / name)]) == 0
    printed = capsys.readouterr().out
    assert dispatch.main(["import", "--json", str(tmp_path / name)]) == 0
    data = json.loads(capsys.readouterr().out)
    loader = yaml.SafeLoader
    loader.add_constructor("!unsafe", lambda _loader, node: str(node.value))
    loaded: dict[str, Any] = yaml.safe_load(printed)
    assert loaded["vacuum_machinetypes"] == data["machinetypes"]
    for found, keys in inventory.checked(loaded["vacuum_machinetypes"]).items():
        document = inventory.document(keys, found, "/d", "/i/vm.iso", {"owner": "vac"})
        commands = submit_description.describe(Machinetype.from_mapping(document, found))
        each = keys.get("memory_mb_per_processor", 2048) * keys.get("processors", 1)
        assert commands["vm_memory"] == str(keys.get("memory_mb", each))


def test_ansible_takes_no_imported_value_for_a_template(tmp_path: Path) -> None:
    lines = importer.inventory(load(tmp_path, VAC))
    assert """      greeting: !unsafe "{{ lookup('pipe', 'id') }}\"""" in lines


def test_notes_are_comments_of_one_line(tmp_path: Path) -> None:
    text = "[settings]\nwobble = a\n  vacuum_machinetypes: {}\n[machinetype x]\nfizzle_seconds = 1\n  evil: true\n"
    lines = importer.inventory(load(tmp_path, text))
    assert not [line for line in lines if "evil" in line and not line.lstrip().startswith("#")]


@pytest.mark.parametrize(
    ("longest", "shortest", "kept"), [(172800, 9000, 9000), (172800, 172800, 172800), (7200, 9000, 7200)]
)
def test_the_least_time_of_a_vm_is_at_most_its_longest(tmp_path: Path, longest: int, shortest: int, kept: int) -> None:
    text = VAC.replace("172800", str(longest)).replace("= 9000", f"= {shortest}")
    found = load(tmp_path, text)
    assert found.machinetypes["lhcb-prod"]["min_wallclock_seconds"] == kept
    changed = f"min_wallclock_seconds: {shortest} became {kept}, which is max_wallclock_seconds"
    assert (changed in found.notes["lhcb-prod"]) is (kept != shortest)


def test_a_pipes_least_time_is_lowered_to_the_sites_longest() -> None:
    keys = {"min_wallclock_seconds": 9000, "max_wallclock_seconds": 3600}
    assert options.fit(keys) == ["min_wallclock_seconds: 9000 became 3600, which is max_wallclock_seconds"]
    assert keys["min_wallclock_seconds"] == 3600
