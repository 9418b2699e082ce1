# SPDX-License-Identifier: GPL-3.0-or-later
"""A recorded run is compared again: exit code, report and picture."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.predict import __main__ as main
from tests.predict import record
from tests.predict.record import Record

SAMPLE = Path(__file__).resolve().parent / "record.jsonl"
SVG_LIMIT = 60_000


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(main, "ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def seen() -> Record:
    return record.read(SAMPLE)


def test_a_run_whose_prediction_held(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.replay(SAMPLE, root / "picture.svg") == 0
    text = capsys.readouterr().out
    assert re.search(r"All \d{2,} differences are below 20 % of the pool: the prediction holds\.", text)
    assert re.search(r"\| 90 % of the slots work after \| \d+ s \| \d+ s \|", text)
    assert (root / ".cache" / "predict" / "scenario.yml").exists()


def test_the_picture_is_small_and_the_same_each_time(root: Path) -> None:
    main.replay(SAMPLE, root / "one.svg")
    main.replay(SAMPLE, root / "two.svg")
    text = (root / "one.svg").read_text("utf-8")
    assert text == (root / "two.svg").read_text("utf-8")
    assert "SPDX-License-Identifier: GPL-3.0-or-later" in "".join(text.splitlines(True)[:3])
    assert len(text) < SVG_LIMIT
    for words in (
        "slots in use: real pool",
        "slots in use: simulator",
        "slots that work: real pool",
        "end of the work",
    ):
        assert words in text
    assert "node" not in text


def test_a_pool_that_did_otherwise_is_an_error(root: Path, seen: Record, capsys: pytest.CaptureFixture[str]) -> None:
    """Six slots less than were in use at two moments, which are named."""
    looks = list(seen.looks)
    changed = [place for place, look in enumerate(looks) if look.seconds > 200][:2]
    for place in changed:
        looks[place] = replace(looks[place], in_use=looks[place].in_use - 6)
    replace(seen, looks=tuple(looks)).write(root / "other.jsonl")
    assert main.replay(root / "other.jsonl", root / "picture.svg") == 1
    text = capsys.readouterr().out
    assert f"2 of {2 * sum(look.seconds >= 60 for look in looks)} differences are 20 % of the pool or more." in text
    for place in changed:
        assert f"{looks[place].seconds:.0f} s: {looks[place].in_use} slots in use" in text


@pytest.mark.parametrize("text", ["", "{}\n", "no JSON\n", '{"kind": "pool"}\n', '{"kind": "look", "seconds": 1}\n'])
def test_a_file_that_is_no_record_is_refused_in_one_line(
    text: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "wrong.jsonl").write_text(text)
    assert main.replay(root / "wrong.jsonl", root / "picture.svg") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{root / 'wrong.jsonl'}: " in error
    assert "give a record of an earlier run" in error


def test_a_record_without_what_is_measured_is_refused(
    root: Path, seen: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    replace(seen, lives=()).write(root / "empty.jsonl")
    assert main.replay(root / "empty.jsonl", root / "picture.svg") == 2
    assert "not seen: a VM that asked for a task" in capsys.readouterr().err
