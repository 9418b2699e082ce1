# SPDX-License-Identifier: GPL-3.0-or-later
"""Each filter has a page, and what the pages of the shares' filters show is what these make of it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

DIRECTORY = Path(__file__).resolve().parents[4] / "plugins" / "filter"
PACKAGE = "ansible_collections.vacuum.htcondor.plugins.filter"
SOURCES = sorted(path.stem for path in DIRECTORY.glob("*.py"))
FILTERS: dict[str, Callable[..., Any]] = {
    name: function
    for source in SOURCES
    for name, function in importlib.import_module(f"{PACKAGE}.{source}").FilterModule().filters().items()
}


def page(name: str) -> dict[str, Any]:
    """The page of a filter."""
    found: dict[str, Any] = yaml.safe_load((DIRECTORY / f"{name}.yml").read_text("utf-8"))
    return found


def test_there_is_a_page_for_each_filter_and_no_other() -> None:
    assert sorted(path.stem for path in DIRECTORY.glob("*.yml")) == sorted(FILTERS)


@pytest.mark.parametrize("name", FILTERS)
def test_page(name: str) -> None:
    described = page(name)
    assert described["DOCUMENTATION"]["name"] == name
    assert described["DOCUMENTATION"]["options"]["_input"]["required"]
    assert f"vacuum.htcondor.{name}" in described["EXAMPLES"]
    assert described["RETURN"]["_value"]["sample"]


@pytest.mark.parametrize("name", ["share_factors", "share_quotas"])
def test_the_sample_is_what_the_filter_makes_of_the_example(name: str) -> None:
    (task,) = yaml.safe_load(page(name)["EXAMPLES"])
    assert FILTERS[name](task["vars"]["machinetypes"]) == pytest.approx(page(name)["RETURN"]["_value"]["sample"])
