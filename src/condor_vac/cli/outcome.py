# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac outcome``: how a shutdown message is read and acted on."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys

from condor_vac.base.errors import UsageError
from condor_vac.model import outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``condor_vac outcome``."""
    parser.add_argument("--runtime", type=_seconds, required=True, help="how long the VM lived, in seconds")
    parser.add_argument(
        "--fizzle",
        type=_seconds,
        default=outcome.DEFAULT_FIZZLE_SECONDS,
        help="fizzle_seconds of its machinetype (default %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print code, text, abort and kind as JSON")
    parser.add_argument("file", metavar="FILE", help="the shutdown_message; a missing file counts as no message")


def run(args: argparse.Namespace) -> int:
    """``condor_vac outcome``: print how the message is read; 0 for every message."""
    message = sys.stdin.buffer.read(outcome.READ_LIMIT) if args.file == "-" else _message_of(args.file)
    found = outcome.parse(message, args.runtime, args.fizzle)
    if args.json:
        print(json.dumps(found._asdict()))
    else:
        code = "none" if found.code is None else found.code
        action = "abort: the factory backs off" if found.abort else "no abort"
        print(f"code {code} ({found.kind}), {action}; text: {found.text or '(none)'}")
    return 0


def _message_of(file: str) -> bytes | None:
    directory, name = os.path.split(os.path.abspath(file))
    # The caller's own path may hold links; only what a guest can write to may not.
    directory = os.path.realpath(directory)
    if not os.path.isdir(directory):
        raise UsageError(f"{file}: no such directory; give the path of a VM's {outcome.MESSAGE_NAME}")
    message = outcome.read_message(directory, name)
    if message is None:
        print(f"{file}: not a regular file with one link; treated as no message", file=sys.stderr)
    return message


def _seconds(word: str) -> float:
    try:
        seconds = float(word)
    except ValueError:
        seconds = -1.0
    if not math.isfinite(seconds) or seconds < 0:
        raise argparse.ArgumentTypeError(f"{word!r} is not a number of seconds from 0 up")
    return seconds
