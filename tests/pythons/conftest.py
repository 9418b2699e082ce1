# SPDX-License-Identifier: GPL-3.0-or-later
"""Names the Pythons, whatever becomes of the tests."""

from __future__ import annotations

import pytest

from tests.interpreters import dotted
from tests.pythons import FOUND, KNOWN


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line with those that are on this machine, and one with those that are not."""
    absent = [version for version in KNOWN if version not in FOUND]
    terminalreporter.write_line(f"Python on this machine: {', '.join(map(dotted, FOUND))}")
    terminalreporter.write_line(f"not on this machine: {', '.join(map(dotted, absent)) or '(none)'}")
