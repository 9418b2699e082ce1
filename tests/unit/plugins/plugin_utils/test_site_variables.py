# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables that a site may set are those that playbooks, roles and documents have."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import site_variables

ROOT = Path(__file__).resolve().parents[4]


def test_every_role_of_a_group_is_one_that_the_playbook_runs_there() -> None:
    plays = yaml.safe_load((ROOT / "playbooks/site.yml").read_text())
    found: dict[str, set[str]] = {group: set() for group in site_variables.GROUPS}
    for play in plays:
        for task in play["tasks"]:
            role = task.get("ansible.builtin.import_role", {}).get("name", "").rpartition(".")[2]
            for group in play["hosts"].split(":") if role else ():
                found[group].add(role)
    # The role worker has runtime as a dependency.
    found["worker_node"].add("runtime")
    assert {group: set(roles) for group, roles in site_variables.ROLES_OF_GROUP.items()} == found


def test_prefixes_are_the_roles_names_and_the_playbooks_own() -> None:
    roles = {path.name for path in (ROOT / "roles").iterdir()}
    assert set(site_variables.prefixes()) == {"vacuum_", *(f"{role}_" for role in roles)}
    assert all(name.startswith(site_variables.prefixes()) for name in site_variables.options())


def test_every_variable_of_playbooks_and_roles_is_one_that_a_site_may_set_or_is_set_there() -> None:
    paths = [*(ROOT / "playbooks").glob("*.yml"), *(ROOT / "roles").rglob("*.yml"), *(ROOT / "roles").rglob("*.j2")]
    used = {name for path in paths for name in re.findall(r"\bvacuum_[a-z_]+\b", path.read_text("utf-8"))}
    plays = [play for path in (ROOT / "playbooks").glob("*.yml") for play in yaml.safe_load(path.read_text("utf-8"))]
    local = {name for play in plays for part in (play, *play.get("tasks", ())) for name in part.get("vars", {})}
    assert used - local - site_variables.internal() <= set(site_variables.options())
    unused = set(site_variables.PLAYBOOKS) - used
    assert unused == {"vacuum_ignore_groups", "vacuum_ignore_variables"}


def test_what_roles_register_and_set_is_known_to_be_their_own() -> None:
    assert {"worker_daemons", "worker_settings", "pool_token", "vacuum_drained"} <= site_variables.internal()
    assert not site_variables.internal() & set(site_variables.options())


def test_the_page_has_every_variable_of_the_playbooks() -> None:
    page = (ROOT / "docs/inventory.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(vacuum_\w+)`", page, re.MULTILINE)) == set(site_variables.PLAYBOOKS)
