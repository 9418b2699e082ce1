# SPDX-License-Identifier: GPL-3.0-or-later
"""How many tests passed, failed and were skipped, from JUnit files; and seconds of the run before."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from tests.run.scheduler import PASSED, Result


@dataclass(frozen=True)
class Counts:
    """Numbers of tests."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)


def read(directory: Path) -> Counts:
    """The sum over the JUnit files of a directory. A file that is cut off counts as one failed test."""
    total = Counts()
    for path in sorted(directory.glob("*.xml")):
        try:
            suites = list(ET.parse(path).getroot().iter("testsuite"))
        except ET.ParseError:
            total += Counts(failed=1)
            continue
        for suite in suites:
            tests, failures, errors, skipped = (
                int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")
            )
            total += Counts(max(0, tests - failures - errors - skipped), failures + errors, skipped)
    return total


def of_stage(result: Result, directory: Path) -> Counts:
    """A stage's counts. One without pytest is one test, and so is a stage that failed though no test did."""
    counts = read(directory)
    if result.word != PASSED and not counts.failed:
        return counts + Counts(failed=1)
    return counts if counts != Counts() else Counts(passed=1)


def earlier(path: Path) -> dict[str, float]:
    """Seconds of each stage when it last passed; empty before the first run."""
    found: dict[str, float] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found


def keep(path: Path, before: dict[str, float], results: dict[str, Result]) -> None:
    """Write the seconds of the stages that passed over those of *before*."""
    now = {name: round(result.seconds, 1) for name, result in results.items() if result.word == PASSED}
    path.parent.mkdir(parents=True, exist_ok=True)
    # In one step: a run that is killed here must not break the next one.
    new = path.with_suffix(".new")
    new.write_text(json.dumps({**before, **now}, indent=1, sort_keys=True) + "\n", "utf-8")
    new.replace(path)
