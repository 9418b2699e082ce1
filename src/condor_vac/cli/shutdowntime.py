# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac shutdowntime``: plan a shutdown of this worker node and announce it; show it; cancel it."""

from __future__ import annotations

import argparse
import json
import re
import time

from condor_vac.worker import settings, shutdown_plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``condor_vac shutdowntime``."""
    parser.add_argument("--json", action="store_true", help="print the planned time as JSON")
    verbs = parser.add_subparsers(dest="verb", title="actions", metavar="show|set|cancel", required=True)
    verbs.add_parser("show", help="print the planned shutdown, if there is one")
    setter = verbs.add_parser("set", help="plan a shutdown; vac_watch announces it to the VMs and the pool within 30 s")
    setter.add_argument("time", metavar="TIME", type=_moment, help="Unix time, or +SECONDS from now")
    verbs.add_parser("cancel", help="cancel the planned shutdown")


def run(args: argparse.Namespace) -> int:
    """``condor_vac shutdowntime``; ``show`` exits 1 when none is planned. Raises UsageError, VacError."""
    settings.require()
    if args.verb == "set":
        shutdown_plan.plan(args.time)
    elif args.verb == "cancel":
        shutdown_plan.cancel()
    when = shutdown_plan.planned()
    if args.json:
        print(json.dumps({"shutdowntime": when}))
    elif when is None:
        print("no shutdown is planned")
    else:
        print(f"shutdown planned at {time.strftime('%Y-%m-%d %H:%M:%S %z', time.localtime(when))} ({when})")
    return 1 if args.verb == "show" and when is None else 0


def _moment(word: str) -> int:
    if not re.fullmatch(r"\+?[0-9]{1,12}", word):
        raise argparse.ArgumentTypeError(f"{word!r} is neither a Unix time nor +SECONDS")
    moment = int(time.time()) + int(word) if word.startswith("+") else int(word)
    if moment < time.time() - 60:
        raise argparse.ArgumentTypeError(f"{word} is in the past; for SECONDS from now write +{word}")
    return moment
