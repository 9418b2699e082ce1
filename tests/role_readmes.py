# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes each role's README and the table of docs/machinetypes.md from the argument specs; ``--check`` only looks."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
ROLES = ROOT / "roles"
MACHINETYPES = ROOT / "docs" / "machinetypes.md"
# Where the table of machinetypes.md begins and ends; everything else of it is written by hand.
BEGIN, END = "<!-- made by python -m tests.role_readmes: begin -->\n", "<!-- end -->\n"


def text(value: Any) -> str:
    """A description, one string or a list of them, as one table cell."""
    sentences = value if isinstance(value, list) else [value]
    return " ".join(str(sentence).strip() for sentence in sentences).replace("|", "\\|")


def marked(value: Any) -> str:
    """A description with Ansible's marks (C(...), V(...), O(...)) as Markdown's."""
    return re.sub(
        r"\b[CVO]\(((?:[^()]|\([^()]*\))*)\)", lambda found: f"`{found[1].rpartition('main:')[2]}`", text(value)
    )


def kind(option: dict[str, Any]) -> str:
    """Type and choices of an option."""
    words = str(option.get("type", "str"))
    if "elements" in option:
        words += f" of {option['elements']}"
    if "choices" in option:
        words += ": " + ", ".join(f"`{choice}`" for choice in option["choices"])
    return words


def default(option: dict[str, Any]) -> str:
    """What holds where the option is not given."""
    if option.get("required"):
        return "(required)"
    value = option.get("default")
    return "" if value is None else f"`{value}`" if value != "" else "(empty)"


def options(entry: str, role: str) -> dict[str, Any]:
    """The options of an entry point of a role."""
    specs = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text("utf-8"))
    found: dict[str, Any] = specs["argument_specs"][entry]["options"]
    return found


def machinetypes() -> str:
    """docs/machinetypes.md with the table as it should be."""
    before, _, rest = MACHINETYPES.read_text("utf-8").partition(BEGIN)
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {kind(option)} | {default(option)} | {marked(option['description'])} |"
        for name, option in options("machinetype", "factory").items()
    ]
    return before + BEGIN + "\n".join(lines) + "\n" + END + rest.partition(END)[2]


def readme(role: Path) -> str:
    """The README of a role, from meta/argument_specs.yml."""
    spec = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text("utf-8"))["argument_specs"]["main"]
    lines = [f"# Role {role.name}", "", spec["short_description"] + ".", ""]
    lines += [f"{sentence}" for sentence in spec["description"]]
    lines += ["", "| variable | type | default | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {kind(option)} | {default(option)} | {text(option['description'])} |"
        for name, option in spec["options"].items()
    ]
    lines += ["", "This file is made from `meta/argument_specs.yml` by `python -m tests.role_readmes`.", ""]
    return "\n".join(lines)


def main() -> int:
    """Write or check the README of every role, and the table of machinetypes."""
    check = "--check" in sys.argv[1:]
    stale = []
    roles = sorted(path.parent.parent for path in ROLES.glob("*/meta/argument_specs.yml"))
    made = {MACHINETYPES: machinetypes(), **{role / "README.md": readme(role) for role in roles}}
    for path, wanted in made.items():
        if not path.exists() or path.read_text("utf-8") != wanted:
            stale.append(path.relative_to(ROOT))
            if not check:
                path.write_text(wanted, "utf-8")
    for name in stale:
        print(f"{name}: {'out of date; run python -m tests.role_readmes' if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
