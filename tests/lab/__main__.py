# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's command line: python -m tests.lab VERB. The environment's VAC_LAB names the lab, LAB the kind of node."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from types import FrameType

from . import host
from .paths import LabError

NODE_KINDS = ("bare", "prepared", "sid")
IMAGE_KINDS = (*NODE_KINDS, "cloud")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="python -m tests.lab", description="Nodes for tests and the demo: containers, or machines."
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    up = verbs.add_parser("up", help="have nodes on (those that are on are left alone)")
    up.add_argument("names", nargs="+", metavar="NAME")
    up.add_argument("--image", choices=NODE_KINDS, default="prepared")
    up.add_argument("--layer", help="start from what `save` kept")
    up.add_argument("--memory", type=int, default=4096, metavar="MB", help="of a machine; default %(default)s")
    up.add_argument("--internet", action="store_true", help="machines with a way out, until `offline`")

    for name, what in (
        ("boot", "turn nodes on again that are off, with the files that they have"),
        ("cut", "cut the power of nodes"),
    ):
        verbs.add_parser(name, help=what).add_argument("names", nargs="+", metavar="NAME")

    save = verbs.add_parser("save", help="shut a container down and keep what it has become as a layer")
    save.add_argument("name", metavar="NAME")
    save.add_argument("layer", metavar="LAYER")

    offline = verbs.add_parser("offline", help="cut the way out of machines started with --internet")
    offline.add_argument("names", nargs="+", metavar="NAME")

    ssh = verbs.add_parser("ssh", help="log in as root, or run a command")
    ssh.add_argument("name", metavar="NAME")
    ssh.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")

    down = verbs.add_parser("down", help="stop nodes (default: all of this lab) and remove their files")
    down.add_argument("names", nargs="*", metavar="NAME")
    down.add_argument("--everywhere", action="store_true", help="all nodes of all labs")

    status = verbs.add_parser("status", help="what runs")
    status.add_argument("--json", action="store_true")

    image = verbs.add_parser("image", help="build an image unless it is in the cache; print its directory")
    image.add_argument("kind", choices=IMAGE_KINDS)

    verbs.add_parser("inventory", help="write the lab's inventory.yml for Ansible, and print it")
    verbs.add_parser("kind", help="print which kind of node this host can have: container or machine")
    verbs.add_parser("prune", help="remove images that are out of date")
    verbs.add_parser("requirements", help="print the Debian packages that the host needs")
    verbs.add_parser("check", help="print what the host lacks; exit 1 if anything")
    return top


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks."""
    if arguments.verb == "requirements":
        print("\n".join(host.requirements()))
    elif arguments.verb == "check":
        host.check()
    else:
        # Only from here on is PyYAML needed: the two verbs above run before there is a venv.
        importlib.import_module(f"{__package__}.verbs").run(arguments)
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run the command line; 0 good, 1 failed, 2 wrong usage, 130 interrupted."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return run(parser().parse_args())
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
