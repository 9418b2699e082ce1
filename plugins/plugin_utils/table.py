# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# Made from src/condor_vac/base/table.py by python -m tests.shared_file: change that file, not this one.
"""Rows of text as a table for a terminal. The plugins have a copy, which ``python -m tests.shared_file`` writes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

WIDTH = 118


def columns(rows: Sequence[Sequence[str]], *, figures: bool = False) -> list[str]:
    """Each row as a line, columns two blanks apart; with ``figures`` all columns but the first end at the right."""
    widths = _widths(rows)
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if figures and index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def wrapped(rows: Sequence[Sequence[str]]) -> list[str]:
    """As `columns`, but the last column's text goes on below itself where a line would be longer than WIDTH."""
    widths = _widths(rows)[:-1]
    lines = []
    for row in rows:
        head = "".join(cell.ljust(width) + "  " for cell, width in zip(row, widths))
        lines += textwrap.wrap(row[-1], WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    return lines


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
