# SPDX-License-Identifier: GPL-3.0-or-later
"""The score of a life, what is kept of the peers, and how broken rules are noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from condor_vac.policy.control_law import Policy
from condor_vac.policy.observation import RUNNING, Decision, Observation
from condor_vac.simulate.play import OURS, play
from condor_vac.simulate.world import World
from tests.lives import rivals, score
from tests.lives.generator import Experiment, Life
from tests.lives.rivals import Net
from tests.lives.watched import Watched, play_ours

HOURS = 4
SLOT_TIME = 40 * HOURS * 3600.0


def kind(name: str, tasks: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": name,
        "max_machines": 40,
        "max_idle": 8,
        "idle_seconds": [120, 300],
        "evidence_seconds": [60, 180],
        "no_work_message": "300 No more work",
    }
    return {**found, "queue": [{"at": 0, "tasks": tasks, "seconds": [900, 1200]}]} if tasks else found


def small(*tasks: int, **more: Any) -> Life:
    """Forty slots for four hours; one machinetype for each number of tasks."""
    names = [f"exp{place}" for place in range(len(tasks))]
    data = {
        "name": "small",
        "seed": 1,
        "duration": HOURS * 3600,
        "hosts": {"count": 5, "slots": 8},
        "negotiation_interval": 60,
        "start_seconds": [60, 150],
        "machinetypes": [kind(name, number) for name, number in zip(names, tasks)],
        **more,
    }
    experiments = tuple(Experiment(name, "says_300", "plenty") for name in names)
    return Life(5, data, experiments, ("to_40_slots", "start_usual"), "own_max_idle", ("kills",))


def others(**nets: tuple[float, float, float]) -> dict[str, Net]:
    """The rivals' nets in shares of the slot time: of the whole (the oracle's: its work too) and of two kinds."""
    found = {name: Net(0.0, 0.0, [0.0, 0.0]) for name in rivals.RIVALS}
    for name, (whole, *kinds) in nets.items():
        found[name] = Net(whole * SLOT_TIME, whole * SLOT_TIME, [each * SLOT_TIME for each in kinds])
    return found


def ours(played: Life) -> Net:
    return rivals.net(play_ours(played.scenario()))


def test_the_score_is_the_difference_to_the_best_peer_as_a_share_of_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    played = small(200, 100)
    nets = others(vac=(0.6, 0.35, 0.25), vcycle=(0.5, 0.3, 0.2), oracle=(0.8, 0.5, 0.3))
    monkeypatch.setattr(score, "rivals", lambda _life: nets)
    found = score.score_of(played)
    mine = ours(played)
    assert mine.whole > 0.3 * SLOT_TIME
    assert found.best == "vac"
    assert found.score == pytest.approx(mine.whole / SLOT_TIME - 0.6)
    assert found.of_work == pytest.approx(found.score / 0.8)
    assert [part.score for part in found.parts] == pytest.approx(
        [mine.kinds[0] / SLOT_TIME - 0.35, mine.kinds[1] / SLOT_TIME - 0.25]
    )
    assert sum(part.score for part in found.parts) == pytest.approx(found.score)
    assert found.nets == pytest.approx(
        {OURS: mine.whole / SLOT_TIME, **{name: each.whole / SLOT_TIME for name, each in nets.items()}}
    )
    assert (found.seed, found.limits, found.troubles) == (5, "own_max_idle", ("kills",))
    assert not found.breaks_a_rule


@pytest.mark.parametrize(("work", "given"), [(0.009, False), (0.011, True)])
def test_with_next_to_no_work_there_is_no_share_of_it(
    work: float, given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    nets = others(htcondorvms=(-0.001, -0.001, 0), vac=(-0.2, -0.2, 0), vcycle=(-0.2, -0.2, 0), oracle=(work, work, 0))
    nets["cobald"] = nets["vac"]
    monkeypatch.setattr(score, "rivals", lambda _life: nets)
    found = score.score_of(small(0, 0))
    assert found.best == "htcondorvms"
    assert (found.of_work is not None) is given
    assert -0.05 < found.score < 0, "ours asks now and then"


def test_a_life_that_cannot_be_played_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_life: Life) -> None:
        raise ValueError("no such thing")

    monkeypatch.setattr(score, "score_of", broken)
    with pytest.raises(RuntimeError, match=r"life 17: ValueError: no such thing"):
        score.score(17)


# -- what is kept of the peers -------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(rivals, "CACHE", tmp_path / "lives")
    return tmp_path / "lives"


def test_peers_are_played_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played, asked = small(100), []

    def noted(scenario: Any, policy: str) -> World:
        asked.append(policy)
        return play(scenario, policy)

    monkeypatch.setattr(rivals, "play", noted)
    first = rivals.rivals(played)
    assert asked == list(rivals.RIVALS) == list(first)
    assert first["oracle"].whole > first["htcondorvms"].whole > 0
    assert rivals.rivals(played) == first
    assert len(asked) == len(rivals.RIVALS)
    assert len(list(cache.iterdir())) == 1
    other = rivals.rivals(small(50))
    assert other["oracle"].work < first["oracle"].work
    monkeypatch.setattr(rivals, "_code", lambda: "changed")
    rivals.rivals(played)
    assert len(asked) == 3 * len(rivals.RIVALS), "another scenario and other code are played"


def test_the_policy_s_own_code_does_not_matter_for_the_peers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def digest() -> str:
        rivals._code.cache_clear()
        return rivals._code()

    monkeypatch.setattr(rivals, "SOURCES", tmp_path)
    for path in ("policy/laws.py", "policy/observation.py", "simulate/peers.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("1\n")
    before = digest()
    (tmp_path / "policy/laws.py").write_text("2\n")
    assert digest() == before
    for path in ("policy/observation.py", "simulate/peers.py"):
        (tmp_path / path).write_text("2\n")
        assert digest() != before
        before = digest()
    rivals._code.cache_clear()


# -- rules ---------------------------------------------------------------------------------------------


def decides(monkeypatch: pytest.MonkeyPatch, decide: Any) -> None:
    monkeypatch.setattr(Policy, "decide", decide)


def a_probe_a_cycle(_policy: Policy, seen: Observation) -> Decision:
    return Decision(submit=int(not any(vm.state != RUNNING for vm in seen.machines)))


def test_vms_without_any_work_that_run_away_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    played = small(0, 300)
    sane = play_ours(played.scenario())
    assert [sane.runaway(each) for each in sane.kinds] == [0, 0]
    assert len(sane.submissions[0]) > 5, "it probes"
    decides(monkeypatch, a_probe_a_cycle)
    wild = play_ours(played.scenario())
    assert wild.runaway(wild.kinds[0]) > 100
    assert wild.runaway(wild.kinds[1]) == 0, "it has work"


def test_caps_that_are_exceeded_and_working_vms_that_are_removed_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    decides(monkeypatch, lambda _policy, _seen: Decision(submit=9))
    assert score.score_of(small(300)).cap_violations > 0

    def removes(_policy: Policy, seen: Observation) -> Decision:
        working = tuple(vm.id for vm in seen.machines if vm.works)
        return Decision(submit=int(not seen.machines), remove=working)

    decides(monkeypatch, removes)
    found = score.score_of(small(300))
    assert found.killed_working > 0
    assert found.breaks_a_rule


@pytest.mark.parametrize(
    ("after", "runaways"),
    [
        ([0, 900, 1800, 2700], 0),
        ([0, 900, 1799], 1),
        ([0, 0, 0, 0], 2),
        ([0, 1, 1800, 1801, 3600], 0),
        ([], 0),
    ],
)
def test_two_in_half_an_hour_are_allowed(after: list[float], runaways: int) -> None:
    world = Watched(small(0).scenario())
    world.submissions[0] = [10.0] * 20 + [5000.0 + each for each in after]
    assert world.runaway(world.kinds[0]) == 0, "none has given up"
    world.gave_up[0] = 400.0
    assert world.runaway(world.kinds[0]) == runaways


def test_those_that_were_submitted_before_the_first_had_given_up_do_not_count() -> None:
    world = Watched(small(0).scenario())
    world.gave_up[0] = 400.0
    slowest = 60 + 150 + 300 + 2 * 60
    for late, runaways in ((0.0, 0), (1.0, 18)):
        world.submissions[0] = [400.0 + slowest + late] * 20
        assert world.runaway(world.kinds[0]) == runaways


def test_a_site_s_own_number_of_probes_and_a_step_of_the_clock_are_allowed_for() -> None:
    plain = small(0).scenario()
    many = replace(plain.machinetypes[0], limits=replace(plain.machinetypes[0].limits, probe_machines=4))
    stepped = small(0, faults=[{"kind": "clock_step", "at": 5100, "seconds": 3600}]).scenario()
    for scenario, runaways in ((plain, 2), (replace(plain, machinetypes=(many,)), 0), (stepped, 0)):
        world = Watched(scenario)
        world.gave_up[0] = 400.0
        world.submissions[0] = [5000.0, 5050.0, 5150.0, 5160.0]
        assert world.runaway(world.kinds[0]) == runaways


@pytest.mark.parametrize("message", [None, "500 No CVMFS"])
def test_a_vm_that_died_early_has_not_given_up(message: str | None) -> None:
    fault = {"kind": "error", "from": 0, "until": 7200, "message": message, "after": 30}
    world = play_ours(small(0, faults=[fault]).scenario())
    assert world.submissions[0][0] == 0
    assert world.gave_up[0] > 7200
