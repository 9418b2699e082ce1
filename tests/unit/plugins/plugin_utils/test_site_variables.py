# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables that a site may set are those that playbooks, roles and documents have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import site_variables

ROOT = Path(__file__).resolve().parents[4]


def tasks_of(play: dict[str, Any]) -> list[dict[str, Any]]:
    """A play's tasks, with those of the files that it imports."""
    found: list[dict[str, Any]] = []
    for task in play.get("tasks", ()):
        path = task.get("ansible.builtin.import_tasks")
        found += yaml.safe_load((ROOT / "playbooks" / path).read_text()) if path else [task]
    return found


def test_every_role_of_a_group_is_one_that_the_playbook_runs_there() -> None:
    plays = yaml.safe_load((ROOT / "playbooks/site.yml").read_text())
    found: dict[str, set[str]] = {group: set() for group in site_variables.GROUPS}
    for play in plays:
        for task in tasks_of(play):
            role = task.get("ansible.builtin.import_role", {}).get("name", "").rpartition(".")[2]
            for group in play["hosts"].split(":") if role else ():
                found[group].add(role)
    # The role worker imports runtime.
    found["worker_node"].add("runtime")
    assert {group: set(roles) for group, roles in site_variables.ROLES_OF_GROUP.items()} == found


def test_prefixes_are_the_roles_names_and_the_playbooks_own() -> None:
    roles = {path.name for path in (ROOT / "roles").iterdir()}
    common = site_variables.COMMON_NAMES
    assert common < roles
    assert set(site_variables.prefixes()) == {"vacuum_", *(f"{role}_" for role in roles - common)}
    known = (*site_variables.prefixes(), *(f"{role}_" for role in common))
    assert all(name.startswith(known) for name in site_variables.options())


def test_a_sites_own_variables_of_monitoring_are_its_own() -> None:
    """Of those that the collection has the values are checked all the same."""
    assert not "monitoring_email".startswith(site_variables.prefixes())
    assert "monitoring_" in site_variables.of_roles(site_variables.ROLES_OF_GROUP["worker_node"])
    assert "monitoring_interval" in site_variables.options()


def test_every_variable_of_playbooks_and_roles_is_one_that_a_site_may_set_or_is_set_there() -> None:
    paths = [*(ROOT / "playbooks").rglob("*.yml"), *(ROOT / "roles").rglob("*.yml"), *(ROOT / "roles").rglob("*.j2")]
    used = {name for path in paths for name in re.findall(r"\bvacuum_[a-z_]+\b", path.read_text("utf-8"))}
    books = [yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / "playbooks").rglob("*.yml")]
    # A file of variables is a mapping.
    plays = [play for book in books if isinstance(book, list) for play in book]
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
