# SPDX-License-Identifier: GPL-3.0-or-later
"""The soak's report: a row for each fault, totals, and what was left."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from .course import Happened

COLUMNS = ("time", "fault", "node", "what must recover", "well after", "a VM after", "seen to be wrong meanwhile")


def table(happened: Sequence[Happened]) -> list[str]:
    """The faults as a table in Markdown; seconds count from the moment at which the fault was over."""
    return [_line(COLUMNS), _line(["---"] * len(COLUMNS)), *(_line(_row(each)) for each in happened)]


def _row(each: Happened) -> tuple[str, ...]:
    fault = each.planned.fault
    clock = time.strftime("%H:%M:%S", time.gmtime(each.made))
    said = f" ({each.said.split()[0]})" if each.said.strip() and len(each.said.split()) == 1 else ""
    if each.failed:
        return clock, fault.name, each.planned.node, f"not made: {each.failed[:80]}", "-", "-", "-"
    wrong = "; ".join(text[:60] for text in each.wrong[:4]) or "nothing"
    return clock, fault.name + said, each.planned.node, fault.recovers, *_after(each), wrong


def _after(each: Happened) -> tuple[str, str]:
    over = each.undone or each.made
    well, again = (("never" if when is None else f"{when - over:.0f} s") for when in (each.well, each.again))
    return well, again


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def not_recovered(happened: Sequence[Happened]) -> list[str]:
    """A line for each fault after which its node did not become well, or got no VM any more."""
    found = []
    for each in happened:
        if not each.failed and not each.over:
            what = "is not well again" if each.well is None else "has got no VM since"
            found.append(f"{each.planned.node} {what} after: {each.planned.fault.name}: {'; '.join(each.wrong)}")
    return found


def totals(happened: Sequence[Happened], codes: Mapping[str, int], jobs: int, again: int) -> list[str]:
    """What there was in all: faults, VM jobs, how many of them ran again, VMs by code."""
    made = sum(not each.failed for each in happened)
    ended = ", ".join(f"{number} x {code}" for code, number in codes.items()) or "none"
    return [
        f"Faults: {made} made, {len(happened) - made} found nothing to hit.",
        f"VM jobs: {jobs}; {again} of them ran more than once. How they ended: {ended}.",
    ]
