# SPDX-License-Identifier: GPL-3.0-or-later
"""A time in the future, as of a worker node whose clock is wrong, decides nothing beyond its own VM."""

from __future__ import annotations

import json

import pytest

from condor_vac.policy import state as policy_state
from condor_vac.policy.control_law import Policy
from condor_vac.policy.observation import IDLE, RUNNING, Ended, Limits, Machine, Observation

START = 1_764_000_000.0
YEARS = 10 * 365 * 86400.0
LIFE = 6 * 3600.0


def play(*poison: Ended | Machine, minutes: int = 600) -> tuple[int, Policy]:
    """VMs after ten hours at a site of 100 slots with endless work, and the policy; the poison comes after half one."""
    policy, now, made = Policy(Limits(max_machines=100, max_idle=10)), START, 0
    vms: dict[str, Machine] = {}
    ended: list[Ended] = []
    for minute in range(minutes):
        now += 60
        if minute == 30:
            ended += [each for each in poison if isinstance(each, Ended)]
            vms.update({each.id: each for each in poison if isinstance(each, Machine)})
        decision = policy.decide(Observation(now, tuple(vms.values()), tuple(ended)))
        ended = []
        for name in decision.remove:
            del vms[name]
        for _ in range(decision.submit):
            made += 1
            vms[f"{made}.0"] = Machine(f"{made}.0", IDLE, now)
        for name, vm in list(vms.items()):
            if vm.started is None:
                vms[name] = Machine(name, RUNNING, vm.submitted, now, f"wn{made % 9}", False, True)
            elif now - vm.started > LIFE:
                del vms[name]
                ended.append(Ended(name, vm.submitted, now, "success", False, vm.host, vm.started, True, True))
            elif now - vm.started > 300:
                vms[name] = Machine(name, RUNNING, vm.submitted, vm.started, vm.host, True, True)
    return len(vms), policy


CALM = play()[0]


@pytest.mark.parametrize("kind", ["no_work", "experiment", "fizzle", "success", "site", "refused"])
@pytest.mark.parametrize("started", [START + 1700, START + YEARS])
def test_an_end_of_the_future_leaves_a_factory_its_size(kind: str, started: float) -> None:
    end = Ended("9999.0", START, START + YEARS, kind, kind != "success", "evil", started, False, True)
    vms, policy = play(end)
    assert vms >= 0.9 * CALM > 80
    assert policy_state.latest(json.loads(json.dumps(policy.state()))) <= START + 36000


def test_a_start_of_the_future_leaves_a_factory_its_size() -> None:
    vms, policy = play(Machine("9999.0", RUNNING, START + YEARS, START + YEARS, "evil", True, True))
    assert vms >= 0.9 * CALM
    assert policy_state.latest(policy.state()) <= START + 36000


def test_a_submission_of_the_future_is_not_waited_for() -> None:
    """A factory without a state takes the probes' pace from its VMs in the queue."""
    policy = Policy(Limits())
    policy.decide(Observation(START, (Machine("1.0", IDLE, START + YEARS),)))
    assert policy.submissions.last <= START
