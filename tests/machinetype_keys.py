# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes what is made from the key table (src/condor_vac/model/machinetype_keys.py); ``--check`` only compares.

Fields of Machinetype and of the policy's Limits, the role's argument spec, tables in docs, the JSON Schema for editors.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests import generated, role_readmes

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from condor_vac.model.machinetype_keys import BY_NAME, KEYS, REQUIRED, Key, with_defaults  # noqa: E402

COMMAND = "python -m tests.machinetype_keys"
SPEC = "roles/factory/meta/argument_specs.yml"
SCHEMA = "docs/machinetypes.schema.json"

# In the inventory the name is the mapping's key, and the role fills in the owner.
BY_ROLE = frozenset({"name", "owner"})
# In the inventory these name files on the controller, of any path.
CONTROLLER = frozenset({"image", "user_data", "user_data_files", "root_public_key", "submit_file"})
ROLE_VARIABLES = frozenset({"factory_gocdb_sitename", "factory_owner", "factory_space"})
# The variables that hold machinetypes.
VARIABLES = ("vacuum_machinetypes", "factory_machinetypes")

PYTHON = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "object": "Mapping[str, str]"}
ANSIBLE = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "object": "dict"}
UNITS = {"s": "seconds"}
# What a value of the inventory may be besides: an expression for Ansible, or nothing.
TEMPLATE = {"type": "string", "pattern": r"\{\{"}


def kind(key: Key) -> str:
    """JSON's type of a key's values, without null."""
    found = key.rule.schema["type"]
    return str(found if isinstance(found, str) else found[0])


def optional(key: Key) -> bool:
    """Whether null is a value of the key."""
    return "null" in key.rule.schema["type"]


def plain(value: Any) -> Any:
    """A default as JSON and YAML can hold it."""
    return dict(value) if isinstance(value, Mapping) else value


def described(key: Key) -> str:
    """The key's text, with a default that follows ``max_machines``."""
    if not key.capped:
        return key.text
    more = f" or 1 for {key.part} of `max_machines` if that is more," if key.part else ""
    return f"{key.text} The default is {key.default},{more} or `max_machines` if that is less."


def default(key: Key) -> dict[str, Any]:
    """``{"default": …}`` of a key in the inventory, empty where there is none or it follows other keys."""
    return {} if key.default is None or key.default is REQUIRED or key.capped else {"default": plain(key.default)}


# -- Python -----------------------------------------------------------------------------------------------


def machinetype_fields() -> str:
    """The annotations of ``Machinetype``."""
    lines = [f"    {key.name}: {PYTHON[kind(key)]}{' | None' if optional(key) else ''}" for key in KEYS]
    return "\n".join(lines) + "\n"


def limits_fields() -> str:
    """The fields of the policy's ``Limits``, times as float."""
    lines = []
    for key in KEYS:
        if key.policy:
            of = "float" if key.unit == "s" else PYTHON[kind(key)]
            value = float(key.default) if of == "float" else with_defaults({}, [key.name])[key.name]
            lines.append(f"    {key.name}: {of}{' | None' if optional(key) else ''} = {value}")
    return "\n".join(lines) + "\n"


# -- The role's argument spec -----------------------------------------------------------------------------


def marks(key: Key) -> str:
    """The key's text with Ansible's marks: O(option), V(value), C(anything else)."""
    choices = key.rule.schema.get("enum", ())

    def mark(found: re.Match[str]) -> str:
        word = found[1]
        if word in ROLE_VARIABLES:
            return f"O(main:{word})"
        return f"O({word})" if word in BY_NAME else f"V({word})" if word in choices else f"C({word})"

    return re.sub(r"`([^`]+)`", mark, described(key))


def option(key: Key) -> str:
    """The key's lines in the spec."""
    text = marks(key)
    lines = [f"{key.name}:", f"  description: {text}"]
    if len(text) > 130 or ": " in text:
        folded = textwrap.wrap(text, 140, break_long_words=False, break_on_hyphens=False)
        lines[1:] = ["  description: >-", *(f"    {line}" for line in folded)]
    lines.append(f"  type: {ANSIBLE[kind(key)]}")
    if "enum" in key.rule.schema:
        lines.append(f"  choices: [{', '.join(key.rule.schema['enum'])}]")
    if key.default is REQUIRED and key.name not in BY_ROLE:
        lines.append("  required: true")
    lines += [f"  default: {json.dumps(value)}" for value in default(key).values()]
    return textwrap.indent("\n".join(lines), " " * 6) + "\n"


def spec(text: str) -> str:
    """The role's spec with the options of the table; those of the site, which are not in it, stay where they are."""
    head, options, body = text.partition("  machinetype:\n")
    begin, found, body = body.partition("    options:\n")
    site: dict[str, str] = {}
    key = ""
    for block in re.split(r"^(?=      \w)", body, flags=re.MULTILINE):
        name = block.strip().partition(":")[0]
        if name in BY_NAME:
            key = name
        elif name:
            site[key] = site.get(key, "") + block
    made = [option(key) + site.get(key.name, "") for key in KEYS if key.name != "name"]
    return head + options + begin + found + "".join(made)


def site_options(text: str) -> dict[str, dict[str, Any]]:
    """Key → entry of a spec's options for machinetypes, in their order."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)["argument_specs"]["machinetype"]["options"]
    return found


# -- docs -------------------------------------------------------------------------------------------------


def unit(name: str) -> str:
    """The unit of a key, to be put behind its type."""
    found = BY_NAME[name].unit if name in BY_NAME else ""
    return f", {UNITS.get(found, found)}" if found else ""


def all_keys(options: Mapping[str, dict[str, Any]]) -> str:
    """The table of docs/machinetypes.md."""
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, entry in options.items():
        cells = (f"`{name}`", role_readmes.kind(entry) + unit(name), role_readmes.default(entry))
        lines.append(f"| {' | '.join(cells)} | {role_readmes.marked(entry['description'])} |")
    return "\n".join(lines) + "\n"


def policy_keys() -> str:
    """The table of docs/factory.md."""
    rows = [f"| `{key.name}` | {described(key)} |" for key in KEYS if key.policy]
    return "\n".join(["| key | meaning |", "|---|---|", *rows]) + "\n"


# -- JSON Schema ------------------------------------------------------------------------------------------


def accepted(key: Key) -> dict[str, Any]:
    """The schema of the key's values in the inventory."""
    found = dict(key.rule.schema)
    if key.name in CONTROLLER:
        found.pop("pattern", None)
    if "additionalProperties" in found:
        of_path = key.name in CONTROLLER
        values = {"type": "string"} if of_path else {**found["additionalProperties"], "type": ["string", "number"]}
        found["additionalProperties"] = values
    return found


def of_key(name: str, options: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The schema of one key of the inventory."""
    entry, key = options[name], BY_NAME.get(name)
    types = {of: json_type for json_type, of in ANSIBLE.items()}
    values = {"type": types[entry["type"]]} if key is None else accepted(key)
    others = [TEMPLATE] if entry.get("required") else [TEMPLATE, {"type": "null"}]
    text = role_readmes.marked(entry["description"])
    shown = {} if key is None else default(key)
    return {"description": f"{text}{f' ({key.unit})' if key and key.unit else ''}", **shown, "anyOf": [values, *others]}


def schema(options: Mapping[str, dict[str, Any]]) -> str:
    """The schema of an inventory file with machinetypes; other variables of the file are not checked."""
    machinetypes = {
        "description": "Name (lower-case letters, digits and -) to machinetype.",
        "anyOf": [
            {
                "type": "object",
                "propertyNames": BY_NAME["name"].rule.schema,
                "additionalProperties": {"$ref": "#/definitions/machinetype"},
            },
            TEMPLATE,
        ],
    }
    machinetype = {
        "type": "object",
        "properties": {name: of_key(name, options) for name in options},
        "required": [name for name, entry in options.items() if entry.get("required")],
        "additionalProperties": False,
    }
    data = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": f"made by {COMMAND}",
        "title": "vacuum.htcondor: inventory variables with machinetypes",
        "type": "object",
        "properties": {name: {"$ref": "#/definitions/machinetypes"} for name in VARIABLES},
        "definitions": {"machinetypes": machinetypes, "machinetype": machinetype},
    }
    return json.dumps(data, indent=1) + "\n"


# -- Files ------------------------------------------------------------------------------------------------


def between(path: str, made: str, begin: str, end: str) -> str:
    """The file with ``made`` between its marks. Raises ValueError where it has none."""
    text = (ROOT / path).read_text("utf-8")
    before, found, rest = text.partition(begin)
    if not found or end not in rest:
        raise ValueError(f"{path}: has no lines {begin.strip()!r} and {end.strip()!r}; add them where the keys belong")
    return before + found + made + end + rest.partition(end)[2]


def files() -> dict[str, str]:
    """Path → what it should hold."""
    role = spec((ROOT / SPEC).read_text("utf-8"))
    options = site_options(role)
    python = (f"    # made by {COMMAND}: begin\n", "    # end\n")
    page = (f"<!-- made by {COMMAND}: begin -->\n", "<!-- end -->\n")
    fields = {
        "src/condor_vac/model/machinetype.py": machinetype_fields(),
        "src/condor_vac/policy/observation.py": limits_fields(),
    }
    tables = {"docs/machinetypes.md": all_keys(options), "docs/factory.md": policy_keys()}
    return {
        **{path: between(path, made, *python) for path, made in fields.items()},
        **{path: between(path, made, *page) for path, made in tables.items()},
        SPEC: role,
        SCHEMA: schema(options),
    }


def outdated() -> dict[str, str]:
    """Path → what it should hold, of the files that do not."""
    return generated.outdated(ROOT, files())


def main() -> int:
    """Write the files, or with ``--check`` name those that are out of date (exit code 1)."""
    return generated.write(ROOT, outdated(), COMMAND)


if __name__ == "__main__":
    sys.exit(main())
