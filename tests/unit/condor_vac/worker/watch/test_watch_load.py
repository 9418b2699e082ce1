# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of vac_watch, and a lease, cost on a node of many VMs: no more than in proportion to their number.

Counted is work, which is the same on every machine: files opened or looked at, and processes started.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import pytest

from condor_vac.base import tools
from condor_vac.worker.lease.store import Lease, Store
from tests.unit.condor_vac.worker.conftest import Node, Time
from tests.unit.condor_vac.worker.watched import crowd, look, run_all

SIZES = (10, 20, 40)
_count: list[int] | None = None


def _hook(event: str, _arguments: object) -> None:
    if _count is not None and event in {"open", "os.listdir", "os.scandir"}:
        _count[0] += 1


@pytest.fixture(scope="module")
def opened() -> Callable[[Callable[[], object]], int]:
    """How many files and directories a function opens."""
    sys.addaudithook(_hook)

    def count(work: Callable[[], object]) -> int:
        global _count  # noqa: PLW0603 - an audit hook stays for ever
        _count = [0]
        try:
            work()
            return _count[0]
        finally:
            _count = None

    return count


def test_a_run_does_work_in_proportion(
    node: Node, clock: Time, opened: Callable[[Callable[[], object]], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    real = tools.run

    def run(argv: list[str], **options: object) -> str:
        started.append(argv[0])
        return real(argv, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(tools, "run", run)
    files, processes = [], []
    for size in SIZES:
        leases = crowd(node, clock, size) if size == SIZES[0] else _more(node, clock, size)
        run_all(node, leases)
        assert look(node) == []
        clock.now += 1
        started.clear()
        files.append(opened(lambda: look(node)))
        processes.append(len(started))
    assert files[2] - files[1] <= 2.1 * (files[1] - files[0]), files
    assert max(processes) <= 4, "and of processes none more for each VM"


def _more(node: Node, clock: Time, size: int) -> list[Lease]:
    for lease in node.store.all():
        node.store.delete(lease)
    for path in node.execute.iterdir():
        path.rename(node.base / f"{path.name}.{size}")
    return crowd(node, clock, size)


def test_a_lease_reads_the_others_a_few_times(
    node: Node, clock: Time, opened: Callable[[Callable[[], object]], int]
) -> None:
    counts = []
    for size in SIZES:
        _more(node, clock, size)
        sandbox = node.sandbox(100 + size)
        counts.append(opened(partial(node.acquire, sandbox=sandbox, domain="vac_lab_100.0")))
    assert counts[2] - counts[1] <= 2.1 * (counts[1] - counts[0]), counts
    assert counts[2] - counts[0] <= 4 * (SIZES[2] - SIZES[0]), counts


def test_leases_are_read_once_each_time(node: Node, clock: Time, opened: Callable[[Callable[[], object]], int]) -> None:
    crowd(node, clock, 5)
    assert opened(lambda: Store(node.store.run_directory).all()) == 6
