# SPDX-License-Identifier: GPL-3.0-or-later
"""One pool for all tests of the factory against a real schedd; each test has a machinetype of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration import chroot
from tests.integration.factory.site import Site


@pytest.fixture(scope="session")
def pool() -> Iterator[chroot.Pool]:
    """A running pool (collector, negotiator, schedd); tests skip, with the reason, where none can run."""
    reason = chroot.missing()
    if reason is not None:
        pytest.skip(reason)
    with chroot.Pool("trixie") as running:
        yield running


@pytest.fixture
def site(pool: chroot.Pool, request: pytest.FixtureRequest) -> Iterator[Site]:
    """A machinetype with its files and directory, named after the test; its jobs are removed afterwards.

    Its policy fills the caps, unless the test is marked ``real_policy``.
    """
    made = Site(pool, request.node.name, request.node.get_closest_marker("real_policy") is not None)
    yield made
    made.clear()
