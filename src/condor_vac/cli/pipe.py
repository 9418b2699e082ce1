# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac pipe``: the machinetypes that a vacuum pipe gives this site."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from condor_vac.base import fields, http_proxy_file
from condor_vac.base.errors import UsageError
from condor_vac.base.shared import one_line
from condor_vac.policy.words import count
from condor_vac.vac import pipe as pipes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``condor_vac pipe``."""
    parser.add_argument("source", metavar="URL-or-FILE", help="the pipe")
    parser.add_argument("--prefix", default="pipe", help="what the machinetypes' names begin with (%(default)s)")
    parser.add_argument("--local", metavar="FILE", help="the site's settings for these machinetypes, a JSON object")
    parser.add_argument(
        "--machinetypes", metavar="FILE", help="the site's settings for single machinetypes, a JSON object by name"
    )
    parser.add_argument("--cache", metavar="FILE", help="keep a copy here, and use it while it is fresh")
    parser.add_argument(
        "--last-good-seconds",
        type=int,
        default=pipes.KEEP_SECONDS,
        metavar="S",
        help="how old the copy may be that serves while the server does not answer (%(default)s)",
    )
    parser.add_argument("--http-proxy", metavar="FILE", help=http_proxy_file.OPTION_HELP)
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Show what machinetypes the pipe gives this site; exit code 1 if one is left out. Raises VacError."""
    local, machinetypes = _object(args.local), _object(args.machinetypes)
    for name, keys in machinetypes.items():
        if not isinstance(keys, Mapping):
            raise UsageError(f"{args.machinetypes}: {name}: must be a JSON object of settings; correct the file")
    proxy = http_proxy_file.load(args.http_proxy)
    pipe = pipes.read(
        args.source, args.prefix, local, args.cache, args.last_good_seconds, machinetypes=machinetypes, proxy=proxy
    )
    if args.json:
        print(json.dumps(asdict(pipe), indent=1, sort_keys=True))
    else:
        print("\n".join(_lines(pipe)))
    return 1 if pipe.left_out else 0


def _object(path: str | None) -> Mapping[str, Any]:
    """The JSON object in the file, empty without one. Raises UsageError."""
    found = fields.load_object(path) if path else {}
    if not isinstance(found, Mapping):
        raise UsageError(f"{path}: must hold one JSON object; correct the file")
    return found


def _lines(pipe: pipes.Pipe) -> list[str]:
    lines = []
    for name, keys in pipe.machinetypes.items():
        lines += [f"{name}:", *(f"  {key}: {json.dumps(value)}" for key, value in keys.items())]
    lines += [f"note: {sentence}" for sentence in pipe.notes]
    if pipe.problem is not None:
        lines.append(f"note: showing a copy of {pipe.age:.0f} s ago: {one_line(pipe.problem, pipes.SENTENCE_LIMIT)}")
    left_out = f", {len(pipe.left_out)} left out" if pipe.left_out else ""
    offered = count(len(pipe.machinetypes), "machinetype")
    return [*lines, f"{offered}{left_out}; to be read again after {pipe.cache_seconds} s"]
