# SPDX-License-Identifier: GPL-3.0-or-later
"""What one sees of src/condor_vac: few rooms, names that differ by more than a letter, unit tests in the same rooms."""

from __future__ import annotations

import ast
from itertools import combinations
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "condor_vac"
TESTS = ROOT / "tests" / "unit" / "condor_vac"
ROOMS = sorted({path.parent for path in PACKAGE.rglob("*.py")})


def names(room: Path) -> list[str]:
    """Modules and rooms in a room."""
    found = [path for path in room.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    return sorted(path.stem for path in found)


def a_letter_apart(one: str, other: str) -> bool:
    """Whether one letter more, less or another makes one name the other."""
    if len(one) < len(other):
        one, other = other, one
    at = next((place for place, (a, b) in enumerate(zip(one, other)) if a != b), len(other))
    if len(one) == len(other):
        return one[at + 1 :] == other[at + 1 :]
    return one[at + 1 :] == other[at:]


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("lease", "leases", True),
        ("domain", "domains", True),
        ("watch", "match", True),
        ("urls", "curls", True),
        ("store", "state", False),
        ("lease", "release", False),
        ("fetch", "fields", False),
    ],
)
def test_alike(one: str, other: str, alike: bool) -> None:
    assert a_letter_apart(one, other) is alike
    assert a_letter_apart(other, one) is alike


def test_no_file_is_long() -> None:
    files = [path for place in ("src", "plugins", "tests") for path in (ROOT / place).rglob("*.py")]
    assert PACKAGE / "__main__.py" in files
    assert [str(path) for path in files if len(path.read_text("utf-8").splitlines()) > 400] == []


def test_there_are_few_rooms() -> None:
    assert len(names(PACKAGE)) <= 14
    assert PACKAGE / "worker" / "lease" in ROOMS


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(PACKAGE)))
def test_neighbours_differ_by_more_than_a_letter(room: Path) -> None:
    assert [pair for pair in combinations(names(room), 2) if a_letter_apart(*pair)] == []


@pytest.mark.parametrize("room", [room for room in ROOMS if room != PACKAGE], ids=lambda room: room.name)
def test_a_room_has_a_docstring_and_imports_nothing(room: Path) -> None:
    """A room's __init__.py is run at each start of a program that a VM waits for."""
    body = ast.parse((room / "__init__.py").read_text("utf-8")).body
    assert [type(statement) for statement in body] == [ast.Expr], "its docstring"


def test_unit_tests_have_the_same_rooms() -> None:
    tested = {path.parent.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    assert tested
    assert tested <= {room.relative_to(PACKAGE) for room in ROOMS}
