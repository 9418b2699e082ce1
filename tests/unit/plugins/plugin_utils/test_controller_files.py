# SPDX-License-Identifier: GPL-3.0-or-later
"""Where files of the inventory are searched for on the controller, and in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import controller_files

# In the order of the search.
PLACES = ("inventory", "inventory/files", "role", "role/files", "playbook", "playbook/files", "here", "here/files")


@pytest.fixture
def variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    for place in PLACES:
        (tmp_path / place).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    return {
        "inventory_dir": str(tmp_path / "inventory"),
        "ansible_search_path": [str(tmp_path / "role"), str(tmp_path / "playbook")],
        "playbook_dir": str(tmp_path / "playbook"),
    }


@pytest.mark.parametrize("name", ["a.iso", "sub/key.pem", "files/a.iso", "two words"])
def test_the_first_place_that_has_it_wins(tmp_path: Path, variables: dict[str, Any], name: str) -> None:
    for place in reversed(PLACES):
        path = tmp_path / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        assert controller_files.find(name, variables) == str(path)


def test_absolute_paths_and_home_are_taken_as_they_are(
    tmp_path: Path, variables: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "key").touch()
    (tmp_path / "inventory" / "~").mkdir()
    assert controller_files.find("~/key", variables) == str(tmp_path / "key")
    assert controller_files.find(str(tmp_path / "key"), {}) == str(tmp_path / "key")


def test_the_home_of_nobody_is_named(variables: dict[str, Any]) -> None:
    with pytest.raises(controller_files.ControllerFileError, match="no file ~nobody-has-this/key on the controller"):
        controller_files.find("~nobody-has-this/key", variables)


def test_what_is_nowhere_is_named_with_each_place_once(tmp_path: Path, variables: dict[str, Any]) -> None:
    with pytest.raises(controller_files.ControllerFileError) as caught:
        controller_files.find("gone", variables)
    searched = caught.value.message.partition("searched ")[2].split(", ")
    assert searched == [str(tmp_path / place / "gone") for place in PLACES]


@pytest.mark.parametrize("variables_of_a_play_without_inventory", [{}, {"inventory_dir": None}])
def test_without_an_inventory_file_the_current_directory_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables_of_a_play_without_inventory: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").touch()
    assert controller_files.find("x", variables_of_a_play_without_inventory) == str(tmp_path / "x")
