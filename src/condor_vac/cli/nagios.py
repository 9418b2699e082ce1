# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor's report as Nagios and Icinga read it: one line, performance data after the bar, four exit codes.

Form: https://nagios-plugins.org/doc/guidelines.html, "Plugin Output for Nagios" and "Performance data".
"""

from __future__ import annotations

from typing import Any

from condor_vac.base.shared import one_line
from condor_vac.policy.words import count

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
_WORDS = {OK: "OK", WARNING: "WARNING", CRITICAL: "CRITICAL", UNKNOWN: "UNKNOWN"}
# Findings that the line names, and its length: Nagios' readers and mails are for one line.
_NAMED = 3
_TEXT_LIMIT = 400


def state(report: dict[str, Any]) -> int:
    """WARNING where all findings are of what will be wrong later."""
    found = [item for entry in report["checks"] for item in entry["findings"]]
    if not found:
        return OK
    return WARNING if all(item["later"] for item in found) else CRITICAL


def line(report: dict[str, Any]) -> str:
    """The line of a report."""
    wrong = [
        (item["later"], f"{entry['check']}: {item['what']}") for entry in report["checks"] for item in entry["findings"]
    ]
    later = sum(1 for is_later, _text in wrong if is_later)
    # The worst first.
    named = [text for _later, text in sorted(wrong, key=lambda each: each[0])[:_NAMED]]
    more = [f"and {len(wrong) - _NAMED} more"] if len(wrong) > _NAMED else []
    what = "; ".join([*named, *more]) or f"{count(len(report['checks']), 'check')} without a finding"
    # Label, value, warning, critical, least.
    figures = f"findings={len(wrong) - later};;0;0 warnings={later};0;;0 checks={len(report['checks'])};;;0"
    return f"{status(state(report), what)} | {figures}"


def status(code: int, text: str) -> str:
    """The part before the bar; a text with a bar would begin the performance data."""
    return f"CONDOR_VAC {_WORDS[code]} - {one_line(text.replace('|', '/'), _TEXT_LIMIT)}"
