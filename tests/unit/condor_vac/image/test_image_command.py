# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac image`` on a store, with a lease of a VM that runs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from condor_vac.cli import dispatch
from condor_vac.image.store import Store
from condor_vac.worker.lease import store as lease_store
from condor_vac.worker.lease.store import Lease
from tests.unit.condor_vac.image.pages import contents, image, page, sha256
from tests.unit.webserver import WebServer, reply


def command(store: Store, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    action, *rest = words
    assert dispatch.main(["image", action, "--json", "--directory", store.directory, *rest]) == code
    return json.loads(capsys.readouterr().out or "null")


def lease_of(version: str) -> None:
    """A lease on this node, whose VM runs on the version."""
    text = "machinetype user sandbox address mac hostname network filter gateway machinefeatures jobfeatures joboutputs"
    values: dict[str, Any] = dict.fromkeys([*text.split(), "sharing", "chirp_config", "console"], "/x")
    numbers = "uid gid created fizzle_seconds max_wallclock_seconds heartbeat_seconds evidence_cpu_fraction"
    values.update(dict.fromkeys(numbers.split(), 1))
    uuid = "00000000-0000-4000-8000-000000000001"
    store = lease_store.Store()
    with store.lock():
        store.save(Lease(uuid=uuid, domain="vac_lab_1.0", created_boottime=1.0, images=(version,), **values))


def test_the_commands(store: Store, tmp_path: Path, server: WebServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.routes["/a.iso"] = page(image(31), etag='"1"')
    (tmp_path / "src.raw").write_bytes(image(32))
    assert command(store, capsys, "put", "a.iso", server.url + "/a.iso")["changed"]
    assert command(store, capsys, "put", "b.raw", str(tmp_path / "src.raw"), "--origin", "controller:b",
                   "--checksum", sha256(image(32)))["changed"]  # fmt: skip
    old = command(store, capsys, "list")["images"][0]["version"]
    lease_of(old)
    server.routes["/a.iso"] = page(image(33), etag='"2"')
    assert {name: result["changed"] for name, result in command(store, capsys, "refresh")["images"].items()} == {
        "a.iso": True
    }
    server.routes["/a.iso"] = reply(b"", "503 Busy")
    assert "503" in command(store, capsys, "refresh", code=1)["images"]["a.iso"]["error"]
    assert contents(store, "a.iso") == image(33)
    shown = command(store, capsys, "list", "--digest")
    assert [(row["name"], row["source"], row["vms"]) for row in shown["images"]] == [
        ("a.iso", server.url + "/a.iso", []),
        ("b.raw", "controller:b", []),
    ]
    assert shown["old"] == [{"version": old, "size": 300_000, "vms": ["vac_lab_1.0"]}]
    would = command(store, capsys, "keep", "--dry-run", "b.raw")
    done = command(store, capsys, "keep", "b.raw")
    assert would == done
    assert done["forgotten"] == ["a.iso"]
    assert done["in_use"] == {old: ["vac_lab_1.0"]}
    assert command(store, capsys, "keep", "b.raw")["changed"] is False
    assert sorted(store.sizes()) == sorted([old, f"{sha256(image(32))[:16]}-b.raw"])
    (Path(lease_store.Store().directory) / "00000000-0000-4000-8000-000000000001.json").unlink()
    assert command(store, capsys, "remove", "b.raw")["removed"] == sorted([old, f"{sha256(image(32))[:16]}-b.raw"])
    assert os.listdir(store.directory) == [".versions"]


def test_damage_is_found(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "src.raw").write_bytes(image(34))
    command(store, capsys, "put", "b.raw", str(tmp_path / "src.raw"))
    with open(f"{store.directory}/b.raw", "r+b") as stream:
        stream.write(b"damage")
    assert command(store, capsys, "list")["images"][0]["good"]
    assert not command(store, capsys, "list", "--digest", code=1)["images"][0]["good"]


def test_a_lease_that_cannot_be_read_removes_nothing(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "src.raw").write_bytes(image(35))
    command(store, capsys, "put", "b.raw", str(tmp_path / "src.raw"))
    with lease_store.Store().lock():
        (Path(lease_store.Store().directory) / "00000000-0000-4000-8000-000000000002.json").write_text("{")
    done = command(store, capsys, "remove", "b.raw")
    (version,) = store.sizes()
    assert done["removed"] == []
    assert done["in_use"] == {version: ["lease 00000000-0000-4000-8000-000000000002"]}
    (Path(lease_store.Store().directory) / "00000000-0000-4000-8000-000000000002.json").unlink()
    assert command(store, capsys, "refresh")["removed"] == [version]
