# SPDX-License-Identifier: GPL-3.0-or-later
"""A pytest plugin: a test that skips fails, unless ``tests/allowed_skips.txt`` allows it.

A skipped test counts as a pass in the exit code. Each line of the list is ``PATH: REASON``, a glob for
the test file's path from the checkout and a regular expression that matches the whole reason. The reports are
changed where they are made, so that xdist, ``--lf``, ``-x`` and JUnit files see a failure like any other. Tests
that are expected to fail (xfail) are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "tests" / "allowed_skips.txt"
_ALLOWED = pytest.StashKey["list[Allowed]"]()


@dataclass(frozen=True)
class Allowed:
    """Skips of tests in files that match *path* (a glob) whose whole reason *reason* matches."""

    path: str
    reason: re.Pattern[str]

    def covers(self, path: str, reason: str) -> bool:
        """Whether a skip in the file *path* with this reason is allowed."""
        return fnmatchcase(path, self.path) and self.reason.fullmatch(reason) is not None


def read(text: str) -> list[Allowed]:
    """The entries of a list. Raises ValueError with the number of a line that is not ``PATH: REASON``."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        path, colon, reason = line.partition(": ")
        if not (path.strip() and colon and reason.strip()):
            raise ValueError(f"line {number}: must be 'PATH-GLOB: REASON-REGEX'")
        try:
            found.append(Allowed(path.strip(), re.compile(reason.strip())))
        except re.error as error:
            raise ValueError(f"line {number}: {reason.strip()!r} is not a regular expression: {error}") from error
    return found


def pytest_configure(config: pytest.Config) -> None:
    """Read the list, and fail the run at once if it cannot be read."""
    try:
        config.stash[_ALLOWED] = read(LIST.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise pytest.UsageError(f"{LIST.name}: {error}") from error


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a failure of a test's skip that is not allowed."""
    report = yield
    if not hasattr(report, "wasxfail"):
        _judge(report, item)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Make an error of a whole file's skip that is not allowed."""
    report = yield
    _judge(report, collector)
    return report


def _judge(report: pytest.TestReport | pytest.CollectReport, node: pytest.Item | pytest.Collector) -> None:
    if report.outcome != "skipped":
        return
    reason = _reason(report)
    path = node.path.resolve()
    inside = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.as_posix()
    if not any(allowed.covers(inside, reason) for allowed in node.config.stash[_ALLOWED]):
        report.outcome = "failed"
        report.longrepr = f"{inside}: skipped, which tests/{LIST.name} does not allow: {reason}"


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    # pytest has (path, line, "Skipped: reason") for a skip.
    printed = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return printed.removeprefix("Skipped: ")
