# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventory data of machinetypes: checked by the argument spec, and as files of the access point."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import machinetypes
from ansible_collections.vacuum.htcondor.plugins.plugin_utils.machinetypes import MachinetypeError

from condor_vac.model.machinetype import Machinetype

ATLAS: dict[str, Any] = {
    "kind": "cernvm",
    "image": "https://cernvm.example/releases/cernvm4.iso",
    "image_checksum": "sha256:00ff",
    "user_data": "files/atlas.user_data",
    "user_data_files": {"hostkey": "secrets/key.pem", "a": "x/y"},
    "max_machines": 7,
}
LHCB: dict[str, Any] = {
    "kind": "cloud-init",
    "image": "images/lhcb.raw",
    "user_data": "https://lhcb.example/u",
    "root_public_key": "keys/ops.pub",
}


def test_values_of_templates_get_their_type() -> None:
    given = {**LHCB, "memory_mb": "4096", "vnc": "yes", "hs06": "10.5", "space": None, "user_data_options": {"n": 2}}
    checked = machinetypes.checked({"lhcb": given})["lhcb"]
    assert checked == {**LHCB, "memory_mb": 4096, "vnc": True, "hs06": 10.5, "user_data_options": {"n": "2"}}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "vacuum_machinetypes: must be a mapping"),
        ({"Atlas": ATLAS}, "vacuum_machinetypes.Atlas: the name must be"),
        ({"../x": ATLAS}, "the name must be"),
        ({"atlas": "x"}, "vacuum_machinetypes.atlas: must be a mapping"),
        ({"atlas": {**ATLAS, "max_machine": 3}}, "vacuum_machinetypes.atlas.max_machine: unknown key"),
        ({"atlas": {**ATLAS, "kind": None}}, "vacuum_machinetypes.atlas.kind: missing"),
        ({"atlas": {**ATLAS, "kind": "docker"}}, "vacuum_machinetypes.atlas.kind: value of kind must be one of"),
        ({"atlas": {**ATLAS, "memory_mb": "lots"}}, "vacuum_machinetypes.atlas.memory_mb: "),
        ({"atlas": {**ATLAS, "user_data_options": [1]}}, "vacuum_machinetypes.atlas.user_data_options: "),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(given: Any, message: str) -> None:
    with pytest.raises(MachinetypeError) as caught:
        machinetypes.checked(given)
    assert message in str(caught.value)


def test_files_go_beside_the_machinetype_and_urls_do_not() -> None:
    assert machinetypes.sources(ATLAS, "atlas") == {
        "atlas.user_data": ("user_data", "files/atlas.user_data"),
        "atlas.file.a": ("user_data_files.a", "x/y"),
        "atlas.file.hostkey": ("user_data_files.hostkey", "secrets/key.pem"),
    }
    assert machinetypes.sources(LHCB, "lhcb") == {"lhcb.pub": ("root_public_key", "keys/ops.pub")}


def test_document_has_the_pools_paths_and_the_defaults_only_where_the_site_sets_nothing() -> None:
    defaults = {"owner": "vac", "max_machines": 3}
    assert machinetypes.document(ATLAS, "atlas", "/d", "/i/cernvm4.iso", defaults) == {
        "name": "atlas",
        "owner": "vac",
        "kind": "cernvm",
        "image": "/i/cernvm4.iso",
        "user_data": "/d/atlas.user_data",
        "user_data_files": {"hostkey": "/d/atlas.file.hostkey", "a": "/d/atlas.file.a"},
        "max_machines": 7,
    }


@pytest.mark.parametrize("data", [ATLAS, LHCB])
def test_the_program_takes_the_document_and_every_file_of_it_is_deployed(data: dict[str, Any]) -> None:
    document = machinetypes.document(data, "x", "/d", "/i/vm.iso", {"owner": "vac"})
    made = Machinetype.from_mapping(document, "test")
    in_directory = {path for path in made.input_files().values() if path.startswith("/d/")}
    assert in_directory == {f"/d/{name}" for name in machinetypes.sources(data, "x")}
