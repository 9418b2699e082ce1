# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The variables that a site may set: those of the roles' argument specs, and the playbooks' own."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

COLLECTION = Path(__file__).resolve().parents[2]
OWN_PREFIX = "vacuum_"

# Which roles run on the hosts of a group: playbooks/site.yml.
ROLES_OF_GROUP: Mapping[str, tuple[str, ...]] = {
    "central_manager": ("pool", "shares"),
    "access_point": ("pool", "runtime", "factory", "monitoring"),
    "worker_node": ("pool", "runtime", "worker", "monitoring"),
}
# Many sites have variables of their own that begin with its name.
COMMON_NAMES = frozenset({"monitoring"})
GROUPS = tuple(ROLES_OF_GROUP)

# Where machinetypes are set.
OWN, PIPES, FACTORY = MACHINETYPES = ("vacuum_machinetypes", "vacuum_pipes", "factory_machinetypes")

# The playbooks' own variables, in the form of an argument spec.
PLAYBOOKS: Mapping[str, Mapping[str, Any]] = {
    OWN: {"type": "dict"},
    PIPES: {"type": "dict"},
    "vacuum_http_proxy": {"type": "str", "no_log": True},
    "vacuum_no_proxy": {"type": "list", "elements": "str"},
    "vacuum_manage_pool": {"type": "bool"},
    "vacuum_monitoring": {"type": "bool"},
    "vacuum_owner_ids": {"type": "dict"},
    "vacuum_remove_machinetypes": {"type": "list", "elements": "str"},
    "vacuum_ignore_variables": {"type": "list", "elements": "str"},
    "vacuum_ignore_groups": {"type": "list", "elements": "str"},
    "vacuum_drain": {"type": "str", "choices": ["drain", "undrain"]},
    "vacuum_drain_notice": {"type": "int"},
    "vacuum_drain_wait": {"type": "int"},
    "vacuum_drain_all": {"type": "bool"},
    "vacuum_smoke_start_timeout": {"type": "int"},
    "vacuum_smoke_timeout": {"type": "int"},
    "vacuum_verify_json": {"type": "path"},
    "vacuum_verify_all": {"type": "bool"},
    "vacuum_upgrade_canary": {"type": "str"},
    "vacuum_upgrade_serial": {"type": "str"},
    "vacuum_upgrade_drain": {"type": "bool"},
    "vacuum_rollback_all": {"type": "bool"},
    "vacuum_remove_all": {"type": "bool"},
    "vacuum_remove_force": {"type": "bool"},
    "vacuum_remove_packages": {"type": "list", "elements": "str"},
    "vacuum_remove_start": {"type": "list", "elements": "str"},
}


@functools.lru_cache(maxsize=1)
def options() -> dict[str, Mapping[str, Any]]:
    """Variable → its entry in an argument spec, of all that a site may set."""
    found = dict(PLAYBOOKS)
    for path in sorted(COLLECTION.glob("roles/*/meta/argument_specs.yml")):
        found.update(_load(path)["argument_specs"]["main"]["options"])
    return found


@functools.lru_cache(maxsize=1)
def prefixes() -> tuple[str, ...]:
    """What the name of nearly every variable of the collection begins with one of, and no other variable does."""
    roles = sorted({path.name for path in COLLECTION.glob("roles/*") if path.is_dir()} - COMMON_NAMES)
    return (OWN_PREFIX, *(f"{role}_" for role in roles))


@functools.lru_cache(maxsize=1)
def internal() -> frozenset[str]:
    """Variables that roles and playbooks set themselves; after a role has run its hosts have them."""
    found: set[str] = set()
    for path in COLLECTION.glob("roles/*/vars/*.yml"):
        found.update(_load(path))
    for pattern in ("roles/*/tasks/*.yml", "playbooks/*.yml", "playbooks/tasks/*.yml"):
        for path in COLLECTION.glob(pattern):
            found.update(re.findall(r"^ +register: (\w+)$", path.read_text("utf-8"), re.MULTILINE))
    return frozenset(found)


def of_roles(roles: tuple[str, ...]) -> tuple[str, ...]:
    """The prefixes of variables that matter where these roles run."""
    return (OWN_PREFIX, *(f"{role}_" for role in roles))


def _load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text("utf-8")) or {}
    return found
