# SPDX-License-Identifier: GPL-3.0-or-later
"""A node as a machine that QEMU runs, emulated where the host does not virtualise."""

from __future__ import annotations

import subprocess

from . import emulator, host, images, network, qemu, state
from .paths import as_root
from .progress import tail
from .state import Node, Process


def start(node: Node, public_key: str, addresses: dict[str, str]) -> Process:
    """Boot the machine, with a new disk if it has none; returns its QEMU. Raises LabError.

    It gets the nodes' names by SSH, once it is up.
    """
    image = images.Image(node.image)
    if not (node.directory / qemu.DISK).exists():
        qemu.create_disk(node, image)
    acceleration = host.acceleration()
    program = emulator.command(acceleration)
    command = qemu.command_line(program, node, image, acceleration, public_key, state.segment_port())
    return qemu.start(command, node.directory)


def cut(node: Node) -> None:
    """Cut the power: QEMU is gone; what the machine had written to its disk stays."""
    if node.process is not None and node.process.alive():
        node.process.kill()


def discard(node: Node) -> None:
    """Have nothing left of the machine."""
    cut(node)
    subprocess.run(as_root("rm", "-rf", "--one-file-system", str(node.directory)), check=True)


def offline(node: Node) -> None:
    """Pull the plug of the machine's way out."""
    qemu.command(node.directory, "set_link", name=network.INTERNET_LINK, up=False)


def evidence(node: Node) -> str:
    """The end of the output of the machine and its QEMU."""
    lines = tail(node.directory / "console.log", 20) + tail(node.directory / "qemu.log", 5)
    return "\n".join(f"  | {line}" for line in lines)
