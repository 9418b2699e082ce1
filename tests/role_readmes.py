# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes each role's README from its argument specs; ``--check`` only looks.

Of a README, the sections from "Example play" to "Variables" are written by hand; the others are made.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

from tests import generated

ROOT = Path(__file__).resolve().parent.parent
ROLES = ROOT / "roles"
# Where the sections of a README that are written by hand begin and end.
EXAMPLE, VARIABLES = "## Example play\n", "## Variables\n"


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


def dependencies(role: Path) -> list[str]:
    """Lines about the roles that a role brings."""
    wanted = yaml.safe_load((role / "meta" / "main.yml").read_text("utf-8"))["dependencies"]
    if not wanted:
        return ["No other role."]
    lines = []
    for one in wanted:
        given = ", ".join(f"`{name}: [{', '.join(value)}]`" for name, value in one.get("vars", {}).items())
        lines.append(f"- `{one['role']}`" + (f" with {given}" if given else "") + ": runs before this role, by itself.")
    return lines


def tags(role: Path) -> list[str]:
    """Lines about the tags of a role's steps."""
    tasks = yaml.safe_load((role / "tasks" / "main.yml").read_text("utf-8"))
    steps = [task for task in tasks if task.get("tags", ["always"]) != ["always"]]
    if not steps:
        return ["None: the role is one step."]
    found: dict[str, list[str]] = {}
    for task in steps:
        for tag in task["tags"]:
            found.setdefault(tag, []).append(task["name"])
    return ["| tag | step |", "|---|---|", *(f"| `{tag}` | {'; '.join(names)} |" for tag, names in found.items())]


def by_hand(path: Path) -> str:
    """The sections of a README that no program writes. Raises ValueError where there are none."""
    content = path.read_text("utf-8") if path.exists() else ""
    if EXAMPLE not in content or VARIABLES not in content:
        raise ValueError(f"{path.relative_to(ROOT)}: write the sections {EXAMPLE.strip()} to {VARIABLES.strip()} first")
    return EXAMPLE + content.partition(EXAMPLE)[2].partition(VARIABLES)[0]


def readme(role: Path) -> str:
    """The README of a role: what meta and tasks describe, and what is written by hand."""
    spec = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text("utf-8"))["argument_specs"]["main"]
    lines = [f"# Role {role.name}", "", spec["short_description"] + ".", ""]
    lines += [marked(sentence) for sentence in spec["description"]]
    lines += ["", by_hand(role / "README.md").rstrip(), "", VARIABLES]
    lines += ["| variable | type | default | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {kind(option)} | {default(option)} | {marked(option['description'])} |"
        for name, option in spec["options"].items()
    ]
    lines += ["", "## Dependencies", "", *dependencies(role), "", "## Tags", "", *tags(role), ""]
    lines += ["The sections but the example and the requirements are made from `meta` and `tasks` by "]
    lines[-1] += "`python -m tests.role_readmes`."
    return "\n".join([*lines, ""])


def main() -> int:
    """Write the README of every role, or with ``--check`` name those that are out of date (exit code 1)."""
    roles = sorted(path.parent.parent for path in ROLES.glob("*/meta/argument_specs.yml"))
    made = {str((role / "README.md").relative_to(ROOT)): readme(role) for role in roles}
    return generated.write(ROOT, generated.outdated(ROOT, made), "python -m tests.role_readmes")


if __name__ == "__main__":
    sys.exit(main())
