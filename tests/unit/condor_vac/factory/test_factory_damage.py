# SPDX-License-Identifier: GPL-3.0-or-later
"""A factory's files with every kind of damage: the factory goes on in the same run, and names what was damaged once."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import VacError
from condor_vac.factory import cycle as factory_cycle
from condor_vac.factory import state as factory_state
from condor_vac.factory.cycle import Cycle
from condor_vac.policy import state as policy_state
from condor_vac.policy.control_law import Policy
from condor_vac.policy.host_trust import LONGEST_SECONDS, HostTrust
from condor_vac.policy.observation import Limits
from tests.unit.condor_vac.factory.factory_cycles import M, cycle, with_factory
from tests.unit.condor_vac.standins import COMPLETED, IDLE, NOW, RUNNING, StandInPool, ad
from tests.unit.damage import MADE, OTHER_VALUES, UNREADABLE, unreadable, wrong_types

# Many cases, or cases that wait: too much for `make check`.
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _real_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no waiting for the disk, thousands of times."""
    monkeypatch.setattr(factory_cycle, "Policy", Policy)
    monkeypatch.setattr(os, "fsync", lambda _fd: None)


def pool() -> StandInPool:
    """A queue with a VM of each sort, of which the policy learns something."""
    evidence = {"VacEvidenceTime": int(NOW) - 10, "VacCpuFraction": 0.9}
    failed = [ad(f"49.{n}", COMPLETED, ShutdownCode=500, VacEnded=int(NOW) - 60, RemoteHost="s@bad") for n in range(3)]
    return with_factory(
        *failed,
        ad("50.0", COMPLETED, ShutdownCode=300, VacEnded=int(NOW) - 50),
        ad("50.1", RUNNING, **evidence),
        ad("50.2", RUNNING),
        ad("50.3", IDLE),
        ad("50.4", COMPLETED, ShutdownCode=200, VacEnded=int(NOW) - 40, RemoteHost="s@good"),
    )


@pytest.fixture
def good(tmp_path: Path) -> dict[str, Any]:
    """What the state file of a factory that has learned something holds."""
    (tmp_path / "before").mkdir()
    factory = cycle(pool(), tmp_path / "before")
    factory.run(M)
    factory.run(M)
    state: dict[str, Any] = json.loads((tmp_path / "before" / "state.json").read_text())
    state["policy"]["judgement"]["hosts"] = {"bad": {"failures": 2, "level": 1, "until": NOW}}
    state["pending"] = {"batch": "b-1", "count": 1, "time": NOW - 60, "cluster": None, "policy": state["policy"]}
    learned = state["policy"]["judgement"]
    assert all((learned["counted"], learned["found"], learned["failures"]["by_host"], state["policy"]["submissions"]))
    return state


def start(directory: Path, text: str, lines: list[str]) -> tuple[Cycle, dict[str, Any]]:
    """A factory that finds this state file, and what its first cycle leaves."""
    (directory / "state.json").write_text(text)
    made = Cycle(pool(), str(directory), None, lines.append, lambda: NOW)  # type: ignore[arg-type]
    made.load()
    return made, dict(made.run(M))


def test_a_whole_state_is_not_put_aside(tmp_path: Path, good: dict[str, Any]) -> None:
    lines: list[str] = []
    made, last = start(tmp_path, json.dumps(good), lines)
    assert last["error"] is None
    assert made.state.worked == {"50.1:1"}
    assert not (tmp_path / "state.json.damaged").exists()
    assert not any("renamed" in line for line in lines)


def test_a_value_of_another_kind_at_any_place_stops_nothing(tmp_path: Path, good: dict[str, Any]) -> None:
    """It is put aside whole and named once, or it may be right and the cycle decides by it."""
    aside = tmp_path / "state.json.damaged"
    put_aside = 0
    for name, text in wrong_types(good):
        lines: list[str] = []
        (tmp_path / "state.json").write_text(text)
        made = Cycle(pool(), str(tmp_path), None, lines.append, lambda: NOW)  # type: ignore[arg-type]
        made.load()
        if aside.exists():
            (line,) = lines
            assert "renamed to" in line
            assert line.isprintable()
            assert aside.read_text() == text, "whole"
            assert made.state == factory_state.State()
            aside.unlink()
            put_aside += 1
        else:
            assert made.run(M)["error"] is None, name
    assert put_aside > 500


NUMBERS = (-1, 1e300, -1e300, 10**400, 2**70, float("nan"), float("inf"))


def numbers(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of numbers in a document."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield from numbers(value[key], (*place, key))
    if type(value) in {int, float}:
        yield place


def test_a_number_of_any_size_at_any_place_stops_nothing(tmp_path: Path, good: dict[str, Any]) -> None:
    for place in numbers(good):
        for number in NUMBERS:
            state = json.loads(json.dumps(good))
            at = state
            for key in place[:-1]:
                at = at[key]
            at[place[-1]] = number
            (tmp_path / "state.json").write_text(json.dumps(state))
            made = cycle(pool(), tmp_path)
            if made.state != factory_state.State():
                assert made.run(M)["error"] is None, (place, number)


@pytest.mark.parametrize(
    "place",
    [
        ("judgement", "counted", "50.0"), ("judgement", "horizon"), ("judgement", "found_at"), ("judgement", "seen_at"),
        ("judgement", "episodes", "last_found"), ("judgement", "episodes", "last_dry"),
        ("judgement", "early_ends", "last"), ("judgement", "early_ends", "open"), ("submissions",),
        ("judgement", "failures", "known_hosts", "x"), ("judgement", "failures", "by_host", "x"),
        ("judgement", "hosts", "x"),
    ],
    ids=lambda place: place[-1],
)  # fmt: skip
@pytest.mark.parametrize("where", ["policy", "pending"])
def test_a_state_of_the_future_is_put_aside(
    tmp_path: Path, good: dict[str, Any], place: tuple[str, ...], where: str
) -> None:
    """Such as one from before workers' times were checked, or from before this machine's clock was set."""
    forms: dict[str, Callable[[float], Any]] = {
        "submissions": lambda at: [at],
        "by_host": lambda at: [at, "site"],
        "hosts": lambda at: {"failures": 2, "level": 1, "until": at + LONGEST_SECONDS},
    }
    form = forms.get(place[-1]) or forms.get(place[-2] if len(place) > 1 else "", lambda at: at)
    for ahead, damaged in ((60, False), (10**8, True)):
        state = json.loads(json.dumps(good))
        at = state["policy"] if where == "policy" else state["pending"]["policy"]
        for key in place[:-1]:
            at = at[key]
        at[place[-1]] = form(NOW + ahead)
        lines: list[str] = []
        _made, last = start(tmp_path, json.dumps(state), lines)
        assert last["error"] is None
        assert any("100000000 s ahead" in line for line in lines) is damaged


def test_a_submission_of_the_future_is_not_waited_for(tmp_path: Path, good: dict[str, Any]) -> None:
    good["pending"] = {"batch": "b", "count": 3, "time": NOW + 10**8, "cluster": 7, "policy": None}
    lines: list[str] = []
    _made, last = start(tmp_path, json.dumps(good), lines)
    assert last["error"] is None
    assert any("s ahead; check this machine's clock" in line for line in lines)


@pytest.mark.parametrize("kind", MADE)
def test_a_state_file_with_each_damage(tmp_path: Path, good: dict[str, Any], kind: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(json.dumps(good))
    MADE[kind](path)
    lines: list[str] = []
    made = Cycle(pool(), str(tmp_path), None, lines.append, lambda: NOW)  # type: ignore[arg-type]
    made.load()
    assert made.run(M)["error"] is None
    # A file's own time is not asked.
    assert len([line for line in lines if "renamed to" in line]) == (kind != "from the future")
    factory_state.load(str(tmp_path))


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_state_file_that_cannot_be_read(tmp_path: Path, good: dict[str, Any], kind: str) -> None:
    (tmp_path / "state.json").write_text(json.dumps(good))
    lines: list[str] = []
    made = Cycle(pool(), str(tmp_path), None, lines.append, lambda: NOW)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        unreadable(patch, tmp_path / "state.json", kind)
        made.load()
    assert made.run(M)["error"] is None
    assert len([line for line in lines if "renamed to" in line]) == 1


@pytest.mark.parametrize("kind", [*MADE, "full"])
def test_what_was_put_aside_before_is_in_nobodys_way(tmp_path: Path, kind: str) -> None:
    aside = tmp_path / "state.json.damaged"
    aside.write_text("{")
    if kind == "full":
        aside.unlink()
        (aside / "inner" / "inner").mkdir(parents=True)
    else:
        MADE[kind](aside)
    (tmp_path / "state.json").write_text("[")
    made = cycle(pool(), tmp_path)
    assert made.run(M)["error"] is None
    assert aside.read_text() == "["


def test_what_cannot_be_put_aside_is_an_error_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "state.json").write_text("[")

    def fails(*_: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(VacError, match=r"Read-only file system; remove both"):
        factory_state.set_aside(str(tmp_path))


def test_a_submissions_name_is_no_expression(tmp_path: Path, good: dict[str, Any]) -> None:
    good["pending"]["batch"] = 'x" || true || "'
    (tmp_path / "state.json").write_text(json.dumps(good))
    with pytest.raises(VacError, match=r"pending: batch: must not have other characters"):
        factory_state.load(str(tmp_path))


def test_a_host_that_fails_for_months_stays_avoided() -> None:
    """Each time its level rises by one; a power of two has an end."""
    trust, now = HostTrust(1800.0), NOW
    for _ in range(3000):
        trust.failed("bad", now, now)
        now += LONGEST_SECONDS
    assert trust.avoided(now - 1) == ("bad",)
    assert trust.records["bad"].level > 1024


def test_the_latest_time_of_a_policys_state() -> None:
    assert policy_state.latest({"version": 77}) == float("-inf"), "of a version unknown here"
    old = json.loads((Path(__file__).parents[1] / "factory" / "state_version_3.json").read_text("utf-8"))["policy"]
    assert 1e9 < policy_state.latest(old) < time.time()
    present = Policy(Limits()).state()
    assert policy_state.latest(present) == float("-inf")
    present["judgement"]["assumed"] = {"1.0": 5e9}
    assert policy_state.latest(present) == 5e9, "when a VM started that is taken to work"
    assert len(OTHER_VALUES) > 5
