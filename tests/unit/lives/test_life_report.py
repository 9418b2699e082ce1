# SPDX-License-Identifier: GPL-3.0-or-later
"""What many lives come to: goals, rules, classes, the worst; and the command that prints it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.lives import __main__ as command
from tests.lives import report
from tests.lives.generator import life
from tests.lives.score import Part, Score

GOOD = [0.06] * 19


def one(seed: int, value: float, **more: Any) -> Score:
    figures: dict[str, Any] = {
        "seed": seed,
        "line": f"life {seed} of a site",
        "score": value,
        "of_work": 2 * value if value else None,
        "best": "vac",
        "nets": {"vacuum": 0.5 + value, "vac": 0.5, "vcycle": 0.4, "oracle": 0.9},
        "parts": (Part("atlas", "low_cpu", "bursts", value, 0),),
        "pool": ("to_40_slots", "start_usual"),
        "limits": "defaults",
        "troubles": (),
        "cap_violations": 0,
        "killed_working": 0,
    }
    return Score(**{**figures, **more})


def many(*values: float) -> list[Score]:
    return [one(seed, value) for seed, value in enumerate(values, 1)]


def met(scores: list[Score]) -> list[bool]:
    return [good for _, good in report.goals(scores)]


@pytest.mark.parametrize(
    ("values", "goals"),
    [
        ([*GOOD, -0.05], [True, True, True]),
        ([*GOOD[1:], -0.02, -0.05], [True, True, True]),
        ([*GOOD[1:], -0.05, -0.05], [False, False, True]),
        ([*GOOD, -0.11], [True, True, False]),
        ([*GOOD, -0.16], [True, False, False]),
    ],
)
def test_goals(values: list[float], goals: list[bool]) -> None:
    assert met(many(*values)) == goals


def test_goals_say_what_was_reached() -> None:
    texts = [text for text, _ in report.goals(many(0.1, -0.05))]
    assert texts == [
        "at least -0.02: 1 of 2 (50.0%; goal 95%)",
        "mean: +0.0250 (goal +0.05; the oracle has +0.4000)",
        "worst: -0.0500 (goal -0.10)",
    ]


def test_rules_name_the_seeds_that_break_them() -> None:
    runaway = Part("atlas", "says_200", "none", 0.0, 7)
    scores = [
        *many(0.1, 0.1),
        one(3, 0, cap_violations=1),
        one(4, 0, killed_working=2),
        one(5, 0, parts=(runaway,)),
        one(6, 0, parts=(runaway,), cap_violations=1),
    ]
    assert report.rules(scores) == [
        ("caps exceeded: 3, 6", False),
        ("working VMs removed: 4", False),
        ("runaways without work: 5, 6", False),
    ]
    assert [each.breaks_a_rule for each in scores] == [False, False, True, True, True, True]
    assert all(good and text.endswith(": none") for text, good in report.rules(scores[:2]))


def test_quantiles() -> None:
    values = [float(each) for each in range(101)]
    assert [report.quantile(values[::-1], share) for share in (0, 0.05, 0.5, 1)] == [0, 5, 50, 100]
    assert report.quantile([3.0], 0.5) == 3


def test_the_worst_come_first_with_what_they_are_and_how_to_play_them_again() -> None:
    lines = report.worst(many(*(0.01 * each for each in range(20)), -0.3))
    assert lines[0] == "The worst 10:"
    assert lines[1:5] == [
        "-0.3000  life 21 of a site",
        "         net of the pool: vac 0.500, vcycle 0.400, vacuum 0.200 (oracle 0.900)",
        "         by machinetype: atlas -0.3000",
        "         python -m tests.lives --seed 21 --show",
    ]
    assert len(lines) == 1 + 4 * 10
    assert lines[5].startswith("+0.0000  life 1 ")


def test_classes_have_number_mean_and_worst() -> None:
    parts = (Part("atlas", "low_cpu", "bursts", -0.2, 0), Part("lhcb", "says_300", "plenty", 0.3, 0))
    text = report.text([one(1, 0.1, parts=parts, troubles=("kills", "holds")), one(2, -0.1), one(3, 0)])
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}
    assert rows["low_cpu"] == ["3", "-0.1000", "2", "-0.2000", "1"]
    assert rows["says_300"] == ["1", "+0.3000", "0", "+0.3000", "1"]
    assert rows["plenty"] == rows["says_300"]
    assert rows["kills"] == rows["holds"] == ["1", "+0.1000", "0", "+0.1000", "1"]
    assert rows["(none)"] == ["2", "-0.0500", "1", "-0.1000", "2"]
    assert rows["defaults"] == rows["to_40_slots"] == ["3", "+0.0000", "1", "-0.1000", "2"]
    assert rows["vacuum"] == ["+0.5000", "+0.0000"]
    assert rows["vac"] == ["+0.5000", "+0.0000", "3"]
    assert rows["oracle"] == ["+0.9000", "+0.4000"]
    assert "of the work" in text


# -- the command ---------------------------------------------------------------------------------------


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The seeds that were asked for, in place of playing them; seed 13 breaks a rule."""
    asked: list[list[int]] = []

    def play(seeds: list[int], _jobs: int) -> list[Score]:
        asked.append(seeds)
        return [one(seed, 0.01 * seed, cap_violations=int(seed == 13)) for seed in seeds]

    monkeypatch.setattr(command, "play", play)
    return asked


def test_the_command_plays_so_many_lives_from_a_seed_on(
    played: list[list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--number", "3", "--seed", "5"]) == 0
    assert command.main([]) == 1, "a rule is broken"
    assert played == [[5, 6, 7], list(range(1, 201))]
    assert capsys.readouterr().out.startswith("3 lives.")


def test_json(played: list[list[int]], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--number", "2", "--seed", "12", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [each["seed"] for each in found["lives"]] == played[0]
    assert found["rules"]["caps exceeded: 13"] is False
    assert found["goals"]["mean: +0.1250 (goal +0.05; the oracle has +0.4000)"] is True
    assert found["lives"][0]["parts"][0]["character"] == "low_cpu"


def test_show_prints_scenarios_and_plays_nothing(played: list[list[int]], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seed", "3", "--show", "--number", "2"]) == 0
    shown = list(yaml.safe_load_all(capsys.readouterr().out))
    assert not played
    assert shown == [life(3).data, life(4).data]
    assert command.main(["--seed", "4", "--show"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == life(4).data


def test_only_lives_with_all_labels(played: list[list[int]], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--number", "3", "--only", "one_task", "kills"]) in {0, 1}
    assert len(played[0]) == 3
    assert all(life(seed).labels >= {"one_task", "kills"} for seed in played[0])
    assert command.main(["--number", "1", "--only", "to_40_slots", "to_400_slots"]) == 2
    assert "no life has all of to_40_slots, to_400_slots" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--number", "0"], "--number: is 0; give 1 or more"), (["--only", "rainy"], "--only: 'rainy' is unknown")],
)
def test_wrong_words_are_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(words)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_lives_are_played_in_processes_with_a_line_of_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "score", stub)
    assert [each.seed for each in command.play([4, 9], 2)] == [4, 9]
    assert capsys.readouterr().err == "1 of 2 lives\n2 of 2 lives\n"


def stub(seed: int) -> Score:
    return one(seed, 0.0)
