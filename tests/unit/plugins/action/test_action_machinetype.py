# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller side of machinetype: what it sends, and what it refuses to."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.vacuum.htcondor.plugins.action import machinetype
from ansible_collections.vacuum.htcondor.plugins.filter.machinetypes import images
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import controller_files

ATLAS: dict[str, Any] = {
    "kind": "cernvm",
    "image": "https://cernvm.example/cernvm4.iso",
    "user_data": "atlas.user_data",
    "user_data_files": {"hostkey": "key.pem"},
}


class Loader:
    """Decrypts what begins like a vault's file, as Ansible's own does, into a file that must be cleaned up."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cleaned = 0

    def get_real_file(self, path: str) -> str:
        content = Path(path).read_bytes()
        if not content.startswith(b"$ANSIBLE_VAULT"):
            return path
        plain = self.root / "plain"
        plain.write_bytes(b"decrypted")
        return str(plain)

    def cleanup_all_tmp_files(self) -> None:
        self.cleaned += 1
        (self.root / "plain").unlink(missing_ok=True)


class Node(machinetype.ActionModule):
    """The action plugin with a node that remembers what it was sent."""

    def __init__(self, arguments: dict[str, Any], root: Path) -> None:
        self._task = SimpleNamespace(args=arguments, async_val=0, diff=False, check_mode=False)
        self._loader = Loader(root)
        self.root = root
        self.calls: list[dict[str, Any]] = []

    def _execute_module(self, **call: Any) -> dict[str, Any]:
        self.calls.append(call["module_args"])
        return {"changed": False}

    def sent(self) -> dict[str, Any]:
        payload: dict[str, Any] = json.loads(base64.b64decode(self.calls[0]["payload"]))
        return payload


@pytest.fixture(autouse=True)
def no_base_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machinetype.ActionBase, "run", lambda *_args: {})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "atlas.user_data").write_bytes(b"#!/bin/sh\r\n\xff")
    (tmp_path / "key.pem").write_bytes(b"key")
    return tmp_path


def node(root: Path, machinetypes: Any, **arguments: Any) -> Node:
    made = Node({"machinetypes": machinetypes, **arguments}, root)
    made.run(task_vars={"inventory_dir": str(root)})
    return made


def test_documents_and_files_go_in_one_call(root: Path) -> None:
    made = node(root, {"atlas": ATLAS}, defaults={"owner": "vac"}, image_dir="/i", directory="/d")
    (call,) = made.calls
    assert set(call) == {"payload", "directory"}
    sent = made.sent()["atlas"]
    assert sent["document"]["image"] == "/i/cernvm4.iso"
    assert sent["document"]["user_data_files"] == {"hostkey": "/d/atlas.file.hostkey"}
    assert base64.b64decode(sent["files"]["atlas.user_data"]["content"]) == b"#!/bin/sh\r\n\xff"
    assert {name: part["secret"] for name, part in sent["files"].items()} == {
        "atlas.user_data": False,
        "atlas.file.hostkey": True,
    }


def test_two_servers_images_of_one_name_are_two_files_on_the_nodes(root: Path) -> None:
    other = {**ATLAS, "image": "https://other.example/cernvm4.iso"}
    made = node(root, {"atlas": ATLAS, "lhcb": other, "again": ATLAS}, image_dir="/i")
    found = {name: part["document"]["image"] for name, part in made.sent().items()}
    assert found["atlas"] == found["again"]
    assert found["atlas"] != found["lhcb"]
    nodes = images({"atlas": ATLAS, "lhcb": other})
    assert {f"/i/{name}" for name in nodes} == set(found.values())
    assert all(path.startswith("/i/cernvm4-") and path.endswith(".iso") for path in found.values())


@pytest.mark.parametrize(
    ("pipes", "expected"),
    [
        (None, {"atlas": False, "atlas-prod": False, "lhcb": False}),
        ({}, {"atlas": False, "atlas-prod": False, "lhcb": False}),
        ({"atlas": {"url": "x"}}, {"atlas": True, "atlas-prod": True, "lhcb": False}),
        ({"atl": {"url": "x"}}, {"atlas": False, "atlas-prod": False, "lhcb": False}),
    ],
)
def test_machinetypes_of_pipes_are_marked(root: Path, pipes: Any, expected: dict[str, bool]) -> None:
    made = Node({"machinetypes": dict.fromkeys(expected, ATLAS)}, root)
    made.run(task_vars={"inventory_dir": str(root), "vacuum_pipes": pipes})
    assert {name: part["of_pipe"] for name, part in made.sent().items()} == expected


def test_a_vaults_file_goes_decrypted_and_as_a_secret(root: Path) -> None:
    (root / "atlas.user_data").write_bytes(b"$ANSIBLE_VAULT;1.1;AES256\n6530")
    made = node(root, {"atlas": ATLAS})
    part = made.sent()["atlas"]["files"]["atlas.user_data"]
    assert (base64.b64decode(part["content"]), part["secret"]) == (b"decrypted", True)
    assert not (root / "plain").exists(), "the decrypted copy is removed"


def test_to_retire_nothing_is_sent(root: Path) -> None:
    made = Node({"retire": ["old"]}, root)
    made.run()
    assert made.calls == [{"retire": ["old"]}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user_data": "gone"}, "vacuum_machinetypes.atlas.user_data: no file gone on the controller: searched "),
        ({"user_data_files": {"k": "gone"}}, "vacuum_machinetypes.atlas.user_data_files.k: no file gone"),
        ({"user_data": "big"}, "vacuum_machinetypes.atlas.user_data: big is larger than"),
        ({"kind": "x"}, "vacuum_machinetypes.atlas.kind: "),
    ],
)
def test_what_cannot_be_sent_is_named(root: Path, change: dict[str, Any], message: str) -> None:
    with (root / "big").open("wb") as stream:
        stream.truncate(controller_files.FILE_LIMIT + 1)
    with pytest.raises(AnsibleActionFail) as caught:
        node(root, {"atlas": {**ATLAS, **change}})
    assert message in str(caught.value)


def test_a_task_cannot_send_a_payload_of_its_own(root: Path) -> None:
    with pytest.raises(AnsibleActionFail, match="leave it out"):
        node(root, {}, payload="x")


def test_a_proxy_goes_as_a_secret_file_to_machinetypes_with_user_data_at_a_url(root: Path) -> None:
    proxy = "http://vac:sesame@squid.example.org:3128"
    wanted = {"atlas": ATLAS, "vo": {**ATLAS, "user_data": "https://vo.example/u"}}
    made = node(root, wanted, http_proxy=proxy, no_proxy=[".example.org"])
    assert not {"http_proxy", "no_proxy"} & set(made.calls[0])
    assert "atlas.http_proxy" not in made.sent()["atlas"]["files"]
    part = made.sent()["vo"]["files"]["vo.http_proxy"]
    assert part["secret"]
    assert json.loads(base64.b64decode(part["content"])) == {"http_proxy": proxy, "no_proxy": [".example.org"]}
    assert "sesame" not in json.dumps(made.sent()["vo"]["document"])
    assert "vo.http_proxy" not in node(root, wanted, http_proxy="").sent()["vo"]["files"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"http_proxy": "vac:sesame@squid"}, "http_proxy: "), ({"http_proxy": "", "no_proxy": ["a/b"]}, "no_proxy: ")],
)
def test_a_wrong_proxy_is_named_without_its_password(root: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleActionFail, match=message) as caught:
        node(root, {"atlas": ATLAS}, **arguments)
    assert "sesame" not in str(caught.value)
