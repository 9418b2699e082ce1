# SPDX-License-Identifier: GPL-3.0-or-later
"""``vac_factory MACHINETYPE.json`` and ``condor_vac factory``: run the factory of one machinetype."""

from __future__ import annotations

import argparse
import json
import sys

from condor_vac.base import urls
from condor_vac.base.errors import VacError
from condor_vac.factory import process


def main() -> int:
    """The entry of /usr/local/libexec/vac_factory."""
    parser = argparse.ArgumentParser(prog="vac_factory", description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    try:
        return run(parser.parse_args())
    except VacError as error:
        # What a job prints is in a file that every user of the machine can read.
        print(f"vac_factory: {urls.without_queries(str(error))}", file=sys.stderr)
        return 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``condor_vac factory``."""
    parser.add_argument("machinetype", metavar="MACHINETYPE.json", help="the machinetype's file")
    parser.add_argument("--state", metavar="DIR", help="state directory (default /var/lib/condor_vac/NAME)")
    parser.add_argument("--once", action="store_true", help="one cycle, then end")
    parser.add_argument("--dry-run", action="store_true", help="print what one cycle would do; do nothing")
    parser.add_argument("--bindings", choices=("htcondor2", "htcondor"), help="which Python bindings to use")


def run(args: argparse.Namespace) -> int:
    """``condor_vac factory``. Raises VacError."""
    if args.dry_run:
        print(json.dumps(process.plan(args.machinetype, args.state, args.bindings), indent=1))
        return 0
    return process.run(args.machinetype, args.state, once=args.once, bindings=args.bindings)
