# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a session's tests a conftest.py may mark: pytest gives each of them all that were collected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest


def own(items: Iterable[pytest.Item], conftest: str) -> Iterator[pytest.Item]:
    """The tests below the directory of the conftest.py with this path (its ``__file__``)."""
    directory = Path(conftest).resolve().parent
    return (item for item in items if directory in item.path.parents)


def group_by_suite(items: Iterable[pytest.Item], conftest: str, suites: Iterable[str]) -> None:
    """One suite's tests are one worker's, so that ``-n 2 --dist loadgroup`` has one pool for each."""
    known = tuple(suites)
    for item in own(items, conftest):
        suite = next((suite for suite in known if f"[{suite}" in item.name), None)
        if suite is not None:
            item.add_marker(pytest.mark.xdist_group(suite))
