# SPDX-License-Identifier: GPL-3.0-or-later
"""The pool that the tests fill."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from filled import Pool


@pytest.fixture(scope="session")
def pool() -> Pool:
    """A pool whose factories wait; the tests are steps."""
    return Pool()
