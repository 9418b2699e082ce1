# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# Made from src/condor_vac/base/table.py by python -m tests.shared_file: change that file, not this one.
"""Rows of text as a table for a terminal. The plugins have a copy, which ``python -m tests.shared_file`` writes.

``width`` is how many characters a line may have, None for as many as it takes.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence

# A column is not cut to less, and a text that would have less than _TEXT beside the others goes below them.
_LEAST = 6
_TEXT = 24
_INDENT = " " * 4


def terminal() -> int | None:
    """The width of the terminal to which standard output goes; None for a file or a pipe, which get whole lines."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


def columns(rows: Sequence[Sequence[str]], width: int | None, *, figures: bool = False) -> list[str]:
    """Each row as a line, columns two blanks apart; with ``figures`` all columns but the first end at the right.

    Where the lines are too long, the widest columns are cut ("…"), but no figures, which would be others then. What is
    too long even so goes on in a further line.
    """
    widths = _widths(rows)
    if width is not None:
        _narrow(widths, width, 1 if figures else len(widths))
    lines: list[str] = []
    for row in rows:
        texts = [_cut(cell, each) for cell, each in zip(row, widths)]
        cells = [
            text.rjust(each) if figures and index else text.ljust(each)
            for index, (text, each) in enumerate(zip(texts, widths))
        ]
        line = "  ".join(cells).rstrip()
        lines += [line] if width is None else textwrap.wrap(line, width, subsequent_indent=_INDENT)
    return lines


def wrapped(rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """As `columns`, but the last column's text goes on below itself where a line would be too long."""
    widths = _widths(rows)[:-1]
    lines = []
    for row in rows:
        head = "".join(cell.ljust(each) + "  " for cell, each in zip(row, widths))
        if width is None:
            lines.append(head + row[-1])
        elif width - len(head) >= _TEXT:
            lines += textwrap.wrap(row[-1], width, initial_indent=head, subsequent_indent=" " * len(head))
        else:
            lines += textwrap.wrap(head, width) if head.strip() else []
            lines += textwrap.wrap(row[-1], width, initial_indent=_INDENT, subsequent_indent=_INDENT)
    return lines


def _narrow(widths: list[int], width: int, cuttable: int) -> None:
    """Reduce the widest of the first ``cuttable`` columns, a character at a time, until a row fits or none is left."""
    while sum(widths) + 2 * (len(widths) - 1) > width:
        widest = max(range(cuttable), key=widths.__getitem__)
        if widths[widest] <= _LEAST:
            return
        widths[widest] -= 1


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
