# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo shows of a sample, as lines of text."""

from __future__ import annotations

import textwrap

from .sample import Experiment, Sample, count

ROW = "{:<8}{:>5}{:>9}{:>6}    {:>5}{:>9}{:>7}   {}"
HEADER = (
    ROW.format("", "tasks", "", "", "VMs", "", "", "").rstrip(),
    ROW.format("for", "left", "at work", "done", "idle", "running", "works", "ended"),
)
INDENT = "  "
TOTAL = "all"


def ended(each: Experiment) -> str:
    """How many VMs ended with which code."""
    return " ".join(f"{number}x{code}" for code, number in each.ended) or "-"


def block(sample: Sample, phase: str, width: int) -> list[str]:
    """The table that is redrawn in place: each experiment's row, below it its factory's reasons, and the totals."""
    lines = [*textwrap.wrap(phase, width), *HEADER]
    for name, each in sample.experiments.items():
        numbers = (each.left, each.at_work, each.done, each.idle, each.running, each.works)
        lines += [ROW.format(name, *numbers, ended(each)), *paragraph(each.why, width)]
    totals = (sample.total(what) for what in ("left", "at_work", "done", "idle", "running", "works"))
    return [*lines, ROW.format(TOTAL, *totals, "").rstrip()]


def line(name: str, each: Experiment) -> str:
    """One experiment's row in one line, where nothing can be redrawn."""
    return (
        f"{name}: tasks {each.left} left, {each.at_work} at work, {each.done} done;"
        f" VMs {each.idle} idle, {each.running} running, {each.works} works; ended {ended(each)}"
    )


def brief(sample: Sample) -> str:
    """All experiments in one short line."""
    running, at_work, done = (sample.total(what) for what in ("running", "at_work", "done"))
    return f"no news: {count(running)} running, {count(at_work, 'task')} at work, {done} done"


def paragraph(text: str, width: int) -> list[str]:
    """A text below a row, wrapped."""
    return textwrap.wrap(text, width, initial_indent=INDENT, subsequent_indent=INDENT)
