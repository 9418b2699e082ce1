# SPDX-License-Identifier: GPL-3.0-or-later
"""What is printed at the end of a run: the table of stages, why those that failed did, and the sum of all tests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tests.run.counts import Counts, of_stage
from tests.run.running import Place
from tests.run.scheduler import FAILED, HUNG, PASSED, Result
from tests.run.stages import Stage

COMPLAINTS = 3
COMPLAINT_WIDTH = 250
# What names a failure: pytest's and Ansible's own words for one, or else whatever speaks of an error. Molecule only
# repeats that there was one, after ERROR and several blanks.
_FAILURES = (re.compile(r"^(FAILED (?!- RETRYING)|ERROR \S|stderr: |msg: )"), re.compile(r"^E  |[Ee]rror|ERROR"))
_DECORATION = re.compile(r"^(\x1b\[[0-9;]*m|[\s│╭╰─])+|\x1b\[[0-9;]*m|[=!_]{4,}")


def text(
    wanted: Sequence[Stage], results: dict[str, Result], before: dict[str, float], place: Place, seconds: float
) -> str:
    """The whole end of the output; its last line is ``N passed, N failed, N skipped``. *seconds* are the run's."""
    counts = {stage.name: of_stage(results[stage.name], place.counts(stage.name)) for stage in wanted}
    lines = [f"{'stage':24} {'result':8} {'passed':>7} {'failed':>7} {'skipped':>7} {'seconds':>8} {'change':>7}"]
    for stage in wanted:
        result, count = results[stage.name], counts[stage.name]
        numbers = f"{count.passed:7} {count.failed:7} {count.skipped:7}"
        change = _change(result, before.get(stage.name))
        lines.append(f"{stage.name:24} {result.word:8} {numbers} {result.seconds:8.0f} {change:>7}".rstrip())
    for stage in wanted:
        if results[stage.name].word in {FAILED, HUNG}:
            lines += ["", f"{stage.name}:", *(f"  {line}" for line in complaints(place.log(stage.name)))]
    total = sum(counts.values(), Counts())
    return "\n".join(
        [
            "",
            *lines,
            "",
            f"{seconds:.0f} s altogether",
            f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped",
        ],
    )


def _change(result: Result, seconds: float | None) -> str:
    """By how many seconds a passed stage took more or less than when it last passed."""
    return "" if seconds is None or result.word != PASSED else f"{result.seconds - seconds:+.0f}"


def complaints(log: Path) -> list[str]:
    """The last lines about a failure, few and short, for readers who see only the end of the output."""
    lines = [_DECORATION.sub("", line) for line in log.read_text("utf-8", "replace").splitlines()]
    for pattern in _FAILURES:
        if printed := [number for number, line in enumerate(lines) if pattern.search(line)]:
            # A message may be folded, and YAML begins a long one on the next line.
            return [" ".join(lines[number : number + 3])[:COMPLAINT_WIDTH] for number in printed[-COMPLAINTS:]]
    return [line for line in lines if line.strip()][-1:] or ["(no output)"]
