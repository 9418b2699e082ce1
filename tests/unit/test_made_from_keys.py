# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made from the key table is up to date, and an editor's schema is what the programs accept."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import machinetypes
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from condor_vac.model.machinetype_keys import BY_NAME, KEYS, REQUIRED, Key
from tests import machinetype_keys

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.yml"))
ATLAS: dict[str, Any] = {"kind": "cernvm", "image": "images/c 4.iso", "user_data": "https://vo.example/u"}


def editor() -> Draft7Validator:
    """What an editor checks a file by."""
    schema = json.loads((ROOT / machinetype_keys.SCHEMA).read_text("utf-8"))
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


def test_what_is_made_from_the_table_is_up_to_date() -> None:
    assert list(machinetype_keys.outdated()) == [], f"run {machinetype_keys.COMMAND}"


@pytest.mark.parametrize("path", sorted(machinetype_keys.files()))
@pytest.mark.parametrize("change", [("max_starting", "max_starters"), ("backoff_seconds", "back_off_seconds")])
def test_a_change_by_hand_is_found(
    path: str, change: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in machinetype_keys.files():
        copy = tmp_path / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = (ROOT / name).read_text("utf-8")
        copy.write_text(text.replace(*change) if name == path else text, "utf-8")
    monkeypatch.setattr(machinetype_keys, "ROOT", tmp_path)
    assert path in machinetype_keys.outdated()


def defaults(path: Path) -> Iterator[tuple[str, str]]:
    """Class and field of each field of a module that has a key's name and a default of its own other than null."""
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    for found in [node for node in nodes if isinstance(node, ast.ClassDef)]:
        for field in found.body:
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.value is not None:
                none = isinstance(field.value, ast.Constant) and field.value.value is None
                if field.target.id in BY_NAME and not none:
                    yield found.name, field.target.id


def test_no_other_class_has_a_default_for_a_key() -> None:
    package = ROOT / "src" / "condor_vac"
    found = {str(path.relative_to(package)): list(defaults(path)) for path in package.rglob("*.py")}
    assert ("Limits", "max_idle") in found.pop("policy/observation.py"), "which is made from the table"
    assert found.pop("worker/settings.py") == [("Settings", "sharing")], "the ways that a node offers"
    assert {path: fields for path, fields in found.items() if fields} == {}


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_no_other_table_explains_a_limit(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    begins = [number for number, line in enumerate(lines) if line.endswith(f"{machinetype_keys.COMMAND}: begin -->")]
    limits = [number for number, line in enumerate(lines) if line.startswith(("| `max_starting` |", "| `max_idle` |"))]
    assert len(limits) == 2 * len(begins)


# Values as JSON gives them, some of which one key or another accepts.
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 100_000) | st.floats() | st.text(max_size=20)
    | st.sampled_from(["cernvm", "nfs", "iso", "/a/b.iso", "atlas-1", "vac", "group_atlas.prod", "beat"]),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b_1", "c-d", "/"]), inner, max_size=2),
    max_leaves=3,
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
@given(value=VALUES)
def test_a_rules_schema_accepts_all_that_the_rule_accepts(key: Key, value: Any) -> None:
    plain = {} if isinstance(key.default, Mapping) else key.default
    for each in (value, plain):
        try:
            key.rule(each)
        except ValueError:
            continue
        Draft7Validator(key.rule.schema).validate(each)


def test_a_default_passes_its_own_check() -> None:
    for key in KEYS:
        if key.default is not REQUIRED and key.default is not None:
            assert key.rule(key.default) == key.default, key.name


def test_a_key_is_declared_once_and_its_text_is_one_line() -> None:
    names = [key.name for key in KEYS]
    assert len(set(names)) == len(names)
    for key in KEYS:
        assert key.text.isprintable(), key.name
        assert key.text.endswith("."), key.name


def test_the_inventory_has_the_keys_of_the_table_and_of_the_site() -> None:
    assert set(machinetypes.options()) == ({key.name for key in KEYS} - {"name"}) | machinetypes.SITE_KEYS
    assert {"image", "user_data_files", *machinetypes.FILE_KEYS} == machinetype_keys.CONTROLLER


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_editor_accepts_the_examples(path: Path) -> None:
    assert list(editor().iter_errors(yaml.safe_load(path.read_text("utf-8")))) == []


GOOD: list[dict[str, Any]] = [
    {},
    {"memory_mb": "{{ large }}", "vnc": "{{ debug }}", "sharing": "{{ way }}", "user_data_options": "{{ secrets }}"},
    {"space": None, "max_starting": None, "first_machines": 2, "target_share": 2, "image_checksum": "sha256:00"},
    {"user_data_files": {"hostkey": "keys/host key.pem"}, "user_data_options": {"n": 2, "t": "a\nb"}},
    {"machinefeatures": {"rack": 12, "row": "{{ row }}"}, "evidence_cpu_fraction": 0, "hs06": 88.5},
]


@pytest.mark.parametrize("keys", GOOD)
def test_an_editor_accepts_what_the_role_takes(keys: dict[str, Any]) -> None:
    site = {"vacuum_machinetypes": {"atlas": {**ATLAS, **keys}}, "another_variable": 1}
    assert list(editor().iter_errors(site)) == []


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"max_idel": 3}, "max_idel"),
    ({"kind": "docker"}, "kind"),
    ({"kind": None}, "kind"),
    ({"memory_mb": "lots"}, "memory_mb"),
    ({"max_idle": -1}, "max_idle"),
    ({"first_machines": 1.5}, "first_machines"),
    ({"evidence_cpu_fraction": 30}, "evidence_cpu_fraction"),
    ({"vnc": "yes"}, "vnc"),
    ({"accounting_group": "a b"}, "accounting_group"),
    ({"user_data_options": {"a-b": "x"}}, "user_data_options"),
    ({"name": "atlas"}, "name"),
]


@pytest.mark.parametrize(("keys", "named"), WRONG)
def test_an_editor_marks_what_the_role_refuses(keys: dict[str, Any], named: str) -> None:
    found = list(editor().iter_errors({"vacuum_machinetypes": {"atlas": {**ATLAS, **keys}}}))
    assert found
    assert named in json.dumps([[*error.absolute_path, error.message, *map(str, flat(error))] for error in found])


def flat(error: Any) -> list[Any]:
    """The parts of an error below an anyOf: their paths and messages."""
    return [part for inner in error.context for part in (*inner.absolute_path, inner.message, *flat(inner))]


@pytest.mark.parametrize("name", ["Atlas", "a/b", ""])
def test_an_editor_marks_a_wrong_name_and_a_missing_key(name: str) -> None:
    assert list(editor().iter_errors({"vacuum_machinetypes": {name: ATLAS}}))
    for key in ATLAS:
        part = {word: value for word, value in ATLAS.items() if word != key}
        assert list(editor().iter_errors({"vacuum_machinetypes": {"atlas": part}}))
