# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac doctor``: checks every step of the worker node's set-up, on the node itself; on an access point, whether
the pool divides its nodes by the shares, and whether its tokens and certificates last.

``--json``: ``{"host": NAME, "good": bool, "checks": [{"step", "check", "ok", "findings": [{"what",
"remedy", "later"}], "notes": [{"what", "remedy", "later"}]}]}``. A note is not a fault; ``later`` is true of what will
be wrong unless something is done, such as a token that expires in 30 days. Exit 0 if all is well, 1 with a finding, 2
for bad usage; with ``--nagios`` 0 OK, 1 WARNING (``later``), 2 CRITICAL, 3 UNKNOWN. Changes nothing; a worker node
remembers how many checks had findings, for its startd's ad. Text of other programs is printed as printable
characters on one line.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from typing import Any

from condor_vac import RUN_DIRECTORY
from condor_vac.base import table as tables
from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.shared import one_line
from condor_vac.cli import metrics, nagios
from condor_vac.cli.metric_families import Metrics
from condor_vac.worker.checks import remembered
from condor_vac.worker.checks.node import ALL_SECONDS, CHECK_SECONDS, LEAST_SECONDS, Check, Node
from condor_vac.worker.checks.table import ACCESS_POINT, CHECKS
from condor_vac.worker.settings import NOT_A_WORKER_NODE

_SHOWN = 500
METRICS_NAME = "condor_vac_doctor.prom"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``condor_vac doctor``."""
    steps = sorted({check.step for check in (*CHECKS, *ACCESS_POINT)})
    parser.add_argument("--step", action="append", choices=steps, metavar="STEP", help=f"only {', '.join(steps)}")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print the report as JSON")
    output.add_argument("--nagios", action="store_true", help="print one line for Nagios, with its exit codes")
    metrics.add_textfile(output, METRICS_NAME)


def run(args: argparse.Namespace) -> int:
    """Look, print, and return 1 if there is a finding; Nagios' exit code for Nagios. Raises VacError."""
    node = Node()
    try:
        checks = _checks(node, args.step)
    except UsageError as error:
        if not args.nagios:
            raise
        print(nagios.status(nagios.UNKNOWN, str(error)))
        return nagios.UNKNOWN
    report = examine(node, checks)
    if node.is_worker and not args.step:
        _remember(node, report)
    if args.nagios:
        print(nagios.line(report))
        return nagios.state(report)
    if args.textfile is not None:
        # Findings are what it was asked to write: a unit that fails for them would show nothing more.
        metrics.write(args.textfile, METRICS_NAME, measured(report, time.time()))
        return 0
    if args.json:
        json.dump(report, sys.stdout, indent=1)
        print()
    else:
        print("\n".join(table(report)))
    return 0 if report["good"] else 1


def _remember(node: Node, report: dict[str, Any]) -> None:
    """For the startd's ad; where that is impossible, the report is printed all the same."""
    try:
        remembered.leave(node.path(RUN_DIRECTORY), len(with_findings(report)))
    except VacError as error:
        print(f"condor_vac doctor: the number of findings is not in the startd's ad: {error}", file=sys.stderr)


def _checks(node: Node, steps: list[str] | None) -> list[Check]:
    """This machine's checks, each once. Raises UsageError where nothing can be checked."""
    known = dict.fromkeys([*(CHECKS if node.is_worker else ()), *(ACCESS_POINT if node.is_access_point else ())])
    if not known:
        raise UsageError(NOT_A_WORKER_NODE)
    if os.geteuid() != 0:
        raise UsageError("needs root to read libvirt, sudo and HTCondor's files; run it as root")
    return [check for check in known if not steps or check.step in steps]


def measured(report: dict[str, Any], now: float) -> Metrics:
    """The report's figures."""
    made = Metrics()
    for entry in report["checks"]:
        made.add("condor_vac_doctor_findings", len(entry["findings"]), step=entry["step"], check=entry["check"])
    made.add("condor_vac_doctor_last_run_timestamp_seconds", now)
    return made


def examine(node: Node, checks: list[Check]) -> dict[str, Any]:
    """The report on a node: what each check found, in the checks' order."""
    entries = []
    started = time.monotonic()
    for check in checks:
        left = ALL_SECONDS - (time.monotonic() - started)
        texts: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
        for item in check.findings_within(node, max(min(CHECK_SECONDS, left), LEAST_SECONDS)):
            what, remedy = one_line(item.what, _SHOWN), one_line(item.remedy, _SHOWN)
            texts[item.note].append({"what": what, "remedy": remedy, "later": item.later})
        findings, notes = texts[False], texts[True]
        entry = {"step": check.step, "check": check.name, "ok": not findings, "findings": findings, "notes": notes}
        entries.append(entry)
    good = all(entry["ok"] for entry in entries)
    return {"host": socket.gethostname(), "good": good, "checks": entries}


def with_findings(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The report's checks that found something."""
    return [entry for entry in report["checks"] if not entry["ok"]]


def table(report: dict[str, Any]) -> list[str]:
    """The report as lines of text; what is wrong under the check, what to do about it after an arrow."""
    rows = [("STEP", "CHECK", "RESULT")]
    for entry in report["checks"]:
        texts = [f"{item['what']} -> {item['remedy']}" for item in entry["findings"]] or ["ok"]
        texts += [f"note: {item['what']}" for item in entry["notes"]]
        rows.append((entry["step"], entry["check"], texts[0]))
        rows += [("", "", text) for text in texts[1:]]
    return [
        *tables.wrapped(rows, tables.terminal()),
        "",
        f"{report['host']}: {len(report['checks'])} checks, {len(with_findings(report))} with a finding",
    ]
