# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy has the same limits in production, in the simulator and by its own defaults."""

from __future__ import annotations

from typing import Any

import pytest

from condor_vac.base.errors import UsageError
from condor_vac.factory.cycle import limits
from condor_vac.model.machinetype_keys import BY_NAME, POLICY
from condor_vac.policy.observation import Limits
from condor_vac.simulate.scenario import from_mapping
from tests.unit.condor_vac.standins import machinetype

GIVEN: list[dict[str, Any]] = [
    {},
    {"max_machines": 1000, "max_idle": 100},
    {"max_machines": 4},
    {"max_machines": 1},
    {"max_machines": 0},
    {"max_machines": 50, "max_idle": 5, "max_starting": 7, "first_machines": 2, "probe_machines": 3},
    {"max_starting": None, "first_machines": None},
    {"fizzle_seconds": 60, "backoff_seconds": 900, "max_wallclock_seconds": 7200},
]
WRONG: list[tuple[str, Any]] = [
    ("max_machines", -1),
    ("max_idle", 1.5),
    ("max_starting", -1),
    ("first_machines", "few"),
    ("probe_machines", 0),
    ("fizzle_seconds", 0),
    ("backoff_seconds", None),
    ("max_wallclock_seconds", 59),
]


def simulated(**keys: Any) -> Limits:
    """The limits of a scenario's machinetype."""
    kind = {"name": "one", "idle_seconds": [1, 1], "evidence_seconds": None, "no_work_message": None, **keys}
    pool = {"hosts": {"count": 1, "slots": 1}, "start_seconds": [1, 1], "duration": 60}
    return from_mapping({"name": "x", **pool, "machinetypes": [kind]}, "test").machinetypes[0].limits


@pytest.mark.parametrize("keys", GIVEN)
def test_a_scenario_and_a_machinetype_with_the_same_keys_have_the_same_limits(keys: dict[str, Any]) -> None:
    assert simulated(**keys) == limits(machinetype(**keys))


def test_the_policys_own_defaults_are_those_of_a_machinetype() -> None:
    assert Limits() == limits(machinetype())
    assert set(vars(Limits())) == set(POLICY)
    assert Limits() != limits(machinetype(max_starting=10)), "a limit, even one as large as max_idle"


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_a_scenario_refuses_what_a_machinetype_refuses(key: str, value: Any) -> None:
    with pytest.raises(UsageError) as of_machinetype:
        machinetype(**{key: value})
    with pytest.raises(UsageError) as of_scenario:
        simulated(**{key: value})
    remedy = str(of_machinetype.value).partition(f"{key}: ")[2].partition(";")[0]
    assert f"{key}: {remedy}" in str(of_scenario.value)


def test_the_work_threshold_is_in_the_table_alone() -> None:
    assert machinetype().evidence_cpu_fraction == BY_NAME["evidence_cpu_fraction"].default
    assert "evidence_cpu_fraction" not in POLICY, "the factory applies it before the policy sees a VM"
