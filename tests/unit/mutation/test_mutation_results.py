# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of mutmut's files, and which survivors are accepted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.interpreters import ROOT
from tests.mutation import results
from tests.mutation.modules import TARGETS
from tests.mutation.results import Survivor

PATH = "src/a.py"
ORIGINAL = '''"""A module."""


def grow(number: int) -> int:
    """One more."""
    if number > 3:
        return number + 1
    return number


class Box:
    def size(self) -> int:
        return 2
'''
MUTATED = '''
def x_grow__mutmut_orig(number: int) -> int:
    """One more."""
    if number > 3:
        return number + 1
    return number

def x_grow__mutmut_1(number: int) -> int:
    """One more."""
    if number >= 3:
        return number + 1
    return number

def x_grow__mutmut_2(number: int) -> int:
    """One more."""
    if number > 3:
        return number - 1
    return number

class Box:
    def xǁBoxǁsize__mutmut_orig(self) -> int:
        return 2
    def xǁBoxǁsize__mutmut_1(self) -> int:
        return 3
'''
NAMES = ("a.x_grow__mutmut_1", "a.x_grow__mutmut_2", "a.xǁBoxǁsize__mutmut_1")


def tree(place: Path, *codes: int | None) -> Path:
    """A copy in which mutmut has tried the mutants with these exit codes."""
    for path, text in (
        (PATH, ORIGINAL),
        (f"mutants/{PATH}", MUTATED),
        (f"mutants/{PATH}.meta", json.dumps({"exit_code_by_key": dict(zip(NAMES, codes))})),
    ):
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(text)
    return place


def test_survivors_have_their_places_and_what_was_changed(tmp_path: Path) -> None:
    count, ended, found = results.of(tree(tmp_path, 0, 1, 33), PATH, "shown.py")
    assert (count, ended) == (3, 0)
    assert list(map(str, found)) == [
        "shown.py:6 grow: `if number > 3:` -> `if number >= 3:`",
        "shown.py:13 Box.size: `return 2` -> `return 3` (no test reaches it)",
    ]
    assert [one.key for one in found] == [
        "shown.py grow: `if number > 3:` -> `if number >= 3:`",
        "shown.py Box.size: `return 2` -> `return 3`",
    ]


@pytest.mark.parametrize(("code", "ended"), [(1, 0), (3, 0), (36, 2), (-24, 2), (-9, 2)])
def test_what_fails_or_hangs_does_not_survive(tmp_path: Path, code: int, ended: int) -> None:
    assert results.of(tree(tmp_path, code, code, 1), PATH, PATH) == (3, ended, [])


def test_a_run_that_did_not_try_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"1 mutants were not tried, a\.x_grow__mutmut_2 among them"):
        results.of(tree(tmp_path, 1, None, 1), PATH, PATH)


def test_the_accepted_have_the_reason_above_them() -> None:
    text = "# comment\nOne.\n  a f: `1` -> `2`\n\n  b g: `x` -> `y`\nTwo.\n\tc: `3` -> `4`\n"
    assert results.accepted(text) == {"a f: `1` -> `2`": "One.", "b g: `x` -> `y`": "One.", "c: `3` -> `4`": "Two."}
    with pytest.raises(ValueError, match="without a reason: a f"):
        results.accepted("  a f: `1` -> `2`\n")


def test_a_survivor_is_accepted_wherever_it_stands() -> None:
    one, other = (Survivor("p.py", line, "f", "`1` -> `2`", True) for line in (1, 20))
    assert one.key == other.key


def test_the_table_names_files_that_are_there_each_once() -> None:
    for target in TARGETS:
        for path in (target.path, *target.tests):
            assert (ROOT / path).exists(), path
    assert len({target.name for target in TARGETS}) == len(TARGETS)
