# SPDX-License-Identifier: GPL-3.0-or-later
"""The site, whose administrator has two releases of the collection."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared" / "tests"))

from releases import newer
from sites import Site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The site; nothing is played yet."""
    collections = newer(tmp_path_factory.mktemp("newer"))
    return Site(tmp_path_factory.mktemp("administrator"), collections)
