# SPDX-License-Identifier: GPL-3.0-or-later
"""max_starts_per_minute: no more VMs are submitted in any 60 seconds, whatever the cycle is and who restarts."""

from __future__ import annotations

import json
import random

import pytest

from condor_vac.policy.control_law import Policy
from condor_vac.policy.observation import IDLE, RUNNING, Limits, Machine, Observation

NOW = 1_700_000_000.0


class Pool:
    """Slots for every VM, which all find work at once."""

    def __init__(self, limits: Limits) -> None:
        self.policy, self.now = Policy(limits), NOW
        self.submitted: list[float] = []
        self.reasons: tuple[str, ...] = ()

    def cycle(self, seconds: float) -> int:
        """One decision, ``seconds`` after the one before; how many VMs it submits."""
        self.now += seconds
        machines = tuple(
            Machine(f"{number}.0", RUNNING, at, at + 1, f"wn-{number % 50}", True, True)
            for number, at in enumerate(self.submitted)
        )
        decision = self.policy.decide(Observation(self.now, machines))
        self.submitted += [self.now] * decision.submit
        self.reasons = decision.reasons
        return decision.submit

    def restart(self) -> None:
        """As a new process finds the policy in its file."""
        self.policy = Policy.restore(self.policy.limits, json.loads(json.dumps(self.policy.state())))

    def most_in_a_minute(self) -> int:
        """The most VMs that were submitted in any 60 seconds."""
        return max(sum(at <= other < at + 60 for other in self.submitted) for at in self.submitted)


def limits(most: int | None, **others: int) -> Limits:
    return Limits(
        **{"max_machines": 2000, "max_idle": 400, "first_machines": 1000, **others}, max_starts_per_minute=most
    )


@pytest.mark.parametrize(
    ("cycle", "submits"),
    [
        (60.0, [5, 5, 5, 5, 5, 5]),
        (20.0, [5, 0, 0, 5, 0, 0]),
        # No more at once for a cycle that is longer.
        (300.0, [5, 5, 5, 5, 5, 5]),
        (45.0, [5, 0, 5, 0, 5, 0]),
    ],
)
def test_so_many_start_in_each_minute_and_the_reason_says_so(cycle: float, submits: list[int]) -> None:
    pool = Pool(limits(5))
    assert [pool.cycle(cycle) for _ in submits] == submits
    words = f"Submitting {submits[-1] or 'none'} (limited by max_starts_per_minute = 5)."
    assert pool.reasons[1] == words


def test_without_the_cap_max_idle_alone_decides() -> None:
    pool = Pool(limits(None))
    assert pool.cycle(60) == 400
    assert pool.reasons[1] == "Submitting 400 (limited by max_idle = 400)."


@pytest.mark.parametrize("most", [1, 7, 99, 101, 350])
@pytest.mark.parametrize("seed", range(4))
def test_no_minute_has_more_however_often_the_factory_restarts(most: int, seed: int) -> None:
    """More than the probes' pace needs are kept, where the cap is above that."""
    pool, rng = Pool(limits(most)), random.Random(seed)
    for _ in range(25):
        pool.cycle(rng.choice([3.0, 10.0, 30.0, 59.0, 60.0, 61.0, 200.0]))
        if rng.random() < 0.5:
            pool.restart()
    assert pool.most_in_a_minute() == most


def test_without_its_state_the_queue_shows_what_was_submitted() -> None:
    machines = tuple(Machine(f"{number}.0", IDLE, NOW - 30) for number in range(4))
    assert Policy(limits(5)).decide(Observation(NOW, machines)).submit == 1
    assert Policy(limits(5)).decide(Observation(NOW + 31, machines)).submit == 5


def test_the_smallest_cap_is_named() -> None:
    pool = Pool(limits(5, max_idle=3))
    assert (pool.cycle(60), pool.reasons[1]) == (3, "Submitting 3 (limited by max_idle = 3).")
