# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo shows: the live table and the summary, as lines of text."""

from __future__ import annotations

import re
import textwrap
from typing import Any

WIDTH = 110
ROW = "{:>6}  {:<6} {:>5} {:>4} {:>4}  {:>4} {:>7} {:>5}  {:<13}  {}"
HEADER = ROW.format("time", "for", "tasks", "busy", "done", "idle", "running", "works", "ended", "the factory")


def counters(tasks: dict[str, Any]) -> tuple[int, int, int]:
    """(left, taken, done) of the experiment's queue."""
    return int(tasks["queued"]), int(tasks["taken"]), int(tasks["done"])


def row(seconds: float, name: str, seen: dict[str, Any]) -> str:
    """One machinetype's line of the live table; its factory's reasons at the end, wrapped under themselves."""
    factory = seen["factory"]
    left, busy, done = counters(seen["tasks"])
    last = factory.get("last") or {}
    ended = " ".join(f"{number}x{code}" for code, number in sorted((factory.get("ended") or {}).items())) or "-"
    reasons = "; ".join(last.get("reasons") or ["has not decided yet"])
    made = f"+{last['submit']} " if last.get("submit") else ""
    machines = (factory.get(state, 0) for state in ("idle", "running", "works"))
    line = ROW.format(f"{seconds:.0f}s", name, left, busy, done, *machines, ended, f"{made}{reasons}")
    return textwrap.fill(line, WIDTH, subsequent_indent=" " * 66)


def news(line: str) -> str:
    """What of a line of the table is worth another line: not that time passes."""
    return re.sub(r"\d+ s\b", "", " ".join(line.split()).partition("s ")[2])


def summary(ended: list[dict[str, Any]]) -> list[str]:
    """The table of VMs that ended, from HTCondor's own records."""
    lines = [
        "",
        "What HTCondor's own records say:",
        "",
        "  VM       for     code  kind          runtime  host     message",
    ]
    for ad in ended:
        host = str(ad.get("LastRemoteHost", "?")).partition("@")[2].partition(".")[0]
        name = f"{ad['ClusterId']}.{ad['ProcId']}"
        code, kind, runtime = (ad.get(key, "?") for key in ("ShutdownCode", "VacKind", "VacRuntime"))
        experiment, message = ad.get("VacMachinetype", "?"), ad.get("ShutdownMessage", "")
        lines.append(f"  {name:<7}  {experiment:<6} {code!s:>5}  {kind:<12} {runtime!s:>6} s  {host:<8} {message}")
    return lines
