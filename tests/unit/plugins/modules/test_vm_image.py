# SPDX-License-Identifier: GPL-3.0-or-later
"""vm_image: through the real ``condor_vac image``, in this process, to a directory of the test."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from ansible_collections.vacuum.htcondor.plugins.modules import vm_image

from condor_vac.base import http_proxy_file
from condor_vac.cli import dispatch, image
from condor_vac.image import fetch as image_fetch
from condor_vac.image.store import Store
from condor_vac.worker import settings
from condor_vac.worker.lease import store as lease_store
from tests.unit.forward_proxy import forward_proxy
from tests.unit.plugins.harness import Answer, Tools, four_calls, run
from tests.unit.webserver import reply, web_server


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Node:
    """A node whose condor_vac is the real one."""

    def __init__(self, base: Path) -> None:
        self.store = Store(str(base / "images"))
        self.tools = Tools(self.answer)
        self.settings = settings.from_mapping({"image_dir": self.store.directory, "image_budget_gb": 1}, "test")

    def answer(self, argv: list[str], stdin: str | None) -> Answer:
        assert argv[0] == "/usr/bin//usr/local/bin/condor_vac" or argv[0] == vm_image.CLI
        assert "sesame" not in " ".join(argv)
        out, err = io.StringIO(), io.StringIO()
        given = SimpleNamespace(buffer=io.BytesIO((stdin or "").encode()))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), mock.patch("sys.stdin", given):
            code = dispatch.main(argv[1:])
        return code, out.getvalue(), err.getvalue()

    def run(self, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
        return run(vm_image, arguments, check=check, tools=self.tools)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setattr(lease_store.Store.__init__, "__defaults__", (str(tmp_path / "run"),))
    monkeypatch.setattr(image_fetch, "RESERVE_BYTES", 0)
    made = Node(tmp_path)
    monkeypatch.setattr(settings, "load", lambda: made.settings)
    return made


@pytest.mark.parametrize("pinned", [False, True])
def test_a_file_of_the_node(node: Node, tmp_path: Path, pinned: bool) -> None:
    (tmp_path / "worker 9.raw").write_bytes(b"nine" * 9_000)
    arguments: dict[str, Any] = {
        "name": "worker-9.raw",
        "source": str(tmp_path / "worker 9.raw"),
        "remote_source": True,
    }
    if pinned:
        arguments["checksum"] = "sha256:" + sha256(b"nine" * 9_000)
    results = four_calls(vm_image, arguments, node.tools)
    assert results[1]["image"]["sha256"] == sha256(b"nine" * 9_000)
    assert Path(node.store.directory, "worker-9.raw").read_bytes() == b"nine" * 9_000


def test_from_the_web_and_anew(node: Node) -> None:
    with web_server() as server:
        server.routes["/x/vm.iso"] = reply(b"one" * 5_000, ETag='"1"')
        first = node.run(source=server.url + "/x/vm.iso")
        assert first["image"]["name"] == "vm.iso"
        server.routes["/x/vm.iso"] = reply(b"two" * 7_000, ETag='"2"')
        seen = node.run(source=server.url + "/x/vm.iso", check=True)
        done = node.run(source=server.url + "/x/vm.iso")
    assert seen["diff"] == done["diff"]
    assert f"sha256: {sha256(b'one' * 5_000)}" in done["diff"][0]["before"]
    assert f"sha256: {sha256(b'two' * 7_000)}" in done["diff"][0]["after"]
    assert done["removed"] == [first["image"]["version"]]


def test_a_server_that_fails_is_a_failed_task(node: Node) -> None:
    with web_server() as server:
        server.routes["/vm.iso"] = reply(b"x", "500 Oops")
        result = node.run(source=server.url + "/vm.iso")
        assert result["failed"]
        assert "500" in result["msg"]
        assert node.run(source="http://images.example.org/vm.iso")["msg"].endswith("use https")


@pytest.mark.parametrize(
    ("answer", "printed"),
    [((1, "", "condor_vac: libvirt gives no answer\n"), "libvirt gives no answer"), ((0, "", ""), "gave no JSON")],
)
def test_why_the_node_cannot_tell_its_images(
    node: Node, monkeypatch: pytest.MonkeyPatch, answer: Answer, printed: str
) -> None:
    monkeypatch.setattr(node, "tools", Tools(lambda _argv, _stdin: answer))
    result = node.run(name="vm.iso", source="/srv/vm.iso", remote_source=True, check=True)
    assert result["failed"]
    assert printed in result["msg"]


def test_a_file_of_the_controller_is_sent_once(node: Node, tmp_path: Path) -> None:
    data = b"controller" * 3_000
    brought = {"origin": "/srv/images/vm.iso", "sha256": sha256(data)}
    asked: dict[str, Any] = {"name": "vm.iso", "source": "images/vm.iso", "controller_file": brought}
    seen = node.run(check=True, **asked)
    assert (seen["changed"], seen["transfer_needed"]) == (True, False)
    assert not os.path.exists(node.store.directory)
    assert node.run(**asked)["transfer_needed"]
    (tmp_path / "sent").write_bytes(data)
    done = node.run(**{**asked, "controller_file": {**brought, "path": str(tmp_path / "sent")}})
    assert done["changed"]
    assert done["image"]["source"] == "/srv/images/vm.iso"
    (tmp_path / "sent").unlink()
    for check in (True, False):
        again = node.run(check=check, **asked)
        assert (again["changed"], again["transfer_needed"]) == (False, False)
    os.truncate(f"{node.store.directory}/vm.iso", 10)
    assert node.run(**asked)["transfer_needed"], "a damaged image is sent again"


def test_another_directory_and_a_proxy(node: Node, tmp_path: Path) -> None:
    with web_server() as server, forward_proxy(user="vac:sesame") as proxy:
        server.routes["/vm.iso"] = reply(b"one" * 5_000)
        arguments: dict[str, Any] = {"source": server.url + "/vm.iso", "directory": str(tmp_path / "cache")}
        assert "407" in node.run(http_proxy=proxy.url, **arguments)["msg"]
        by_proxy = {"http_proxy": proxy.with_user("vac:sesame"), "no_proxy": ["example.org"]}
        given: dict[str, Any] = {**arguments, **by_proxy}
        done = node.run(**given)
        assert done["changed"]
        assert "sesame" not in str(done)
        assert proxy.requests == [f"GET {server.url}/vm.iso HTTP/1.1"] * 2
        assert not node.run(**{**given, "no_proxy": ["127.0.0.1"]})["changed"]
        assert (len(proxy.requests), len(server.requests)) == (2, 2)
    assert (tmp_path / "cache" / "vm.iso").read_bytes() == b"one" * 5_000
    assert not os.path.exists(node.store.directory)
    assert node.run(exclusive=True, names=[], directory=str(tmp_path / "cache"))["changed"]
    assert not (tmp_path / "cache" / "vm.iso").exists()


def test_the_nodes_own_proxy(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with web_server() as server, forward_proxy() as proxy:
        server.routes["/vm.iso"] = reply(b"one" * 5_000)
        file = tmp_path / "http_proxy.json"
        monkeypatch.setattr(http_proxy_file, "NODE_FILE", str(file))
        file.write_text(json.dumps({"http_proxy": proxy.url, "no_proxy": []}))
        assert node.run(source=server.url + "/vm.iso")["changed"]
        assert len(proxy.requests) == 1
        file.write_text('{"http_proxy": "", "no_proxy": []}')
        assert not node.run(source=server.url + "/vm.iso")["changed"]
        assert len(proxy.requests) == 1
        file.write_text('{"http_proxy": "http://vac:sesame@squid"}')
        refused = node.run(source=server.url + "/vm.iso")["msg"]
        assert f"{file}: http_proxy: '...@squid': must be" in refused


def test_what_arrives_must_be_what_was_sent(node: Node, tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(b"damaged on the way")
    brought = {"origin": "/srv/vm.iso", "sha256": sha256(b"right"), "path": str(tmp_path / "sent")}
    result = node.run(name="vm.iso", source="vm.iso", controller_file=brought)
    assert result["failed"]
    assert "SHA-256 is" in result["msg"]


def test_exclusive_and_absent(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.iso", "b.iso", "c.iso"):
        (tmp_path / name).write_bytes(name.encode() * 1_000)
        node.run(source=str(tmp_path / name), remote_source=True)
    version = f"{sha256(b'b.iso' * 1_000)[:16]}-b.iso"
    monkeypatch.setattr(image, "users", lambda _store: {version: ["vac_lab_3.0"]})
    seen, done = (node.run(exclusive=True, names=["a.iso", "c.iso"], check=check) for check in (True, False))
    assert seen["changed"]
    assert seen["diff"] == done["diff"]
    assert done["in_use"] == {version: ["vac_lab_3.0"]}
    assert not node.run(exclusive=True, names=["a.iso", "c.iso"])["changed"]
    assert [node.run(state="absent", name="a.iso")["changed"] for _ in range(2)] == [True, False]
    assert node.store.names() == ["c.iso"]
    assert version in node.store.sizes()


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        ({}, "source: missing"),
        ({"state": "absent"}, "name: missing"),
        ({"exclusive": True}, "names: missing"),
        ({"exclusive": True, "names": None}, "names: missing"),
        ({"exclusive": True, "names": [], "state": "absent"}, "exclusive: not with"),
        ({"names": ["vm.iso"]}, "names: only with exclusive"),
        ({"source": "images/vm.iso"}, "action plugin"),
        ({"source": "/i/vm.iso", "remote_source": True, "name": "../vm.iso"}, "image name"),
        ({"source": "/i/vm.iso", "remote_source": True, "name": "--help"}, "give an image"),
        ({"source": "/i/vm.iso", "remote_source": True, "checksum": "md5:1"}, "checksum"),
        ({"source": "file:///etc/passwd"}, "must be https"),
        ({"source": "/i/vm.iso", "remote_source": True, "signing_dn": "("}, "regular expression"),
    ],
)
def test_wrong_arguments(node: Node, arguments: dict[str, Any], printed: str) -> None:
    result = node.run(**arguments)
    assert result["failed"]
    assert printed in result["msg"]


def test_without_the_programs(tmp_path: Path) -> None:
    tools = Tools(lambda _argv, _stdin: (0, "", ""), missing=[vm_image.CLI])
    assert "role runtime" in run(vm_image, {"source": "https://e.org/vm.iso"}, tools=tools)["msg"]


def test_an_image_of_a_pipe_is_fetched_from_public_hosts_and_those_that_the_site_names(node: Node) -> None:
    with web_server() as web:
        web.routes["/vm.iso"] = reply(b"image")
        source = f"{web.url}/vm.iso"
        result = node.run(source=source, private_hosts="")
        assert "not public, and a pipe may name no host" in result["msg"]
        assert web.requests == []
        assert node.run(source=source, private_hosts="127.0.0.1")["changed"]
        assert not node.run(source=source, private_hosts="127.0.0.1")["changed"]
        # What the record says holds for the timer's refresh as well.
        record = Path(node.store.versions_directory, "vm.iso.json")
        record.write_text(record.read_text().replace('"private_hosts": "127.0.0.1"', '"private_hosts": "10.0.0.1"'))
        before = len(web.requests)
        code, out, err = node.answer([vm_image.CLI, "image", "refresh", "--json"], None)
        assert (code, "not public" in out, "keeping the present version" in err) == (1, True, True)
        assert len(web.requests) == before
        assert "msg" not in node.run(source=source), "the site's own URL"
