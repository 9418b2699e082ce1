# SPDX-License-Identifier: GPL-3.0-or-later
"""vm_image's controller side: which files it reads, and when it sends them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.vacuum.htcondor.plugins.action.vm_image import ActionModule, digest

DATA = b"image" * 400_000
SHA256 = hashlib.sha256(DATA).hexdigest()


class Action(ActionModule):
    """The plugin with a node that has or lacks the image."""

    def __init__(self, arguments: dict[str, Any], *, lacks: bool) -> None:
        self._task = SimpleNamespace(args=arguments, async_val=0)
        self._connection = SimpleNamespace(_shell=SimpleNamespace(join_path=lambda *words: "/".join(words)))
        self.lacks = lacks
        self.calls: list[dict[str, Any]] = []
        self.sent: list[tuple[str, str]] = []
        self.cleared: list[str] = []

    def _execute_module(self, **call: Any) -> dict[str, Any]:
        brought = call["module_args"].get("controller_file")
        self.calls.append({**call["module_args"], "controller_file": dict(brought) if brought else None})
        return {"changed": True, "transfer_needed": self.lacks and bool(brought) and "path" not in brought}

    def _make_tmp_path(self, *_: Any) -> str:
        return "/tmp/ansible-1"

    def _transfer_file(self, local: str, remote: str) -> str:
        self.sent.append((local, remote))
        return remote

    def _fixup_perms2(self, *_: Any, **__: Any) -> None:
        pass

    def _remove_tmp_path(self, path: str, *_: Any) -> None:
        self.cleared.append(path)


@pytest.fixture(autouse=True)
def _plain_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda *_: {})


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "vm.iso"
    path.write_bytes(DATA)
    return str(path)


@pytest.mark.parametrize("lacks", [True, False])
def test_a_file_is_sent_to_a_node_that_lacks_it(file: str, lacks: bool) -> None:
    action = Action({"source": file}, lacks=lacks)
    action.run()
    assert action.calls[0]["controller_file"] == {"origin": file, "sha256": SHA256}
    assert action.calls[0]["name"] == "vm.iso"
    assert action.sent == ([(file, "/tmp/ansible-1/image")] if lacks else [])
    assert action.cleared == (["/tmp/ansible-1"] if lacks else [])
    assert action.calls[-1]["controller_file"].get("path") == ("/tmp/ansible-1/image" if lacks else None)


def test_no_round_trip_is_spent_on_a_directory_that_nothing_needs(file: str) -> None:
    assert Action({"source": file}, lacks=False)._early_needs_tmp_path() is False


@pytest.mark.parametrize(
    "arguments",
    [
        {"source": "https://example.org/vm.iso"},
        {"source": "/cvmfs/vm.iso", "remote_source": True},
        {"source": "/cvmfs/vm.iso", "remote_source": "yes"},
        {"state": "absent", "name": "vm.iso"},
        {"exclusive": True, "names": []},
        {},
    ],
)
def test_nothing_else_is_read(arguments: dict[str, Any]) -> None:
    action = Action(arguments, lacks=True)
    action.run()
    assert action.calls == [{**arguments, "controller_file": None}]


def test_a_checksum_that_the_file_has_not(file: str) -> None:
    action = Action({"source": file, "checksum": "sha256:" + "0" * 64}, lacks=True)
    with pytest.raises(AnsibleActionFail, match=SHA256):
        action.run()
    assert action.calls == []
    Action({"source": file, "checksum": "sha256:" + SHA256.upper()}, lacks=True).run()


def test_what_tasks_must_not_say() -> None:
    with pytest.raises(AnsibleActionFail, match="leave it out"):
        Action({"controller_file": {}}, lacks=True).run()
    with pytest.raises(AnsibleActionFail, match="No such file"):
        digest("/nonexistent/vm.iso")


@pytest.mark.parametrize("lacks", [True, False])
def test_a_copy_of_what_is_at_a_url_is_sent_to_a_node_that_lacks_it(
    file: str, monkeypatch: pytest.MonkeyPatch, lacks: bool
) -> None:
    monkeypatch.setenv("HOME", str(Path(file).parent))
    url = "https://example.org/x/vm.iso"
    action = Action({"source": url, "local_copy": "~/vm.iso", "checksum": SHA256.upper()}, lacks=lacks)
    action.run()
    assert action.calls[0]["controller_file"] == {"origin": url, "sha256": SHA256}
    assert action.sent == ([(file, "/tmp/ansible-1/image")] if lacks else [])


def test_a_copy_is_not_read_for_a_node_that_has_the_image() -> None:
    arguments = {"source": "https://example.org/vm.iso", "local_copy": "/nonexistent", "checksum": f"sha256:{SHA256}"}
    action = Action(arguments, lacks=False)
    action.run()
    assert len(action.calls) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "https://example.org/vm.iso", "local_copy": "/x"}, "local_copy: needs source"),
        ({"source": "https://example.org/vm.iso", "local_copy": "/x", "checksum": "md5:1"}, "local_copy: needs source"),
        ({"source": "vm.iso", "local_copy": "/x", "checksum": SHA256}, "local_copy: needs source"),
        ({"local_copy": "/x", "checksum": SHA256}, "local_copy: needs source"),
        ({"source": "https://example.org/vm.iso", "http_proxy": "http://vac:sesame@squid"}, "http_proxy: "),
        ({"source": "https://example.org/vm.iso", "no_proxy": ["http://sesame@x"]}, "no_proxy: "),
    ],
)
def test_wrong_copies_and_proxies(arguments: dict[str, Any], message: str) -> None:
    action = Action(arguments, lacks=True)
    with pytest.raises(AnsibleActionFail, match=message) as caught:
        action.run()
    assert "sesame" not in str(caught.value)
    assert action.calls == []
