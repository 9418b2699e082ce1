# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac machinetype``: check machinetype files; show all keys, or the submit description of the VMs' jobs."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence

from condor_vac.base import atomic, fields, urls
from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.shared import submit_text
from condor_vac.factory import submit_description
from condor_vac.model import machinetype, user_data
from condor_vac.model.machinetype import Machinetype
from condor_vac.model.machinetype_keys import CHECKS, MANDATORY


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``condor_vac machinetype``."""
    parser.add_argument("files", nargs="+", metavar="MACHINETYPE.json", help="machinetype files to check")
    parser.add_argument("--json", action="store_true", help="print every key, with defaults filled in")
    parser.add_argument("--faults", action="store_true", help="print every fault as JSON, a list for each file")
    parser.add_argument("--submit", action="store_true", help="print the submit description of its VMs' jobs (or JSON)")


def run(args: argparse.Namespace) -> int:
    """Check the files; raises UsageError at the first that is wrong, so that the command exits 2.

    With ``--faults`` it shows all of them and exits 0.
    """
    if args.faults:
        print(json.dumps({path: faults(path) for path in args.files}, indent=1))
        return 0
    checked = [_checked(machinetype.load(path), path) for path in args.files]
    if args.submit:
        _print_submit(checked, args.json)
    elif args.json:
        print(json.dumps([m.to_mapping() for m in checked], indent=1, sort_keys=True))
    else:
        for path, m in zip(args.files, checked):
            print(f"{path}: machinetype {m.name} is good")
    return 0


def faults(path: str) -> list[str]:
    """What is wrong with a machinetype file, a line each (key, remedy): of all keys, or of all of them together."""
    try:
        data = fields.load_object(path)
        found = fields.judge(data, CHECKS, MANDATORY)[1]
        if not found:
            submit_description.describe(_checked(Machinetype.from_mapping(data, path), path))
    except UsageError as error:
        return [str(error).removeprefix(f"{path}: ").removeprefix("machinetype: ")]
    return found


def _checked(found: Machinetype, path: str) -> Machinetype:
    """The machinetype of a file, with a template that is not empty, if it is here already. Raises UsageError."""
    if not urls.is_url(found.user_data) and os.path.isfile(found.user_data):
        try:
            user_data.check_template(atomic.read(found.user_data, user_data.TEMPLATE_LIMIT))
        except VacError as error:
            raise UsageError(f"{path}: user_data: {error}") from error
    return found


def _print_submit(checked: Sequence[Machinetype], as_json: bool) -> None:
    described = {m.name: submit_description.describe(m) for m in checked}
    if as_json:
        print(json.dumps(described, indent=1))
        return
    for commands in described.values():
        print(submit_text(commands), end="")
