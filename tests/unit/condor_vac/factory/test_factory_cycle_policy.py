# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cycle shows its policy, and what of it survives a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from condor_vac.factory import cycle as factory_cycle
from condor_vac.factory import state as factory_state
from condor_vac.policy.observation import Decision
from tests.integration.factory.greedy import Policy as Greedy
from tests.unit.condor_vac.factory.factory_cycles import M, cycle, with_factory
from tests.unit.condor_vac.standins import (
    COMPLETED,
    NOW,
    RUNNING,
    ad,
    factory_ad,
    machinetype,
)


@pytest.mark.parametrize("kept", [{"something": "else"}, {"asked": None}, {"asked": []}, {"asked": "x"}])
def test_a_state_that_the_policy_cannot_read_does_not_end_the_factory(
    tmp_path: Path, kept: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    factory_state.save(str(tmp_path), factory_state.State(policy=kept))
    assert cycle(with_factory(), tmp_path).run(M)["submit"] == 4
    assert "cannot be read" in capsys.readouterr().out


class Listener(Greedy):
    """Remembers what each policy that was made observes."""

    made: ClassVar[list[Listener]] = []

    def __init__(self, *words: Any) -> None:
        super().__init__(*words)
        self.recorded: list[Any] = []
        self.made.append(self)

    def decide(self, seen: Any) -> Decision:
        self.recorded.append(seen)
        return super().decide(seen)


class Counting(Greedy):
    """Its state counts its decisions."""

    def decide(self, seen: Any) -> Decision:
        super().decide(seen)
        self._asked += 1
        return Decision(0, (), (), (f"decision {self._asked}",))


def test_what_the_policy_learns_without_a_submission_survives_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factory_cycle, "Policy", Counting)
    pool = with_factory(*(ad(f"50.{number}") for number in range(4)))
    factory = cycle(pool, tmp_path)
    reasons = [factory.run(M)["reasons"][0] for _ in range(3)]
    reasons += [cycle(pool, tmp_path).run(M)["reasons"][0] for _ in range(2)]
    assert reasons == [f"decision {number}" for number in range(1, 6)]
    assert not pool.done


def ends(seen: Any) -> list[str]:
    """The ids of the ends in an observation."""
    return sorted(end.id for end in seen.ended)


def test_one_policy_continues_and_a_new_one_gets_the_last_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory_cycle, "Policy", Listener)
    Listener.made.clear()
    pool = with_factory(ad("50.0", COMPLETED))
    day_old = int(NOW) - 86_500
    pool.past = [ad("49.0", COMPLETED), ad("48.0", COMPLETED, EnteredCurrentStatus=day_old, JobCurrentStartDate=1)]
    factory = cycle(pool, tmp_path)
    factory.run(M)
    pool.ads = [factory_ad(), ad("50.1", COMPLETED, VacBatch=pool.done[0][2]["+VacBatch"].strip('"'))]
    factory.run(M)
    policy = Listener.made[-1]
    assert [ends(seen) for seen in policy.recorded] == [["49.0", "50.0"], ["50.1"]], "the history once, then the queue"
    factory.run(machinetype(max_machines=6, max_idle=3))
    assert Listener.made[-1] is not policy, "other limits"
    assert ends(Listener.made[-1].recorded[0]) == ["49.0", "50.0", "50.1"]


def test_a_policy_whose_vms_did_not_come_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory_cycle, "Policy", Listener)
    Listener.made.clear()
    pool = with_factory()
    factory = cycle(pool, tmp_path)
    factory.run(M)
    for each in pool.ads[1:3]:
        each.update(JobStatus=RUNNING, JobCurrentStartDate=int(NOW) - 5, NumShadowStarts=1)
    pool.failing.add("submit")
    assert factory.run(M)["error"]
    pool.failing.clear()
    assert factory.run(M)["submit"] == 2
    assert [len(policy.recorded) for policy in Listener.made] == [2, 1]
    assert Listener.made[-1].state() == {"asked": 6}, "not 8"
