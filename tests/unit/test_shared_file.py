# SPDX-License-Identifier: GPL-3.0-or-later
"""The plugins' copies of what they share with src/condor_vac are up to date, and nothing but copies."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tests import shared_file

ROOT = Path(__file__).resolve().parents[2]


def test_the_copies_are_up_to_date() -> None:
    assert list(shared_file.outdated()) == [], f"run {shared_file.COMMAND}"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The originals and their copies, elsewhere."""
    for name in (*shared_file.COPIES, *shared_file.COPIES.values()):
        there = tmp_path / name
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text((ROOT / name).read_text("utf-8"), "utf-8")
    monkeypatch.setattr(shared_file, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize("changed", [*shared_file.COPIES, *shared_file.COPIES.values()])
def test_a_change_of_one_side_is_found_named_and_undone(
    changed: str, tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shared_file.COPIES.get(changed, changed)
    monkeypatch.setattr(sys, "argv", ["shared_file", "--check"])
    assert (shared_file.main(), capsys.readouterr().out) == (0, "")
    with (tree / changed).open("a", encoding="utf-8") as stream:
        stream.write("MORE = 1\n")
    assert shared_file.main() == 1
    assert capsys.readouterr().out.startswith(f"{copy}: out of date")
    monkeypatch.setattr(sys, "argv", ["shared_file"])
    assert shared_file.main() == 0
    assert shared_file.outdated() == {}


@pytest.mark.parametrize("copy", shared_file.COPIES.values())
def test_a_copy_says_what_it_is_made_from(copy: str) -> None:
    source = next(name for name, made in shared_file.COPIES.items() if made == copy)
    assert f"Made from {source} by {shared_file.COMMAND}" in (ROOT / copy).read_text("utf-8").splitlines()[2]


@pytest.mark.parametrize("source", shared_file.COPIES)
def test_what_is_shared_imports_the_standard_library_alone(source: str) -> None:
    nodes = list(ast.walk(ast.parse((ROOT / source).read_text("utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    assert names
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_a_file_without_its_license_is_not_copied(tree: Path) -> None:
    source = tree / next(iter(shared_file.COPIES))
    source.write_text("# no license\n", "utf-8")
    with pytest.raises(ValueError, match="must begin with the line"):
        shared_file.outdated()
