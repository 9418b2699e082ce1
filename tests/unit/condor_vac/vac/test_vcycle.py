# SPDX-License-Identifier: GPL-3.0-or-later
"""Vcycle's configuration becomes machinetypes; its clouds are left out, and said to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import machinetypes as inventory

from condor_vac.base.errors import UsageError
from condor_vac.model.machinetype import Machinetype
from condor_vac.vac import importer
from condor_vac.vac.inventory_data import Imported

LEAST = "root_image = https://vo.example.org/n.iso\nuser_data = https://vo.example.org/ud\ntarget_share = 1\n"
SPACE = """[space cloud.example.org]
api = openstack
url = https://keystone.example.org/v3
username = vac
password_base64 = U0VDUkVU
processors_limit = 50
"""


def load(tmp_path: Path, text: str) -> Imported:
    (tmp_path / "vcycle.conf").write_text(text)
    return importer.load([str(tmp_path / "vcycle.conf")])


def one(tmp_path: Path, options: str, space: str = SPACE) -> tuple[dict[str, Any], list[str]]:
    """(keys, notes) of a machinetype with some options."""
    found = load(tmp_path, f"{space}[machinetype cloud.example.org prod]\n{LEAST}{options}")
    return found.machinetypes["prod"], found.notes["prod"]


def test_the_least_that_a_machinetype_has(tmp_path: Path) -> None:
    keys, notes = one(tmp_path, "")
    assert keys == {
        "kind": "cernvm",
        "image": "https://vo.example.org/n.iso",
        "user_data": "https://vo.example.org/ud",
        "target_share": 1.0,
        "space": "cloud.example.org",
    }
    assert notes == [
        "kind: cernvm, by the image's name, because Vcycle has no models; check it",
        "max_machines: no processors_limit is set; the default here is 1000",
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("max_processors = 1", {"processors": 1}),
        ("min_processors = 4", {"processors": 4}),
        ("processors_per_machine = 4", {"processors": 4}),
        ("cpu_per_machine = 2\nmax_processors = 8", {"processors": 8}),
        ("processors_limit = 40", {"max_machines": 40}),
        ("processors_limit = 40\nmin_processors = 8", {"max_machines": 5, "processors": 8}),
        ("processors_limit = 40\nmax_starting_processors = 10", {"max_machines": 40, "max_starting": 10}),
        ("processors_limit = 5\nmax_starting_processors = 10", {"max_machines": 5, "max_starting": 5}),
        ("max_starting_processors = 100", {"max_starting": 10}),
        ("target_share = 0", {"target_share": 0, "max_machines": 0}),
        ("mb_per_processor = 3000", {"memory_mb_per_processor": 3000}),
        ("hs06_per_processor = 10.5", {"hs06_per_processor": 10.5}),
        ("disk_gb_per_processor = 20", {"disk_gb_per_processor": 20}),
        ("root_image = https://vo.example.org/n.raw", {"kind": "cloud-init", "image": "https://vo.example.org/n.raw"}),
        ("root_image = https://vo.example.org/n", {"kind": "cloud-init", "image_format": "raw", "image": "https://vo.example.org/n"}),
        ("user_data = ud", {"user_data": "/var/lib/vcycle/spaces/cloud.example.org/machinetypes/prod/files/ud"}),
        ("cernvm_signing_dn = /CN=x", {"image_signing_dn": "/CN=x"}),
        ("backoff_seconds = 600\nfizzle_seconds = 900", {"backoff_seconds": 600, "fizzle_seconds": 900}),
    ],
)  # fmt: skip
def test_what_options_become(tmp_path: Path, options: str, expected: dict[str, Any]) -> None:
    least, _ = one(tmp_path, "")
    keys, _ = one(tmp_path, options)
    assert keys == {**least, **expected}
    checked = inventory.checked({"prod": keys})["prod"]
    document = inventory.document(checked, "prod", "/d", f"/i/{Path(keys['image']).name}", {"owner": "vac"})
    assert Machinetype.from_mapping(document, "prod").processors == keys.get("processors", 1)


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ("flavor_names = small large", "flavor_names: not converted: the sizes are"),
        ("flavor_name = small", "flavor_name: not converted"),
        ("https_x509dn = /DC=x", "https_x509dn: not needed"),
        ("cvmfs_proxy_machinetype = squid", "cvmfs_proxy_machinetype: not converted: set user_data_options"),
        ("log_joboutputs = True", "log_joboutputs: not needed"),
        ("root_image = image:5f1c", "root_image: not converted: image:5f1c is in the cloud"),
        ("wobble = 1", "wobble: not converted: no such option is known"),
        ("processors_limit = 40", "processors_limit: 40 became max_machines 40"),
    ],
)
def test_what_is_not_converted_is_said(tmp_path: Path, options: str, note: str) -> None:
    _, notes = one(tmp_path, options)
    assert any(found.startswith(note) for found in notes)


def test_a_cloud_is_left_out_without_its_secrets(tmp_path: Path) -> None:
    found = load(tmp_path, f"{SPACE}[machinetype cloud.example.org prod]\n{LEAST}")
    text = "\n".join(importer.inventory(found))
    assert "[space cloud.example.org]: left out, because VMs run on the pool's worker nodes" in text
    assert "api, password_base64, url, username" in text
    assert "U0VDUkVU" not in text
    assert "keystone" not in text
    assert "[space cloud.example.org]: processors_limit: not converted: set max_machines" in text


def test_disks_of_a_space_are_those_of_its_machinetypes(tmp_path: Path) -> None:
    keys, _ = one(tmp_path, "", f"{SPACE}volume_gb_per_processor = 25\n")
    assert keys["disk_gb_per_processor"] == 25
    keys, _ = one(tmp_path, "disk_gb_per_processor = 30", f"{SPACE}volume_gb_per_processor = 25\n")
    assert keys["disk_gb_per_processor"] == 30


def test_one_name_in_two_spaces_is_two_machinetypes(tmp_path: Path) -> None:
    text = f"[machinetype a.example.org prod]\n{LEAST}[machinetype b.example.org prod]\n{LEAST}"
    found = load(tmp_path, f"{text}[machinetype b.example.org dev]\n{LEAST}")
    assert {name: keys["space"] for name, keys in found.machinetypes.items()} == {
        "a-example-org-prod": "a.example.org",
        "b-example-org-prod": "b.example.org",
        "dev": "b.example.org",
    }


def test_a_pipe_of_a_space(tmp_path: Path) -> None:
    options = "vacuum_pipe_url = http://vo.example.org/p\ntarget_share = 2\nuser_data_option_x = y\nflavor_names = s\n"
    found = load(tmp_path, f"{SPACE}volume_gb_per_processor = 25\n[vacuum_pipe cloud.example.org vo]\n{options}")
    assert found.pipes["vo"] == {
        "url": "https://vo.example.org/p",
        "files": "/var/lib/vcycle/spaces/cloud.example.org/machinetypes/vo/files",
        "user_data_options": {"x": "y"},
        "target_share": 2.0,
        "space": "cloud.example.org",
        "defaults": {"disk_gb_per_processor": 25},
    }
    assert any(note.startswith("flavor_names: not converted") for note in found.notes["vo"])
    assert load(tmp_path, "[vacuum_pipe cloud.example.org vo]\n").pipes == {}


@pytest.mark.parametrize("name", ["Prod_1", "../x", "a.b"])
def test_what_is_not_a_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="the name must be"):
        load(tmp_path, f"[machinetype cloud.example.org {name}]\n{LEAST}")


def test_a_section_changes_a_machinetype_of_a_pipe(tmp_path: Path) -> None:
    pipe = "[vacuum_pipe cloud.example.org vo]\nvacuum_pipe_url = https://vo.example.org/p\ntarget_share = 1\n"
    change = "[machinetype cloud.example.org vo-eight]\nbackoff_seconds = 900\nprocessors_limit = 80\n"
    other = f"[machinetype other.example.org vo-eight2]\n{LEAST}"
    found = load(tmp_path, f"{SPACE}{pipe}{change}{other}")
    assert found.machinetypes["vo-eight"] == {"backoff_seconds": 900}
    assert any(note.startswith("processors_limit: not converted: 80") for note in found.notes["vo-eight"])
    assert found.machinetypes["vo-eight2"]["space"] == "other.example.org"
