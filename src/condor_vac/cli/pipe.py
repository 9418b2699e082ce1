# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac pipe``: the machinetypes that a vacuum pipe gives this site."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict

from condor_vac.base import fields
from condor_vac.base.errors import UsageError
from condor_vac.vac import pipe as pipes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``condor_vac pipe``."""
    parser.add_argument("source", metavar="URL-or-FILE", help="the pipe")
    parser.add_argument("--prefix", default="pipe", help="what the machinetypes' names begin with (%(default)s)")
    parser.add_argument("--local", metavar="FILE", help="the site's settings for these machinetypes, a JSON object")
    parser.add_argument("--cache", metavar="FILE", help="keep a copy here, and use it while it is fresh")
    parser.add_argument(
        "--last-good-seconds",
        type=int,
        default=pipes.KEEP_SECONDS,
        metavar="S",
        help="how old the copy may be that serves while the server does not answer (%(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Show what machinetypes the pipe gives this site. Raises VacError."""
    local = fields.load_object(args.local) if args.local else {}
    if not isinstance(local, Mapping):
        raise UsageError(f"{args.local}: must hold one JSON object; correct the file")
    pipe = pipes.read(args.source, args.prefix, local, args.cache, args.last_good_seconds)
    if args.json:
        print(json.dumps(asdict(pipe), indent=1, sort_keys=True))
        return 0
    for name, keys in pipe.machinetypes.items():
        print(f"{name}:")
        for key, value in keys.items():
            print(f"  {key}: {json.dumps(value)}")
    for note in pipe.notes:
        print(f"note: {note}")
    if pipe.problem is not None:
        print(f"note: showing a copy of {pipe.age:.0f} s ago: {pipe.problem}")
    print(f"{len(pipe.machinetypes)} machinetypes; to be read again after {pipe.cache_seconds} s")
    return 0
