# SPDX-License-Identifier: GPL-3.0-or-later
"""A line of progress for tools that play many things."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TypeVar

Result = TypeVar("Result")


def watched(results: Iterator[Result], total: int, what: str) -> Iterator[Result]:
    """The results, with a line of progress on stderr: rewritten on a terminal, else one for each tenth."""
    terminal = sys.stderr.isatty()
    for done, result in enumerate(results, 1):
        yield result
        if terminal or done * 10 // total > (done - 1) * 10 // total:
            end = "\r" if terminal and done < total else "\n"
            print(f"{done} of {total} {what}", end=end, file=sys.stderr, flush=True)
