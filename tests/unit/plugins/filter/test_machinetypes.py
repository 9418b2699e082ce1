# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters between a site's inventory and the files on access points and worker nodes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.vacuum.htcondor.plugins.filter import machinetypes as filters

ATLAS: dict[str, Any] = {
    "image": "https://cernvm.example/releases/cernvm4.iso",
    "image_checksum": "sha256:00ff",
    "image_signing_dn": "CN=x",
    "user_data": "files/atlas.user_data",
    "user_data_files": {"hostkey": "secrets/key.pem", "a": "x/y"},
    "max_machines": 7,
}
LHCB: dict[str, Any] = {"image": "images/lhcb.raw", "user_data": "u", "root_public_key": "keys/ops.pub"}


def test_images_are_named_by_their_base_name() -> None:
    assert filters.images({"atlas": ATLAS, "lhcb": LHCB}) == {
        "cernvm4.iso": {"source": ATLAS["image"], "checksum": "sha256:00ff", "signing_dn": "CN=x", "ca": ""},
        "lhcb.raw": {"source": "images/lhcb.raw", "checksum": "", "signing_dn": "", "ca": ""},
    }


def test_an_image_that_only_pipes_need_is_optional() -> None:
    kinds = {
        "vo-a": {"image": "a.iso"},
        "own": {"image": "b.iso"},
        "vo-b": {"image": "b.iso"},
        "vo": {"image": "c.iso"},
    }
    found = filters.images(kinds, {"vo": {"url": "x"}})
    assert {name for name, image in found.items() if image.get("optional")} == {"a.iso", "c.iso"}
    assert not any("optional" in image for image in filters.images(kinds).values())


def test_two_machinetypes_may_share_an_image() -> None:
    assert list(filters.images({"a": LHCB, "b": dict(LHCB)})) == ["lhcb.raw"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ATLAS, {**ATLAS, "image_signing_dn": "CN=y"}),
        (ATLAS, {**ATLAS, "image": "https://gridpp.example/cernvm4.iso"}),
        (LHCB, {**LHCB, "image": "other/lhcb.raw"}),
    ],
)
def test_different_images_of_one_name_get_names_that_do_not_depend_on_each_other(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    found = filters.images({"a": one, "b": other, "c": {"image": "c.iso"}})
    assert [image["source"] for image in found.values()] == [one["image"], other["image"], "c.iso"]
    assert "c.iso" in found
    third = filters.images({"z": {**one, "image_ca": "/ca"}, "b": other, "a": one})
    assert set(found) - {"c.iso"} < set(third)


@pytest.mark.parametrize(
    ("source", "stem", "suffix"),
    [
        ("https://vo.example/get?name=vm.iso", "get", ""),
        ("https://vo.example/vm.iso?version=3", "vm", ".iso"),
        ("https://vo.example/vm.iso#x", "vm", ".iso"),
        ("https://vo.example/a%20b.qcow2", "a_20b", ".qcow2"),
        ("https://vo.example/.iso", "iso", ""),
        ("https://vo.example/", "image", ""),
        ("images/my vm,new.raw", "my_vm_new", ".raw"),
    ],
)
def test_a_name_that_no_file_can_have_here_is_made_one(source: str, stem: str, suffix: str) -> None:
    (name,) = filters.images({"a": {"image": source}})
    assert re.fullmatch(f"{re.escape(stem)}-[0-9a-f]{{8}}{re.escape(suffix)}", name)
    other = source.replace("?", "?other&") if "?" in source else f"other/{source}"
    assert name not in filters.images({"a": {"image": other}})


@pytest.mark.parametrize(
    ("machinetypes", "names"),
    [
        ([], "vacuum_machinetypes"),
        ({"atlas": "x"}, "vacuum_machinetypes.atlas"),
        ({"atlas": {}}, "vacuum_machinetypes.atlas.image"),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(machinetypes: Any, names: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f"^{names}: "):
        filters.images(machinetypes)
