# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that vac_watch does as the VMs' users and through their starters, each of whom can make it take long.

It comes last in a run and has one time budget. VMs whose work failed before come after the others, and are left out
more and more often (rules.after_try).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from functools import partial
from typing import NamedTuple

from condor_vac.base.errors import VacError
from condor_vac.worker.lease.store import Lease
from condor_vac.worker.watch import rules
from condor_vac.worker.watch.samples import Samples
from condor_vac.worker.watch.steps import attempt

# For all VMs in one run. A starter that is there answers within milliseconds.
BUDGET_SECONDS = 20.0


class Chore(NamedTuple):
    """One piece of work for a VM; ``do`` gets the ``seconds`` that it may take."""

    lease: Lease
    seconds: float
    do: Callable[[float], object]


def work(chores: list[Chore], samples: Samples, now: float, log: Callable[[str], None]) -> list[VacError]:
    """Do what there is time for; ``now`` is CLOCK_BOOTTIME s. Returns what went wrong.

    A VM's first failure is only logged: a starter does not answer while it starts its VM.
    """
    deadline = time.monotonic() + BUDGET_SECONDS
    errors: list[VacError] = []
    for uuid in _order({chore.lease.uuid for chore in chores}, samples, now):
        mine = [chore for chore in chores if chore.lease.uuid == uuid]
        if time.monotonic() + sum(chore.seconds for chore in mine) > deadline:
            log(f"{mine[0].lease.label}: work for its job is put off to the next run: others took its time")
            continue
        failed = _do(mine)
        # Only now: the work may have changed it.
        state = samples.load(uuid, now)
        if state is None:
            errors += failed
            continue
        if state.failures == 0:
            for error in failed:
                log(f"{error}; it is tried again in the next run")
        else:
            errors += failed
        if failed or state.failures:
            after = rules.after_try(state, now, failed=bool(failed))
            attempt(errors, partial(samples.save, uuid, after), mine[0].lease.label)
    return errors


def _order(uuids: Collection[str], samples: Samples, now: float) -> list[str]:
    """The VMs whose turn it is, those that failed least often first."""
    failures: dict[str, int] = {}
    for uuid in sorted(uuids):
        state = samples.load(uuid, now)
        if state is None or state.retry_at <= now:
            failures[uuid] = 0 if state is None else state.failures
    return sorted(failures, key=failures.__getitem__)


def _do(chores: list[Chore]) -> list[VacError]:
    """What went wrong with the work for one VM; each piece is done also if another fails."""
    failed: list[VacError] = []
    for lease, seconds, do in chores:
        attempt(failed, partial(do, seconds), lease.label)
    return failed
