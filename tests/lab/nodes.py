# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of the lab's nodes: start, wait for SSH, name, cut the power, keep as a layer, stop."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import container, host, images, machine, network, ssh, state
from .paths import LabError, as_root, cache_dir, in_lab, lab_dir, locked, uninterrupted
from .progress import Progress, tail
from .space import Space, obstacle
from .state import Node

KINDS = ("container", "machine")
# A node that is silent for so long hangs; an emulated one on a busy host takes a tenth of it.
BOOT_SECONDS = 1200
OFF_SECONDS = 600


def kind_of_host() -> str:
    """The kind of node (LAB asks for one): a container wherever it can be, else a machine, with the reason printed.

    Raises LabError if the environment asks for what cannot be.
    """
    asked = os.environ.get("LAB", "")
    if asked not in {"", *KINDS}:
        raise LabError(f"LAB={asked}: give container or machine, or nothing")
    if asked == "machine":
        return "machine"
    reason = obstacle()
    if reason and asked:
        raise LabError(f"no container can run here: {reason}")
    if reason:
        Progress("").done(f"nodes are emulated machines, as no container can run here: {reason}")
    return "machine" if reason else "container"


def up(names: Sequence[str], image_kind: str, memory: int, internet: bool, layer: str | None = None) -> None:
    """Have these nodes on and reachable; those that already are stay as they are.

    If anything fails or the caller is interrupted, the nodes this call started are gone again.
    """
    for name in names:
        state.checked_name(name)
    host.check()
    absent = [name for name in dict.fromkeys(names) if not _is_up(name)]
    if not absent:
        return
    kind = "machine" if internet else kind_of_host()
    image = images.build(image_kind)
    created: list[str] = []
    try:
        for name in absent:
            created.append(name)
            _create(name, kind, image, memory, internet, layer)
        for name in created:
            _power_on(name)
        for name in created:
            _wait(name)
    except BaseException:
        _give_up(created)
        raise
    _tell_names(created)


def _give_up(names: Sequence[str]) -> None:
    """Remove nodes nobody wants any more; one that cannot be is named, and hides neither others nor the cause."""
    for name in names:
        try:
            _discard(name)
        except LabError as error:
            print(f"{name} is still there: {error}\nremove it: python -m tests.lab down", file=sys.stderr)


def boot(names: Sequence[str]) -> None:
    """Turn nodes that are off on again, with the files that they have.

    They get the nodes' names again: a power cut may have lost a file that was not yet on the disk.
    """
    booted = []
    for name in names:
        node = state.load(name)
        if node is None:
            raise LabError(f"there is no node {name}; start it: python -m tests.lab up {name}")
        if not node.running():
            _power_on(name)
            _wait(name)
            booted.append(name)
    _tell_names(booted)


def cut(names: Sequence[str]) -> None:
    """Cut the nodes' power: their processes are gone this moment, their files stay."""
    for name in names:
        node = state.require(name)
        _kind(node).cut(node)
        dataclasses.replace(node, process=None, ready=False).save()


def save(name: str, layer: str) -> Path:
    """Shut a container down and keep what it has become as a layer that others start from; it is gone then."""
    node = state.require(name)
    if node.kind != "container" or node.layer is not None:
        raise LabError(f"{name}: only a container that was started from an image can be kept as a layer")
    with Progress(f"{name} shuts down") as progress:
        # Not at once: the connection would be gone before its command has ended.
        ssh.run(node, "systemd-run --quiet --on-active=1 systemctl poweroff")
        deadline = time.monotonic() + OFF_SECONDS
        while node.running():
            if time.monotonic() > deadline:
                raise LabError(f"{name} does not shut down within {OFF_SECONDS} s\n" + container.evidence(node))
            progress.show(tail(node.directory / container.CONSOLE))
            time.sleep(0.1)
        place = layer_dir(layer, node.image)
        subprocess.run(as_root("rm", "-rf", "--one-file-system", str(place)), check=True)
        place.mkdir(parents=True)
        subprocess.run(as_root("mv", str(container.unmount(node)), str(place / "root")), check=True)
        shutil.copy(node.directory / state.RECORD, place)
        _discard(name)
        progress.done(f"{name} is kept as the layer {layer}")
    return place


def layer_dir(layer: str, image: str) -> Path:
    """Where a layer over that image is; labs share them."""
    return cache_dir() / "layers" / f"{state.checked_name(layer)}-{image}"


def _is_up(name: str) -> bool:
    node = state.load(name)
    return node is not None and node.ready and node.running()


def _create(name: str, kind: str, image: images.Image, memory: int, internet: bool, layer: str | None) -> None:
    """Record a new node, with a number of its own, in place of one that is off."""
    with locked("nodes", lab_dir()):
        if (old := state.load(name)) is not None:
            _kind(old).discard(old)
        others = state.load_all()
        number = old.number if old else network.free_number({other.number for other in others})
        node = Node(name=name, kind=kind, image=image.name, number=number)
        if kind == "container":
            container.check_image(image)
            node = _on_layer(node, layer) if layer else node
        elif layer:
            raise LabError(f"{name}: machines start from images only, not from the layer {layer}")
        else:
            port = _free_port({other.ssh_port for other in others})
            acceleration = host.acceleration().name
            node = dataclasses.replace(node, ssh_port=port, memory=memory, internet=internet, acceleration=acceleration)
        node.save()


def _on_layer(node: Node, layer: str) -> Node:
    """The node as it was when the layer was kept. Raises LabError if that was another one."""
    place = layer_dir(layer, node.image)
    try:
        kept = json.loads((place / state.RECORD).read_text("utf-8"))
    except FileNotFoundError:
        what = f"there is no layer {layer} over the image {node.image}"
        raise LabError(f"{what}: python -m tests.lab save {node.name} {layer}") from None
    if kept["name"] != node.name:
        raise LabError(f"the layer {layer} is of {kept['name']}, not of {node.name}")
    return dataclasses.replace(node, layer=str(place / "root"), number=kept["number"])


def _free_port(used: set[int | None]) -> int:
    while (port := network.free_port()) in used:
        pass
    return port


def _power_on(name: str) -> None:
    """Start a recorded node; the record has its process from then on."""
    if (node := state.load(name)) is None:
        raise LabError(f"there is no node {name}")
    if node.kind == "container":
        Space().begin()
    addresses = {other.name: other.address for other in state.load_all()}
    key = ssh.public_key()
    with uninterrupted():
        dataclasses.replace(node, process=_kind(node).start(node, key, addresses)).save()


def _wait(name: str) -> None:
    """Wait until the node takes an SSH login; raise LabError with its console if it does not."""
    if (node := state.load(name)) is None:
        raise LabError(f"{name} was taken down while it booted")
    ssh.write_config()
    with Progress(f"{node.name} boots ({node.acceleration or node.kind})") as progress:
        deadline = time.monotonic() + BOOT_SECONDS
        while not ssh.answers(node):
            if not node.running():
                raise LabError(f"{node.name} went off\n" + _kind(node).evidence(node))
            if time.monotonic() > deadline:
                raise LabError(f"{node.name}: no SSH within {BOOT_SECONDS} s\n" + _kind(node).evidence(node))
            progress.show(tail(node.directory / container.CONSOLE))
            time.sleep(0.2)
        if node.internet:
            ssh.run(node, f"echo nameserver {network.INTERNET_DNS} > /etc/resolv.conf")
        dataclasses.replace(node, ready=True).save()
        progress.done(f"{node.name} is up: {node.address}")


def _tell_names(created: Sequence[str]) -> None:
    """Write /etc/hosts of every node that is ready, but for containers that were created with it."""
    with locked("names", lab_dir()):
        ready = [node for node in state.load_all() if node.ready and node.running()]
        addresses = {node.name: node.address for node in ready}
        for node in ready:
            if node.name in created and node.kind == "container":
                continue
            text = network.hosts_file(node.name, addresses)
            # In place: a mount or an open editor on the node keeps seeing the same file.
            ssh.run(node, f"echo {node.name} > /etc/hostname; cat > /etc/hosts", stdin=text)


def offline(names: Sequence[str]) -> None:
    """Cut the machines' way out, for good; SSH and the segment stay."""
    for name in names:
        node = state.require(name)
        if node.internet:
            ssh.run(node, ": > /etc/resolv.conf")
            machine.offline(node)
            dataclasses.replace(node, internet=False).save()


def down(names: Sequence[str]) -> list[str]:
    """Stop these nodes, or all with the lab's namespaces, and remove their files; return their names."""
    if names:
        gone = [name for name in names if _discard(name)]
        _tell_names([])
        return gone
    Space().end()
    return [path.name for path in sorted(state.nodes_dir().glob("*")) if path.is_dir() and _discard(path.name)]


def down_everywhere() -> None:
    """Stop every lab of this checkout's cache, also those that others started."""
    for place in sorted((cache_dir() / "labs").glob("*")):
        with in_lab(place.name):
            down([])


def _discard(name: str) -> bool:
    with locked("nodes", lab_dir()):
        if (node := state.load(name)) is not None:
            _kind(node).discard(node)
        return node is not None


def _kind(node: Node) -> Any:
    """The module that has start, cut, discard and evidence of the node's kind."""
    return container if node.kind == "container" else machine
