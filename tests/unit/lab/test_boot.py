# SPDX-License-Identifier: GPL-3.0-or-later
"""What nodes get to know of each other, with stand-ins for their processes and for SSH."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.lab import nodes, space, ssh, state
from tests.lab.paths import LabError
from tests.lab.state import Node, Process

PUBLIC_KEY = "ssh-ed25519 AAAA lab"


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """A lab of this test's own; returns, for each time a node gets the names, the node and the names."""
    recorded: list[tuple[str, str]] = []

    def run(node: Node, script: str, stdin: str = "") -> str:
        if "/etc/hosts" in script:
            recorded.append((node.name, " ".join(line.split()[-1] for line in stdin.splitlines() if ".lab " in line)))
        return ""

    def start(node: Node, public_key: str, addresses: dict[str, str]) -> Process:
        assert public_key == PUBLIC_KEY
        return Process.of(os.getpid())

    monkeypatch.setenv("VAC_LAB_DIR", str(tmp_path))
    monkeypatch.setenv("VAC_LAB", "unit")
    monkeypatch.setattr(ssh, "run", run)
    monkeypatch.setattr(ssh, "answers", lambda node: True)
    monkeypatch.setattr(ssh, "write_config", lambda: None)
    monkeypatch.setattr(ssh, "public_key", lambda: PUBLIC_KEY)
    monkeypatch.setattr(space.Space, "begin", lambda self: None)
    for kind in ("machine", "container"):
        monkeypatch.setattr(nodes, kind, SimpleNamespace(start=start, CONSOLE="console.log"))
    return recorded


def record(name: str, number: int, kind: str, *, on: bool) -> None:
    process = Process.of(os.getpid()) if on else None
    Node(name=name, kind=kind, image="bare-1", number=number, process=process, ready=on).save()


def test_machines_that_boot_again_learn_the_names_again(lab: list[tuple[str, str]]) -> None:
    record("one", 11, "machine", on=True)
    record("two", 12, "machine", on=False)
    nodes.boot(["two"])
    assert sorted(lab) == [("one", "one two"), ("two", "one two")]
    assert state.require("two").ready


def test_a_container_that_boots_again_was_given_the_names_with_its_files(lab: list[tuple[str, str]]) -> None:
    record("one", 11, "container", on=True)
    record("two", 12, "container", on=False)
    nodes.boot(["two"])
    assert lab == [("one", "one two")]


def test_a_node_that_is_on_is_left_alone_but_for_the_names(lab: list[tuple[str, str]]) -> None:
    record("one", 11, "machine", on=True)
    before = state.require("one")
    nodes.boot(["one"])
    assert state.require("one") == before
    assert lab == [("one", "one")]


def test_a_node_that_never_was_cannot_boot() -> None:
    with pytest.raises(LabError, match="there is no node three"):
        nodes.boot(["three"])
