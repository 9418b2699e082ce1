# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of a run: each cycle of the factory, and between them what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pools import Look

_ROW = "{:>6}  {:>4}  {:>7}  {:>5}  {:>4}  {:>7}  {:>6}  {:<14}  {}"
_HEADER = _ROW.format("s", "idle", "running", "works", "held", "at work", "submit", "avoids", "the factory's reasons")


def table(looks: Sequence[Look], events: Sequence[tuple[float, str]]) -> str:
    """The lines; times are seconds since the first event. "at work" is what the tests saw last, not the factory."""
    began, cycles = events[0][0], looks[-1].cycles if looks else ()
    rows = [(cycle["time"], _cycle(cycle["time"] - began, cycle, _seen(looks, cycle["time"]))) for cycle in cycles]
    rows += [(when, f"{when - began:>6.0f}  === {text}") for when, text in events]
    return "\n".join([_HEADER, *(line for _, line in sorted(rows, key=lambda row: row[0]))])


def _cycle(seconds: float, cycle: Mapping[str, Any], at_work: str) -> str:
    seen = cycle.get("observed", {})
    counts = [seen.get(key, "?") for key in ("idle", "running", "works", "held")]
    avoids = ",".join(host.partition(".")[0] for host in cycle["avoid"]) or "-"
    submit = f"+{cycle['submit']}" if cycle["submit"] else "-"
    return _ROW.format(f"{seconds:.0f}", *counts, at_work, submit, avoids, " ".join(cycle["reasons"]))


def _seen(looks: Sequence[Look], when: float) -> str:
    before = [look.working for look in looks if look.time <= when]
    return str(before[-1]) if before else "-"
