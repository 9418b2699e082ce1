# SPDX-License-Identifier: GPL-3.0-or-later
"""The plays that the roles' READMEs show use roles and variables that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = Path(__file__).resolve().parents[3] / "roles"
PREFIX = "vacuum.htcondor."


def options(role: str, entry: str = "main") -> set[str]:
    """The variables that a role takes."""
    specs = yaml.safe_load((ROLES / role / "meta/argument_specs.yml").read_text("utf-8"))["argument_specs"]
    return set(specs[entry]["options"])


def imports(role: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each role of the README's example play, and the variables that it gets."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROLES / role / "README.md").read_text("utf-8"), re.DOTALL)
    for play in yaml.safe_load("".join(blocks)):
        for task in play["tasks"]:
            yield task["ansible.builtin.import_role"]["name"].removeprefix(PREFIX), task["vars"]


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir()))
def test_the_example_play_is_of_the_role_and_of_variables_that_it_takes(role: str) -> None:
    found = dict(imports(role))
    assert role in found
    for name, variables in found.items():
        assert variables.keys() <= options(name), name


def test_the_machinetype_of_the_example_has_keys_that_there_are() -> None:
    machinetypes = dict(imports("factory"))["factory"]["factory_machinetypes"]
    for machinetype in machinetypes.values():
        assert machinetype.keys() <= options("factory", "machinetype")
