# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module's ansible-doc page is complete, and the module is in the collection's action group."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
# Those whose action plugin does everything: the module is a page of documentation.
ON_THE_CONTROLLER = {"inventory_check"}
PACKAGE = "ansible_collections.vacuum.htcondor.plugins"


def undocumented(name: str, spec: dict[str, Any]) -> list[str]:
    """Parts of an option or a return value without a description."""
    found = [] if spec.get("description") and spec.get("type") else [name]
    for inner in ("suboptions", "contains"):
        for key, value in (spec.get(inner) or {}).items():
            found += undocumented(f"{name}.{key}", value)
    if spec.get("type") == "list" and not spec.get("elements"):
        found.append(f"{name} (elements)")
    return found


def options_of(page: dict[str, Any]) -> set[str]:
    """Names of a module's options, those of its documentation fragments included."""
    found = set(page.get("options") or {})
    for fragment in page["extends_documentation_fragment"]:
        name, _, part = str(fragment).removeprefix("vacuum.htcondor.").partition(".")
        source = importlib.import_module(f"{PACKAGE}.doc_fragments.{name}").ModuleDocFragment
        found |= set(yaml.safe_load(getattr(source, part.upper() or "DOCUMENTATION"))["options"])
    return found


@pytest.mark.parametrize("name", MODULES)
def test_page(name: str) -> None:
    module = importlib.import_module(f"{PACKAGE}.modules.{name}")
    page = yaml.safe_load(module.DOCUMENTATION)
    assert page["module"] == name
    for key in ("short_description", "description", "version_added", "author", "extends_documentation_fragment"):
        assert page[key], key
    assert any(str(part).startswith("vacuum.htcondor.attributes") for part in page["extends_documentation_fragment"])
    for key, spec in (page.get("options") or {}).items():
        assert undocumented(key, spec) == []
    returned = yaml.safe_load(module.RETURN)
    for key, spec in returned.items():
        assert undocumented(key, spec) == []
        assert spec["returned"], key


@pytest.mark.parametrize("name", MODULES)
def test_examples_use_the_module_by_its_full_name_and_its_options(name: str) -> None:
    module = importlib.import_module(f"{PACKAGE}.modules.{name}")
    options = options_of(yaml.safe_load(module.DOCUMENTATION))
    calls = [
        task[f"vacuum.htcondor.{name}"] or {}
        for task in yaml.safe_load(module.EXAMPLES)
        if f"vacuum.htcondor.{name}" in task
    ]
    assert calls
    for call in calls:
        assert set(call) <= options


@pytest.mark.parametrize("name", MODULES)
def test_main_only_joins_arguments_and_action(name: str) -> None:
    module = importlib.import_module(f"{PACKAGE}.modules.{name}")
    if name in ON_THE_CONTROLLER:
        assert not hasattr(module, "main")
        assert (ROOT / "plugins" / "action" / f"{name}.py").exists()
        return
    assert len(inspect.getsource(module.main).splitlines()) <= 15


def test_the_action_group_has_all_modules() -> None:
    groups = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]
    assert sorted(groups["condor"]) == MODULES
