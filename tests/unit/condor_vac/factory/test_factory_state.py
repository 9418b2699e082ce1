# SPDX-License-Identifier: GPL-3.0-or-later
"""The factory's file: what is written is read, and what is damaged is refused and renamed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import VacError
from condor_vac.factory import state as factory_state
from condor_vac.factory.state import Pending, State

FULL = State(
    policy={"version": 1, "submissions": [1.5]},
    worked=frozenset({"50.0:1", "50.1:2"}),
    pending=Pending("1764000000-00ff", 3, 1764000000.5, 61, {"a": [1]}),
    avoid=("wn1.example.org",),
    last={"time": 5.0, "reasons": ["x"], "error": None, "submit": 1, "cycle_seconds": 60},
)


@pytest.mark.parametrize("state", [State(), FULL, FULL.but(pending=Pending("b", 1, 2.0))])
def test_written_and_read(tmp_path: Path, state: State) -> None:
    factory_state.save(str(tmp_path), state)
    assert factory_state.load(str(tmp_path)) == state
    assert os.listdir(tmp_path) == ["state.json"], "nothing half-written is left"


def test_a_file_of_the_version_before_is_read(tmp_path: Path) -> None:
    """It holds a policy's state in the version before the present one, twice."""
    text = Path(__file__).with_name("state_version_3.json").read_text("utf-8")
    (tmp_path / "state.json").write_text(text)
    state = factory_state.load(str(tmp_path))
    assert state.pending is not None
    assert (state.worked, state.avoid, state.pending.cluster) == (frozenset({"12.0:1"}), ("wn-5",), 61)
    for policy in (state.policy, state.pending.policy):
        assert policy is not None
        assert policy["version"] == 3
    (tmp_path / "state.json").write_text(text.replace('"credit"', '"debit"'))
    with pytest.raises(VacError, match=r"state\.json: .*\(pending: policy: .*credit.*remove it"):
        factory_state.load(str(tmp_path))


def test_a_fault_is_named_by_its_place(tmp_path: Path) -> None:
    pending = {"batch": "b", "count": True, "time": 1, "cluster": None, "policy": None}
    (tmp_path / "state.json").write_text(changed(pending=pending))
    with pytest.raises(VacError, match=r"\(pending: count: must be a whole number, 0 or more, .*\); remove it"):
        factory_state.load(str(tmp_path))


def test_what_a_cycle_leaves_is_read(tmp_path: Path) -> None:
    last = {**FULL.last, "cluster": 61, "numbers": {"idle": 4}, "observed": {"idle": 4, "ended": {}}}
    factory_state.save(str(tmp_path), FULL.but(last=last))
    assert factory_state.load(str(tmp_path)).last == last


def test_no_file_is_the_empty_state(tmp_path: Path) -> None:
    assert factory_state.load(str(tmp_path)) == State()


def changed(**keys: Any) -> str:
    """The full state's text with some keys changed; None leaves the key out."""
    data = {
        "version": 1, "policy": None, "worked": [], "pending": None, "avoid": [], "last": {}, **keys,
    }  # fmt: skip
    return json.dumps({key: value for key, value in data.items() if value is not ...})


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "17", '"text"', "\x00" * 100, "[" * 100_000, changed(version=2), changed(version=...),
        changed(policy=[]), changed(policy=...), changed(last=[]), changed(worked=5), changed(pending={}),
        changed(pending={"batch": "b", "count": "x", "time": 1, "cluster": None, "policy": None}), changed(avoid=...),
        changed(last={"time": 1}), changed(last={**FULL.last, "reasons": 5}), changed(last={**FULL.last, "time": "x"}),
        changed(last={**FULL.last, "error": 5}), changed(last={**FULL.last, "more": 5}), changed(more=5),
        changed(policy={"version": 3}), changed(policy={"version": 3, "submissions": [], "judgement": {}}),
        changed(worked=[5]), changed(last={**FULL.last, "numbers": 5}), changed(last={**FULL.last, "reasons": [5]}),
        changed(last={**FULL.last, "cycle_seconds": None}),
    ],
)  # fmt: skip
def test_damaged_is_refused_and_put_aside(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(VacError, match=r"state\.json"):
        factory_state.load(str(tmp_path))
    aside = factory_state.set_aside(str(tmp_path))
    assert Path(aside).read_text() == text
    assert factory_state.load(str(tmp_path)) == State()


def test_a_link_to_nowhere_or_a_directory_is_not_an_empty_state(tmp_path: Path) -> None:
    (tmp_path / "state.json").symlink_to(tmp_path / "nowhere")
    with pytest.raises(VacError, match=r"state\.json"):
        factory_state.load(str(tmp_path))
    (tmp_path / "state.json").unlink()
    (tmp_path / "state.json").mkdir()
    with pytest.raises(VacError, match=r"state\.json"):
        factory_state.load(str(tmp_path))


def test_a_directory_that_is_gone_is_reported(tmp_path: Path) -> None:
    with pytest.raises(VacError, match="gone"):
        factory_state.save(str(tmp_path / "gone"), State())
