# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac doctor``: checks every step of the worker node's set-up, on the node itself.

``--json``: ``{"host": NAME, "good": bool, "checks": [{"step", "check", "ok", "findings": [{"what",
"remedy"}], "notes": [{"what", "remedy"}]}]}``. A note is not a fault. Exit 0 if all is well, 1
with a finding, 2 for bad usage. Changes nothing. Text of other programs is printed as printable characters on one
line.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from typing import Any

from condor_vac.base import table as tables
from condor_vac.base.errors import UsageError
from condor_vac.base.shared import one_line
from condor_vac.worker.checks.node import Check, Node
from condor_vac.worker.checks.table import CHECKS
from condor_vac.worker.settings import NOT_A_WORKER_NODE

_SHOWN = 500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``condor_vac doctor``."""
    steps = sorted({check.step for check in CHECKS})
    parser.add_argument("--step", action="append", choices=steps, metavar="STEP", help=f"only {', '.join(steps)}")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    """Look, print, and return 1 if there is a finding. Raises UsageError."""
    node = Node()
    if not node.is_worker:
        raise UsageError(NOT_A_WORKER_NODE)
    if os.geteuid() != 0:
        raise UsageError("needs root to read libvirt, sudo and HTCondor's files; run it as root")
    report = examine(node, [check for check in CHECKS if not args.step or check.step in args.step])
    if args.json:
        json.dump(report, sys.stdout, indent=1)
        print()
    else:
        print("\n".join(table(report)))
    return 0 if report["good"] else 1


def examine(node: Node, checks: list[Check]) -> dict[str, Any]:
    """The report on a node: what each check found, in the checks' order."""
    entries = []
    for check in checks:
        texts: dict[bool, list[dict[str, str]]] = {False: [], True: []}
        for item in check.findings(node):
            texts[item.note].append({"what": one_line(item.what, _SHOWN), "remedy": one_line(item.remedy, _SHOWN)})
        findings, notes = texts[False], texts[True]
        entry = {"step": check.step, "check": check.name, "ok": not findings, "findings": findings, "notes": notes}
        entries.append(entry)
    good = all(entry["ok"] for entry in entries)
    return {"host": socket.gethostname(), "good": good, "checks": entries}


def table(report: dict[str, Any]) -> list[str]:
    """The report as lines of text; what is wrong under the check, what to do about it after an arrow."""
    rows = [("STEP", "CHECK", "RESULT")]
    for entry in report["checks"]:
        texts = [f"{item['what']} -> {item['remedy']}" for item in entry["findings"]] or ["ok"]
        texts += [f"note: {item['what']}" for item in entry["notes"]]
        rows.append((entry["step"], entry["check"], texts[0]))
        rows += [("", "", text) for text in texts[1:]]
    wrong = sum(1 for entry in report["checks"] if not entry["ok"])
    return [
        *tables.wrapped(rows, tables.terminal()),
        "",
        f"{report['host']}: {len(report['checks'])} checks, {wrong} with a finding",
    ]
