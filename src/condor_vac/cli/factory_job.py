# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac factory-job``: the submit description of a factory's own job."""

from __future__ import annotations

import argparse
import json

from condor_vac.base.shared import submit_text
from condor_vac.factory import scheduler_job
from condor_vac.model import machinetype


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``condor_vac factory-job``."""
    parser.add_argument("machinetype", metavar="MACHINETYPE.json", help="the machinetype's file")
    parser.add_argument("--json", action="store_true", help="name, owner and commands instead of submit text")


def run(args: argparse.Namespace) -> int:
    """Print the submit description of the factory's job, as ``condor_submit`` reads it. Raises UsageError."""
    commands = scheduler_job.describe(args.machinetype)
    if args.json:
        m = machinetype.load(args.machinetype)
        print(json.dumps({"name": m.name, "owner": m.owner, "commands": commands}, indent=1))
    else:
        print(submit_text(commands), end="")
    return 0
