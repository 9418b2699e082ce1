# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's verbs that need the Python environment of the tests (PyYAML)."""

from __future__ import annotations

import argparse
import json
import os
import sys

from . import emulator, images, inventory, nodes, ssh, state


def run(arguments: argparse.Namespace) -> None:
    """Do what the command line asks, then write the inventory anew. Raises LabError."""
    VERBS[arguments.verb](arguments)
    ssh.write_config()
    inventory.write()


def _up(arguments: argparse.Namespace) -> None:
    nodes.up(arguments.names, arguments.image, arguments.memory, arguments.internet, arguments.layer)


def _boot(arguments: argparse.Namespace) -> None:
    nodes.boot(arguments.names)


def _cut(arguments: argparse.Namespace) -> None:
    nodes.cut(arguments.names)


def _save(arguments: argparse.Namespace) -> None:
    print(nodes.save(arguments.name, arguments.layer))


def _kind(arguments: argparse.Namespace) -> None:
    print(nodes.kind_of_host())


def _offline(arguments: argparse.Namespace) -> None:
    nodes.offline(arguments.names)


def _ssh(arguments: argparse.Namespace) -> None:
    command = ssh.command(state.require(arguments.name), *arguments.words)
    os.execvp(command[0], command)  # noqa: S606 - this process becomes the login


def _down(arguments: argparse.Namespace) -> None:
    if arguments.everywhere:
        nodes.down_everywhere()
        return
    for name in nodes.down(arguments.names):
        print(f"{name} is down")


def _status(arguments: argparse.Namespace) -> None:
    text = json.dumps(inventory.status(), indent=1) + "\n" if arguments.json else inventory.status_table()
    sys.stdout.write(text)


def _image(arguments: argparse.Namespace) -> None:
    print(images.build(arguments.kind).directory)


def _prune(arguments: argparse.Namespace) -> None:
    in_use = [emulator.name(), *(node.image for node in state.load_all())]
    for name in images.prune(in_use):
        print(name)


def _inventory(arguments: argparse.Namespace) -> None:
    sys.stdout.write(inventory.write())


VERBS = {
    "up": _up,
    "boot": _boot,
    "cut": _cut,
    "save": _save,
    "kind": _kind,
    "offline": _offline,
    "ssh": _ssh,
    "down": _down,
    "status": _status,
    "image": _image,
    "prune": _prune,
    "inventory": _inventory,
}
