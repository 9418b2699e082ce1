# SPDX-License-Identifier: GPL-3.0-or-later
"""One pool per HTCondor version for all tests of the factory; each test has a machinetype of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration import chroot
from tests.integration.collection import group_by_suite
from tests.integration.factory.site import Site

SUITES = ("trixie", "sid")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One version's tests are one worker's, so that there is one pool for each."""
    group_by_suite(items, __file__, SUITES)


@pytest.fixture(scope="session", params=SUITES)
def pool_of_all(request: pytest.FixtureRequest) -> Iterator[chroot.Pool]:
    """A running pool (collector, negotiator, schedd): HTCondor 23.9.6 of trixie, then sid's 25.x.

    Tests skip, with the reason, where none can run.
    """
    reason = chroot.missing()
    if reason is not None:
        pytest.skip(reason)
    with chroot.Pool(request.param) as running:
        yield running


@pytest.fixture
def pool(pool_of_all: chroot.Pool) -> chroot.Pool:
    """The pool, with a schedd that answers whatever the test before has left."""
    pool_of_all.repair()
    return pool_of_all


@pytest.fixture
def site(pool: chroot.Pool, request: pytest.FixtureRequest) -> Iterator[Site]:
    """A machinetype with its files and directory, named after the test; its jobs are removed afterwards.

    Its policy fills the caps, unless the test is marked ``real_policy``.
    """
    made = Site(pool, request.node.name, request.node.get_closest_marker("real_policy") is not None)
    yield made
    made.clear()
