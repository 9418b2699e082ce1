# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for the policy whatever the pool does."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from condor_vac.policy.control_law import PROBE_WINDOW_SECONDS, Policy
from condor_vac.policy.observation import IDLE, Decision, Limits, Observation
from tests.unit.condor_vac.policy.chaos import VAIN_ENDS, Chaos, Plenty

SEEDS = st.integers(min_value=0, max_value=2**32)
LIMITS = st.builds(
    Limits,
    max_machines=st.integers(0, 60),
    max_idle=st.integers(0, 20),
    max_starting=st.none() | st.integers(0, 20),
    probe_machines=st.integers(0, 4),
    max_starts_per_minute=st.none() | st.integers(1, 20),
    first_machines=st.none() | st.integers(0, 40),
    fizzle_seconds=st.sampled_from([60.0, 600.0]),
    backoff_seconds=st.sampled_from([300.0, 1800.0, 7200.0]),
    max_wallclock_seconds=st.sampled_from([7200.0, 86400.0]),
)
STEPS = st.lists(st.sampled_from([10.0, 60.0, 60.0, 300.0, 3600.0]), min_size=1, max_size=60)
# Shrinking runs each pool hundreds of times; the seed of a failure is as good.
QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
DETERMINED = settings(max_examples=60, deadline=None, phases=QUICK)


def restarted(policy: Policy) -> Policy:
    """The policy as a new process finds it in its file."""
    return Policy.restore(policy.limits, json.loads(json.dumps(policy.state(), allow_nan=False)))


def check_caps(limits: Limits, seen: Observation, decision: Decision, assumed: Collection[str] = ()) -> None:
    idle = {vm.id for vm in seen.machines if vm.state == IDLE}
    unproven = sum(not vm.works and vm.id not in assumed for vm in seen.machines if vm.state in ("idle", "running"))
    assert decision.submit >= 0
    if decision.submit:
        assert len(seen.machines) + decision.submit <= limits.max_machines
        assert len(idle) + decision.submit <= limits.max_idle
        if limits.max_starting is not None:
            assert min(unproven, limits.max_starting) + decision.submit <= limits.max_starting
    assert set(decision.remove) <= idle
    assert len(set(decision.remove)) == len(decision.remove)
    assert decision.reasons
    assert all(reason.endswith(".") for reason in decision.reasons)


@DETERMINED
@given(LIMITS, SEEDS, STEPS, st.booleans())
def test_no_cap_is_exceeded_and_nothing_that_runs_is_removed(
    limits: Limits, seed: int, steps: list[float], measured: bool
) -> None:
    pool, policy = Chaos(seed, measured=measured), Policy(limits)
    for seconds in steps:
        seen = pool.step(seconds)
        decision = policy.decide(seen)
        check_caps(limits, seen, decision, policy.judgement.assumed)
        pool.act(decision)


@DETERMINED
@given(LIMITS, SEEDS, STEPS, st.booleans())
def test_a_restart_at_any_point_changes_no_decision(
    limits: Limits, seed: int, steps: list[float], measured: bool
) -> None:
    pool, policy = Chaos(seed, measured=measured), Policy(limits)
    twin = Policy(limits)
    for seconds in steps:
        seen = pool.step(seconds)
        decision = policy.decide(seen)
        assert restarted(twin).decide(seen) == decision
        twin = restarted(twin)
        assert twin.decide(seen) == decision
        pool.act(decision)


@DETERMINED
@given(LIMITS, SEEDS, STEPS)
def test_an_end_counts_once_however_often_it_is_repeated(limits: Limits, seed: int, steps: list[float]) -> None:
    pool, policy, again = Chaos(seed), Policy(limits), Policy(limits)
    told: set[str] = set()
    for seconds in steps:
        seen = pool.step(seconds)
        news = tuple(end for end in seen.ended if end.id not in told)
        told.update(end.id for end in news)
        decision = policy.decide(seen)
        assert again.decide(Observation(seen.now, seen.machines, news)) == decision
        pool.act(decision)


@DETERMINED
@given(LIMITS, SEEDS, STEPS, st.sampled_from([VAIN_ENDS, ("no_work",), ("fizzle",), ("experiment",), ("site",)]))
def test_without_evidence_of_work_the_start_rate_is_the_probe_rate(
    limits: Limits, seed: int, steps: list[float], ends: tuple[str, ...]
) -> None:
    limits = replace(limits, fizzle_seconds=10 * 86400.0, max_wallclock_seconds=100 * 86400.0)
    pool, policy = Chaos(seed, holds=False), Policy(limits)
    probes: list[float] = []
    opened: set[str] = set()
    for seconds in steps:
        decision = policy.decide(pool.step(seconds, ends, works=False, rate=0.6))
        opening = "has reported yet" in decision.reasons[0]
        # One that outlived all without work is taken to work.
        if not opening and not policy.judgement.assumed:
            probes.extend([pool.now] * decision.submit)
        recent = [at for at in probes if at > pool.now - PROBE_WINDOW_SECONDS]
        assert len(recent) <= limits.probe_machines
        before = set(pool.machines)
        pool.act(decision)
        # One that was taken back before it ran has asked nobody.
        opened -= set(decision.remove)
        if opening:
            opened |= set(pool.machines) - before
    if limits.first_machines is not None:
        assert len(opened) <= limits.first_machines


@pytest.mark.slow
@settings(max_examples=25, deadline=None, phases=QUICK)
@given(SEEDS, st.lists(st.sampled_from([60.0, 60.0, 300.0]), max_size=40), st.booleans(), st.booleans())
def test_when_work_is_there_the_caps_are_filled_whatever_was_before(
    seed: int, steps: list[float], measured: bool, forgets: bool
) -> None:
    limits = Limits(max_machines=40, max_idle=8)
    pool, policy = Chaos(seed, measured=measured), Policy(limits)
    for seconds in steps:
        pool.act(policy.decide(pool.step(seconds)))
    plenty = Plenty(seed, measured=measured)
    plenty.now, plenty.created, plenty.ended = pool.now, pool.created, pool.ended
    if forgets:
        policy = Policy(limits)
    for _ in range(240 if measured else 1440):
        plenty.act(policy.decide(plenty.step(60.0)))
    assert len(plenty.machines) == limits.max_machines


@DETERMINED
@given(SEEDS, st.integers(1, 60), st.integers(1, 20), st.booleans())
def test_from_cold_nothing_but_the_caps_holds_production_once_work_is_seen(
    seed: int, max_machines: int, max_idle: int, measured: bool
) -> None:
    limits = Limits(max_machines=max_machines, max_idle=max_idle)
    pool, policy = Plenty(seed, measured=measured), Policy(limits)
    evidence = False
    for _ in range(100):
        seen = pool.step(60.0)
        decision = policy.decide(seen)
        evidence = evidence or any(vm.works for vm in seen.machines)
        if evidence:
            idle = sum(vm.state == IDLE for vm in seen.machines)
            assert decision.submit == min(max_machines - len(seen.machines), max_idle - idle)
        pool.act(decision)
    assert len(pool.machines) == max_machines
