# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role documents of its variables is what it does: specs, defaults, and the variables its tasks use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = Path(__file__).resolve().parents[3] / "roles"
NAMES = sorted(path.name for path in ROLES.iterdir() if path.is_dir())


def load(role: str, path: str) -> dict[str, Any]:
    """A file of a role; empty if it has none."""
    file = ROLES / role / path
    return yaml.safe_load(file.read_text()) or {} if file.exists() else {}


def options(role: str) -> dict[str, dict[str, Any]]:
    """The documented options of the entry point main."""
    found: dict[str, dict[str, Any]] = load(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    return found


@pytest.mark.parametrize("role", NAMES)
def test_every_entry_point_has_a_spec(role: str) -> None:
    specs = load(role, "meta/argument_specs.yml")["argument_specs"]
    called = re.findall(
        r"tasks_from: *(\w+)", "".join(path.read_text() for path in ROLES.parent.glob("playbooks/*.yml"))
    )
    assert "main" in specs
    for name in called:
        if (ROLES / role / "tasks" / f"{name}.yml").exists():
            assert name in specs
    for spec in specs.values():
        assert {"short_description", "description", "author"} <= set(spec)


@pytest.mark.parametrize("role", NAMES)
def test_defaults_equal_the_spec(role: str) -> None:
    defaults, specs = load(role, "defaults/main.yml"), options(role)
    assert sorted(set(defaults) - set(specs)) == [], "variables without documentation"
    for name, spec in specs.items():
        assert spec.get("description"), name
        assert spec.get("type"), name
        if spec.get("required"):
            assert "default" not in spec
        elif "default" in spec:
            assert defaults[name] == spec["default"], name
        else:
            assert name in defaults, f"{name} has no default and is not required"
            assert "{{" in str(defaults[name]), f"{name}: put its default into the spec as well"


@pytest.mark.parametrize("role", NAMES)
def test_variables_that_tasks_use_are_known(role: str) -> None:
    texts = [path.read_text() for path in (ROLES / role).rglob("*") if path.suffix in (".yml", ".j2")]
    registered = set(re.findall(rf"register: ({role}_\w+)", "".join(texts)))
    known = {*options(role), *load(role, "vars/main.yml"), *load(role, "defaults/main.yml"), *registered}
    for path in (ROLES / role).glob("t*/*"):
        if path.suffix in (".yml", ".j2"):
            text = re.sub(r"(tags: .*|template: .*)", "", path.read_text())
            expressions = re.findall(r"\{\{.*?\}\}|\{%.*?%\}|(?:when|that|loop|until|failed_when): .*", text, re.DOTALL)
            used = set(re.findall(rf"(?<![\w.'\"]){role}_\w+", " ".join(expressions)))
            own = set(re.findall(r"loop_var: (\w+)", text))
            assert sorted(used - known - own) == [], path


def read_as_given(role: str, text: str) -> list[str]:
    """Uses of a role's booleans and numbers in expressions that take the text "false", or "30", for what it is not."""
    kinds = {name: spec["type"] for name, spec in options(role).items()}
    booleans = "|".join(name for name, kind in kinds.items() if kind == "bool") or "-"
    numbers = "|".join(name for name, kind in kinds.items() if kind == "int") or "-"
    return [
        *re.findall(rf"(?:if|when:|and|or|not) (?:{booleans})\b(?! \| bool)", text),
        *re.findall(rf"\b(?:{numbers}) (?:[<>*/+-]|==)", text),
        *re.findall(rf"(?:[<>*/+-]=?|==) (?:{numbers})\b(?! \| int)", text),
    ]


@pytest.mark.parametrize("role", NAMES)
def test_booleans_and_numbers_may_be_texts_as_those_of_the_command_line_are(role: str) -> None:
    paths = [path for place in ("tasks", "vars", "templates") for path in (ROLES / role / place).glob("*")]
    found = {path.name: read_as_given(role, path.read_text()) for path in paths}
    assert {name: uses for name, uses in found.items() if uses} == {}


def test_a_use_as_given_is_found() -> None:
    text = "a if worker_create_owners else b\nx: worker_watch_interval >= 5 and 3 < worker_watch_interval | length"
    assert len(read_as_given("worker", text)) == 3
    assert read_as_given("worker", "when: worker_emulation | bool and worker_watch_interval | int >= 5") == []


@pytest.mark.parametrize("role", NAMES)
def test_documented_types_fit_the_defaults(role: str) -> None:
    kinds = {"str": str, "path": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict}
    for name, spec in options(role).items():
        if spec.get("default") is not None:
            assert type(spec["default"]) is kinds[spec["type"]], name
        if spec["type"] == "list":
            assert spec.get("elements"), f"{name}: add the type of its elements"
