# SPDX-License-Identifier: GPL-3.0-or-later
"""Write DIR/index.html: each machinetype with its decision, the VMs of the last day as a picture, their ends, hosts.

It is read from what the factories leave in their directories: the schedd is not asked, so that figures are those of
each factory's last cycle. The page needs no server, no script and no other file. It is replaced by one rename.

--json: {"time": Unix s, "page": path, "machinetypes": {NAME: {idle, running, works, held, ended, last,
max_machines, problems} as condor_vac status has them, and avoid_hosts: {HOST: until (Unix s) or null},
ends: [{code, kind, number}] and hosts: {HOST: {running, ended, failed}} of the last day}}

Exit code: 0 the page is written, whatever is on it, 1 it cannot be, 2 bad usage.
"""

from __future__ import annotations

import argparse
import json
import os
import socket

from condor_vac.base import atomic
from condor_vac.base.errors import UsageError
from condor_vac.cli import survey
from condor_vac.factory import day
from condor_vac.page import content, render
from condor_vac.page.content import Part

NAME = "index.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``condor_vac page``."""
    survey.add_arguments(parser, __doc__, queue=False)
    parser.add_argument("directory", metavar="DIR", help="an existing directory, for example of a web server")


def run(args: argparse.Namespace) -> int:
    """Write the page. Raises UsageError, and VacError where it cannot be written."""
    if not os.path.isdir(args.directory):
        raise UsageError(f"{args.directory}: not a directory; create it first")
    now = survey.now()
    parts = [_part(left, now) for left in survey.without_queue(args)]
    shown = [part for part in parts if part is not None]
    path = os.path.join(args.directory, NAME)
    atomic.write(path, render.page(shown, socket.gethostname(), now))
    if args.json:
        report = {part.name: content.report(part) for part in shown}
        print(json.dumps({"time": now, "page": os.path.abspath(path), "machinetypes": report}, indent=1))
    return 0


def _part(left: survey.Left, now: float) -> Part | None:
    """The machinetype's part; None for one that is gone, and of which the last day shows nothing."""
    view, seen = left.view, day.read(left.directory, now)
    if not left.deployed and not seen.ends and now - (seen.time or 0.0) > day.DAY_SECONDS:
        return None
    problems = [*view.problems, *survey.delays(view, now), *content.failures(seen.ends, now)]
    most = view.machinetype.max_machines if view.machinetype else None
    return content.part(view.name, most, view.state, seen, problems)
