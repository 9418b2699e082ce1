# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy's state: its schema accepts what a policy writes, and names what is wrong with anything else."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import VacError
from condor_vac.policy import state as policy_state
from condor_vac.policy.control_law import Policy
from condor_vac.policy.laws import FAILURE_WORDS
from condor_vac.policy.observation import KINDS, Ended, Limits, Machine, Observation
from tests.unit.condor_vac.policy.chaos import Chaos

LIMITS = Limits(max_machines=30, max_idle=8)
# A state file of the version before, and the next two decisions.
HERE = Path(__file__).parent
OLD_FILE = HERE.parent / "factory" / "state_version_3.json"
OLD_DECISIONS = HERE / "decisions_version_3.json"


def lively(seed: int, steps: int = 60) -> Policy:
    """A policy that has met all sorts of VMs."""
    pool, policy = Chaos(seed), Policy(LIMITS)
    for _ in range(steps):
        pool.act(policy.decide(pool.step(120.0)))
    return policy


def leaves(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all single values in nested objects and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not isinstance(value, (dict, list)):
        yield where
    for key, item in items:
        yield from leaves(item, (*where, key))


def put(state: dict[str, Any], where: tuple[Any, ...], value: Any) -> None:
    inner: Any = state
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value


@pytest.mark.parametrize("seed", range(5))
def test_what_a_policy_writes_is_what_the_schema_says(seed: int) -> None:
    state = json.loads(json.dumps(lively(seed).state(), allow_nan=False))
    policy_state.check(state)
    assert Policy.restore(LIMITS, state).state() == state


def test_any_value_of_a_wrong_kind_is_refused_by_its_place() -> None:
    state = json.loads(json.dumps(lively(3).state()))
    places = [where for where in leaves(state) if where != ("version",)]
    assert len(places) > 50
    for where in places:
        damaged = copy.deepcopy(state)
        put(damaged, where, {"a": "wrong kind"})
        with pytest.raises(VacError, match="remove the factory's state file") as found:
            Policy.restore(LIMITS, damaged)
        assert all(str(key) in str(found.value) for key in where), where


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "5", None, -1])
def test_a_count_is_a_whole_number(value: Any) -> None:
    state = lively(1).state()
    state["judgement"]["episodes"]["count"] = value
    with pytest.raises(VacError, match=r"\(judgement: episodes: count: must be a whole number"):
        policy_state.check(state)


def failing() -> dict[str, Any]:
    """The state of a policy whose VMs fail on all hosts; its reason names the kind of the last failure."""
    policy = Policy(LIMITS)
    for number, host in enumerate("abcd"):
        end = Ended(f"1.{number}", 100.0, 990.0 + number, "site", True, host, 500.0)
        policy.decide(Observation(1000.0 + number, (), (end,)))
    state: dict[str, Any] = json.loads(json.dumps(policy.state()))
    return state


@pytest.mark.parametrize("kind", [*KINDS, "", "SITE", "\x1b[31m"])
def test_a_kind_that_is_no_failure_is_refused(kind: str) -> None:
    """What passed would end each cycle of the factory with an exception."""
    state = failing()
    for last in state["judgement"]["failures"]["by_host"].values():
        last[1] = kind
    if kind in FAILURE_WORDS:
        assert FAILURE_WORDS[kind] in Policy.restore(LIMITS, state).decide(Observation(1010.0)).reasons[0]
        return
    with pytest.raises(VacError, match=r"failures: by_host: 'a': 1: must be one of"):
        policy_state.check(state)


def test_missing_and_unknown_keys_are_refused_by_name() -> None:
    state = lively(1).state()
    del state["judgement"]["credit"]
    with pytest.raises(VacError, match=r"\(judgement: credit: missing\)"):
        policy_state.check(state)
    state = lively(1).state()
    state["judgement"]["more"] = 1
    with pytest.raises(VacError, match=r"\(judgement: 'more': unknown key\)"):
        policy_state.check(state)


def test_a_state_is_a_snapshot() -> None:
    """What is decided after it was taken does not change it: a factory may have to go back to it."""
    pool, policy = Chaos(5), Policy(LIMITS)
    for _ in range(60):
        pool.act(policy.decide(pool.step(120.0)))
        kept = policy.state()
        as_it_was = copy.deepcopy(kept)
        policy.decide(pool.step(60.0))
        assert kept == as_it_was


def old_file() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(OLD_FILE.read_text("utf-8"))
    return data


def test_a_state_of_version_3_decides_as_it_did() -> None:
    expected = json.loads(OLD_DECISIONS.read_text("utf-8"))
    policy = Policy.restore(LIMITS, old_file()["pending"]["policy"])
    machines = tuple(Machine(**each) for each in expected["machines"])
    ended = tuple(Ended(**each) for each in expected["ended"])
    decision = policy.decide(Observation(expected["now"], machines, ended))
    found = {
        "submit": decision.submit,
        "remove": list(decision.remove),
        "avoid_hosts": list(decision.avoid_hosts),
        "numbers": dict(decision.numbers),
    }
    assert found == expected["decision"]
    later = policy.decide(Observation(expected["now"] + 600))
    assert {"submit": later.submit, "numbers": dict(later.numbers)} == expected["ten_minutes_later"]
    without = Policy(LIMITS).decide(Observation(expected["now"], machines, ended))
    assert dict(without.numbers) != expected["decision"]["numbers"], "the state made the difference"


@pytest.mark.parametrize(
    ("key", "value"),
    [("durations", 5), ("working", "x"), ("episodes", [[1]]), ("hosts", {"wn-1": [1]}), ("failures", {"in_a_row": 2})],
)
def test_a_damaged_state_of_version_3_is_refused(key: str, value: Any) -> None:
    state = old_file()["policy"]
    policy_state.check(state)
    state["judgement"][key] = value
    with pytest.raises(VacError, match="remove the factory's state file"):
        policy_state.check(state)
    del state["judgement"][key]
    with pytest.raises(VacError, match="remove the factory's state file"):
        policy_state.check(state)


@pytest.mark.parametrize("state", [{}, {"version": 1, "more": 5}, {"version": "3"}, {"asked": 4}])
def test_a_state_of_an_unknown_version_counts_as_lost(state: dict[str, Any]) -> None:
    policy_state.check(state)
    assert Policy.restore(LIMITS, state).state() == Policy(LIMITS).state()
