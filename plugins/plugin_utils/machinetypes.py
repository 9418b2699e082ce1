# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A site's machinetypes as inventory data: checked by the role's argument spec, and as files of the access point."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import (
    MACHINETYPE_NAME,
    MACHINETYPE_NAME_REMEDY,
)
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import shares

VARIABLE = "vacuum_machinetypes"
SPECS = Path(__file__).resolve().parents[2] / "roles" / "factory" / "meta" / "argument_specs.yml"
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")

# Keys for what the site does for a machinetype; its VMs and its factory do not have them.
SITE_KEYS = frozenset({"image_checksum", "image_signing_dn", "image_ca", "target_share"})
# Keys that name a file on the controller; the access point keeps it under the machinetype's name with this suffix.
FILE_KEYS = {"user_data": "user_data", "root_public_key": "pub", "submit_file": "sub"}
# Keys for which the program that reads the machinetype has a default of its own.
_COMMON = ("version_added", "description", "default", "required")


class MachinetypeError(AnsibleError):  # type: ignore[misc]
    """Inventory data that no machinetype can be made of; the message names the key."""


@functools.lru_cache(maxsize=1)
def options() -> dict[str, dict[str, Any]]:
    """Key → its entry in the argument spec."""
    spec = yaml.safe_load(SPECS.read_text(encoding="utf-8"))
    found: dict[str, dict[str, Any]] = spec["argument_specs"]["machinetype"]["options"]
    return found


def required() -> frozenset[str]:
    """The keys that every machinetype has."""
    return frozenset(key for key, option in options().items() if option.get("required"))


def checked(machinetypes: object, variable: str = VARIABLE) -> dict[str, dict[str, Any]]:
    """The machinetypes with every value of its key's type (a template's "4" is 4). Raises MachinetypeError.

    Keys that are null are left out, and no defaults are filled in.
    """
    if not isinstance(machinetypes, Mapping):
        raise MachinetypeError(f"{variable}: must be a mapping of name to machinetype")
    return {str(name): _checked(str(name), data, f"{variable}.{name}") for name, data in machinetypes.items()}


def _checked(name: str, data: object, source: str) -> dict[str, Any]:
    if not re.fullmatch(MACHINETYPE_NAME, name):
        raise MachinetypeError(f"{source}: the name {MACHINETYPE_NAME_REMEDY}")
    given = {key: value for key, value in typed(data, source).items() if value is not None}
    for key in sorted(required() - set(given)):
        raise MachinetypeError(f"{source}.{key}: missing; add it")
    return given


def typed(data: object, source: str) -> dict[str, Any]:
    """Some keys of a machinetype with every value of its key's type; null stays. Raises MachinetypeError."""
    if not isinstance(data, Mapping):
        raise MachinetypeError(f"{source}: must be a mapping of keys to values")
    result: dict[str, Any] = {}
    for word, value in data.items():
        key = str(word)
        if key not in options():
            raise MachinetypeError(f"{source}.{key}: unknown key; correct it to one of {', '.join(sorted(options()))}")
        if value is None:
            result[key] = None
            continue
        bare = {word: item for word, item in options()[key].items() if word not in _COMMON}
        outcome = ArgumentSpecValidator({key: bare}).validate({key: value})
        if outcome.error_messages:
            raise MachinetypeError(f"{source}.{key}: {outcome.error_messages[0]}")
        result[key] = outcome.validated_parameters[key]
        if isinstance(result[key], Mapping):
            result[key] = {str(word): _text(item) for word, item in result[key].items()}
    return result


def _text(value: object) -> object:
    """A number of YAML as the text that it stands for; anything else is judged where the file is read."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def document(
    data: Mapping[str, Any], name: str, directory: str, image: str, defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """The machinetype's file on the access point: its inventory data with paths as they are in the pool.

    ``image`` is the path of its image on worker nodes, ``defaults`` are keys that the role sets where the inventory
    does not (owner, space, ...).
    """
    made = {**defaults, **data, "name": name}
    for key in SITE_KEYS:
        made.pop(key, None)
    group = shares.accounting_group(name, data)
    if group is not None:
        made["accounting_group"] = group
    made["image"] = image
    for key, suffix in FILE_KEYS.items():
        if data.get(key) and not URL.match(data[key]):
            made[key] = f"{directory}/{name}.{suffix}"
    if data.get("user_data_files"):
        made["user_data_files"] = {
            option: f"{directory}/{name}.file.{option}" for option in sorted(data["user_data_files"])
        }
    return made


def sources(data: Mapping[str, Any], name: str) -> dict[str, tuple[str, str]]:
    """File name on the access point → (key, source on the controller) of each file that a machinetype names."""
    found = {
        f"{name}.{suffix}": (key, data[key])
        for key, suffix in FILE_KEYS.items()
        if data.get(key) and not URL.match(data[key])
    }
    files = {
        f"{name}.file.{option}": (f"user_data_files.{option}", str(source))
        for option, source in sorted(data.get("user_data_files", {}).items())
    }
    return {**found, **files}
