# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's verbs that need the Python environment of the tests (PyYAML)."""

from __future__ import annotations

import argparse
import json
import os
import sys

from . import emulator, images, inventory, machines, ssh, state


def run(arguments: argparse.Namespace) -> None:
    """Do what the command line asks, then write the inventory anew. Raises LabError."""
    VERBS[arguments.verb](arguments)
    inventory.write()


def _up(arguments: argparse.Namespace) -> None:
    machines.up(arguments.names, arguments.image, arguments.memory, arguments.internet, arguments.resume)


def _offline(arguments: argparse.Namespace) -> None:
    machines.offline(arguments.names)


def _ssh(arguments: argparse.Namespace) -> None:
    command = ssh.command(state.require(arguments.name), *arguments.words)
    os.execvp(command[0], command)  # noqa: S606 - this process becomes the login


def _down(arguments: argparse.Namespace) -> None:
    for name in machines.down(arguments.names):
        print(f"{name} is down")


def _status(arguments: argparse.Namespace) -> None:
    text = json.dumps(inventory.status(), indent=1) + "\n" if arguments.json else inventory.status_table()
    sys.stdout.write(text)


def _image(arguments: argparse.Namespace) -> None:
    print(images.build(arguments.kind).directory)


def _prune(arguments: argparse.Namespace) -> None:
    in_use = [emulator.name(), *(machine.image for machine in state.load_all())]
    for name in images.prune(in_use):
        print(name)


def _inventory(arguments: argparse.Namespace) -> None:
    sys.stdout.write(inventory.write())


VERBS = {
    "up": _up,
    "offline": _offline,
    "ssh": _ssh,
    "down": _down,
    "status": _status,
    "image": _image,
    "prune": _prune,
    "inventory": _inventory,
}
