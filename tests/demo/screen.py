# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo shows: the live table and the summary, as lines of text."""

from __future__ import annotations

import textwrap
from typing import Any

WIDTH = 110
ROW = "{:>6}  {:>5} {:>4} {:>4}  {:>4} {:>7} {:>5}  {:<16}  {}"
HEADER = ROW.format("time", "tasks", "busy", "done", "idle", "running", "works", "ended", "the factory")


def counters(tasks: dict[str, Any]) -> tuple[int, int, int]:
    """(left, taken, done) of the experiment's queue."""
    return int(tasks["queued"]), int(tasks["taken"]), int(tasks["done"])


def row(seconds: float, seen: dict[str, Any]) -> str:
    """One line of the live table; the factory's first reason at its end, wrapped under itself."""
    factory = seen["factory"]
    left, busy, done = counters(seen["tasks"])
    last = factory.get("last") or {}
    ended = " ".join(f"{number}x{code}" for code, number in sorted((factory.get("ended") or {}).items())) or "-"
    reasons = "; ".join(last.get("reasons") or ["has not decided yet"])
    made = f"+{last['submit']} " if last.get("submit") else ""
    line = ROW.format(
        f"{seconds:.0f}s", left, busy, done, factory.get("idle", 0), factory.get("running", 0), factory.get("works", 0),
        ended, f"{made}{reasons}",
    )  # fmt: skip
    return textwrap.fill(line, WIDTH, subsequent_indent=" " * 62)


def summary(ended: list[dict[str, Any]]) -> list[str]:
    """The table of VMs that ended, from HTCondor's own records."""
    lines = [
        "",
        "What HTCondor's own records say:",
        "",
        "  VM       code  kind          runtime  host     message",
    ]
    for ad in ended:
        host = str(ad.get("LastRemoteHost", "?")).partition("@")[2].partition(".")[0]
        name = f"{ad['ClusterId']}.{ad['ProcId']}"
        code, kind, runtime = (ad.get(key, "?") for key in ("ShutdownCode", "VacKind", "VacRuntime"))
        lines.append(f"  {name:<7} {code!s:>5}  {kind:<12} {runtime!s:>6} s  {host:<8} {ad.get('ShutdownMessage', '')}")
    return lines
