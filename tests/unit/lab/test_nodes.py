# SPDX-License-Identifier: GPL-3.0-or-later
"""What nodes are started with, how they are reached and remembered; no node runs here."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import container, host, images, inventory, network, nodes, paths, space, ssh, state
from tests.lab.host import Acceleration
from tests.lab.paths import LabError
from tests.lab.state import Node, Process

ADDRESSES = {"head": "10.77.0.11", "node1": "10.77.0.12"}
CONTAINER = Node(name="head", kind="container", image="prepared-1", number=11)
MACHINE = Node(name="node1", kind="machine", image="prepared-1", number=12, ssh_port=2222, acceleration="tcg")


@pytest.fixture(autouse=True)
def own_lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A lab with a blank in its path, and a host without virtualisation."""
    monkeypatch.setenv("VAC_LAB_DIR", str(tmp_path / "a lab"))
    monkeypatch.setenv("VAC_LAB", "unit")
    monkeypatch.setattr(host, "acceleration", lambda: Acceleration("tcg", (), 1))


def save(*wanted: Node) -> None:
    """Record nodes as ones that are on: their process is this one."""
    for node in wanted:
        dataclasses.replace(node, process=Process.of(os.getpid()), ready=True).save()


def test_a_record_is_read_unchanged_and_knows_its_process() -> None:
    save(CONTAINER, MACHINE)
    assert [node.name for node in state.load_all()] == ["head", "node1"]
    found = state.require("node1")
    assert dataclasses.replace(found, process=None, ready=False) == MACHINE
    dataclasses.replace(found, process=Process(os.getpid(), "another start")).save()
    with pytest.raises(LabError, match="up node1"):
        state.require("node1")


@pytest.mark.parametrize("text", ["", "{", '{"name": "head"}', "[]"])
def test_a_damaged_record_is_named(text: str) -> None:
    save(CONTAINER)
    (CONTAINER.directory / state.RECORD).write_text(text)
    with pytest.raises(LabError, match="remove that directory"):
        state.load("head")


@pytest.mark.parametrize("name", ["", "..", "a/b", "Node", "-x", "localhost", "a" * 43, "a\n"])
def test_names_that_can_be_no_host_are_refused(name: str) -> None:
    with pytest.raises(LabError, match="node name"):
        state.checked_name(name)


@pytest.mark.parametrize("name", ["../x", "A", ".hidden", "x y", "a" * 50])
def test_names_that_can_be_no_lab_are_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("VAC_LAB", name)
    with pytest.raises(LabError, match="VAC_LAB"):
        paths.lab_dir()


def test_labs_share_images_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    first = (paths.lab_dir(), paths.lab_id(), images.images_dir())
    with paths.in_lab("other"):
        assert paths.lab_dir() != first[0]
        assert paths.lab_id() != first[1]
        assert images.images_dir() == first[2]
    assert (paths.lab_dir(), paths.lab_id()) == first[:2]


def test_a_containers_files_make_it_a_host_of_the_lab() -> None:
    files = container.files(CONTAINER, "ssh-ed25519 AAAA lab\n", ADDRESSES)
    assert files["/etc/hostname"] == "head\n"
    assert "10.77.0.12 node1.lab node1" in files["/etc/hosts"].splitlines()
    assert "Address=10.77.0.11/24" in files["/etc/systemd/network/05-lab-segment.network"]
    assert "Name=host0" in files["/etc/systemd/network/05-lab-segment.network"]
    other = container.files(dataclasses.replace(CONTAINER, name="node1", number=12), "", ADDRESSES)
    assert other["/etc/machine-id"] != files["/etc/machine-id"]


def test_a_container_gets_kvm_only_where_the_host_virtualises(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not [word for word in container.arguments(CONTAINER) if word.endswith(":/dev/kvm")]
    monkeypatch.setattr(host, "acceleration", lambda: Acceleration("kvm", (), 2))
    binds = [word for word in container.arguments(CONTAINER) if word.endswith(":/dev/kvm")]
    assert binds == [f"--bind={CONTAINER.directory}/kvm:/dev/kvm"], "a device of its own, not the host's"


def test_silence_and_255_are_explained_by_the_limit_of_the_host() -> None:
    CONTAINER.directory.mkdir(parents=True)
    console = CONTAINER.directory / container.CONSOLE
    console.write_text("systemd-nspawn ended with 255\n")
    assert "inotify" in container.evidence(CONTAINER)
    console.write_text("systemd-nspawn ended with 1\n")
    assert "inotify" not in container.evidence(CONTAINER)


def test_one_ssh_config_reaches_both_kinds() -> None:
    save(CONTAINER, MACHINE)
    ssh.write_config()

    def option(node: Node, name: str) -> str:
        command = ["ssh", "-G", *ssh.command(node)[1:]]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return next((line.partition(" ")[2] for line in shown.splitlines() if line.startswith(f"{name} ")), "")

    assert (option(MACHINE, "hostname"), option(MACHINE, "port")) == ("127.0.0.1", "2222")
    assert option(MACHINE, "proxycommand") in {"", "none"}
    words = shlex.split(option(CONTAINER, "proxycommand"))
    assert words[-1] == str(CONTAINER.directory / "export/ssh")
    assert Path(words[0]).samefile(sys.executable)
    assert option(CONTAINER, "proxyusefdpass") == "yes"
    assert option(CONTAINER, "user") == "root"


def test_ansible_reaches_nodes_by_names_that_no_other_lab_has() -> None:
    save(CONTAINER)
    mine = inventory.hosts()["head"]
    with paths.in_lab("other"):
        save(CONTAINER)
        theirs = inventory.hosts()["head"]
    assert mine["ansible_host"] != theirs["ansible_host"]
    assert shlex.split(mine["ansible_ssh_common_args"]) == ["-F", str(ssh.config_path())]
    assert (mine["lab_kind"], mine["lab_address"]) == ("container", "10.77.0.11")


@pytest.mark.parametrize(
    ("asked", "obstacle", "kind"),
    [("", "", "container"), ("", "no tun", "machine"), ("machine", "", "machine"), ("container", "", "container")],
)
def test_containers_wherever_they_can_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], asked: str, obstacle: str, kind: str
) -> None:
    monkeypatch.setenv("LAB", asked)
    monkeypatch.setattr(nodes, "obstacle", lambda: obstacle)
    assert nodes.kind_of_host() == kind
    assert (obstacle in capsys.readouterr().err) is True


@pytest.mark.parametrize(("asked", "message"), [("docker", "container or machine"), ("container", "no tun")])
def test_a_kind_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, asked: str, message: str) -> None:
    monkeypatch.setenv("LAB", asked)
    monkeypatch.setattr(nodes, "obstacle", lambda: "no tun")
    with pytest.raises(LabError, match=message):
        nodes.kind_of_host()


def test_what_is_missing_on_the_host_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    space.obstacle.cache_clear()
    monkeypatch.setattr(host, "find_program", lambda name: None if name == "systemd-nspawn" else f"/bin/{name}")
    try:
        assert "systemd-container" in space.obstacle()
    finally:
        space.obstacle.cache_clear()


def test_a_layer_is_of_one_node_and_one_image() -> None:
    place = nodes.layer_dir("box", CONTAINER.image)
    place.mkdir(parents=True)
    (place / state.RECORD).write_text(json.dumps(dataclasses.asdict(dataclasses.replace(CONTAINER, number=42))))
    found = nodes._on_layer(CONTAINER, "box")
    assert (found.number, found.layer) == (42, str(place / "root"))
    for other in (dataclasses.replace(CONTAINER, name="x"), dataclasses.replace(CONTAINER, image="prepared-2")):
        with pytest.raises(LabError, match="layer box"):
            nodes._on_layer(other, "box")


def test_numbers_are_addresses_of_the_segment() -> None:
    assert network.address(11) == "10.77.0.11"
    assert network.free_number({11, 12, 14}) == 13
    for number in (10, 251):
        with pytest.raises(ValueError, match="outside"):
            network.address(number)


def test_an_interrupt_after_the_last_step_of_a_write_is_an_interrupt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    replace = os.replace

    def interrupted(source: str, target: Path) -> None:
        replace(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        paths.write_atomically(tmp_path / "file", "whole")
    assert {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()} == {"file": "whole"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_waits_for_what_must_not_be_half_done(number: signal.Signals) -> None:
    before, done = signal.getsignal(number), []

    def work(interrupted: bool) -> None:
        with paths.uninterrupted():
            if interrupted:
                os.kill(os.getpid(), number)
            done.append(interrupted)

    with pytest.raises(KeyboardInterrupt):
        work(interrupted=True)
    assert signal.getsignal(number) == before
    work(interrupted=False)
    assert done == [True, False]
