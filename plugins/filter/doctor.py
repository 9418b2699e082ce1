# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters from what ``condor_vac doctor`` printed on each node to one report, and to a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import one_line
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import table

COLUMNS = ("NODE", "STEP", "CHECK", "RESULT")
# A worker of Ansible has no terminal of which it could ask the width.
WIDTH = 118


def doctor_report(results: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Host → the doctor's report, of each host's registered result.

    A host that was not reached, or on which the doctor does not run, has a report with that one finding.
    """
    return {host: _report(host, result) for host, result in sorted(results.items())}


def doctor_table(report: Mapping[str, Mapping[str, Any]], *, everything: bool = True) -> list[str]:
    """The report as lines of text. Without *everything*, what is well is one line for each node, and its notes."""
    rows = [COLUMNS]
    for host, node in report.items():
        rows += _rows(host, node, everything)
    wrong = sum(1 for node in report.values() if not node["good"])
    return [*table.wrapped(rows, WIDTH), f"{len(report)} nodes, {wrong} with a finding"]


def _report(host: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """What the doctor printed, if it is a report; else why it is none."""
    if result.get("unreachable"):
        return _none(host, f"not reached: {result.get('msg', '')}", "check that it is up and reachable by SSH")
    try:
        found: dict[str, Any] = json.loads(result.get("stdout") or "")
        checks = [
            {
                "step": one_line(str(check["step"])),
                "check": one_line(str(check["check"])),
                "ok": not check["findings"],
                "findings": _texts(check["findings"]),
                # A doctor of an earlier version has none.
                "notes": _texts(check.get("notes", [])),
            }
            for check in found["checks"]
        ]
    except (ValueError, TypeError, KeyError):
        words = result.get("stderr") or result.get("msg") or result.get("stdout") or "no output"
        return _none(host, f"condor_vac doctor does not run: {words}", "run the site playbook for this node")
    return {"host": host, "good": all(check["ok"] for check in checks), "checks": checks}


def _none(host: str, what: str, remedy: str) -> dict[str, Any]:
    finding = {"what": one_line(what), "remedy": remedy}
    check = {"step": "node", "check": "doctor", "ok": False, "findings": [finding], "notes": []}
    return {"host": host, "good": False, "checks": [check]}


def _texts(items: Any) -> list[dict[str, str]]:
    return [{key: one_line(str(item[key])) for key in ("what", "remedy")} for item in items]


def _rows(host: str, node: Mapping[str, Any], everything: bool) -> list[tuple[str, str, str, str]]:
    rows = []
    for check in node["checks"]:
        texts = [f"{item['what']} -> {item['remedy']}" for item in check["findings"]]
        if everything and not texts:
            texts = ["ok"]
        texts += [f"note: {item['what']}" for item in check["notes"]]
        rows += [(host, check["step"], check["check"], text) for text in texts]
    well = sum(1 for check in node["checks"] if check["ok"])
    if not everything and well:
        rows.append((host, "", f"{well} {'others' if rows else 'checks'}", "ok"))
    return rows


class FilterModule:
    """Ansible's entry point to the filters."""

    def filters(self) -> dict[str, Any]:
        """Name → function of each filter."""
        return {"doctor_report": doctor_report, "doctor_table": doctor_table}
