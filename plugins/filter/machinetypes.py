# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters from a site's machinetypes (inventory data) to files on access points and worker nodes."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

# Keys of the inventory that name a file on the controller; the access point keeps it under the given suffix.
FILE_KEYS = {"user_data": "user_data", "root_public_key": "pub", "submit_file": "sub"}


def _check(machinetypes: object) -> Mapping[str, Mapping[str, Any]]:
    """The machinetypes as a mapping of mappings; raises AnsibleFilterError naming what is not one."""
    if not isinstance(machinetypes, Mapping):
        raise AnsibleFilterError("vacuum_machinetypes: must be a mapping of name to machinetype")
    for name, machinetype in machinetypes.items():
        if not isinstance(machinetype, Mapping):
            raise AnsibleFilterError(f"vacuum_machinetypes.{name}: must be a mapping of keys to values")
        if not isinstance(machinetype.get("image"), str):
            raise AnsibleFilterError(f"vacuum_machinetypes.{name}.image: missing; name a file or https URL")
    return machinetypes


def images(machinetypes: object) -> dict[str, dict[str, str]]:
    """File name on the worker node → {source, checksum} of every image that the machinetypes boot.

    Raises AnsibleFilterError where one file name stands for two sources, or a URL has no checksum.
    """
    found: dict[str, dict[str, str]] = {}
    for name, machinetype in _check(machinetypes).items():
        source = machinetype["image"]
        image = {"source": source, "checksum": str(machinetype.get("image_checksum", ""))}
        base = posixpath.basename(source)
        if "://" in source and not image["checksum"]:
            raise AnsibleFilterError(
                f"vacuum_machinetypes.{name}.image_checksum: missing; an image from the web needs one"
            )
        if found.setdefault(base, image) != image:
            raise AnsibleFilterError(
                f"vacuum_machinetypes.{name}.image: another machinetype has a different image named {base}; "
                "rename one, or give both the same checksum"
            )
    return found


def machinetype_files(machinetypes: object, directory: str) -> list[dict[str, str]]:
    """The controller's files that the machinetypes name: list of {source, dest}, dest in ``directory``."""
    files = []
    for name, machinetype in _check(machinetypes).items():
        for key, suffix in FILE_KEYS.items():
            if machinetype.get(key):
                files.append({"source": machinetype[key], "dest": f"{directory}/{name}.{suffix}"})
        for option, source in sorted(machinetype.get("user_data_files", {}).items()):
            files.append({"source": source, "dest": f"{directory}/{name}.file.{option}"})
    return files


def machinetype_document(
    machinetype: Mapping[str, Any], name: str, directory: str, image_dir: str, defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """The machinetype's file on the access point: its inventory data with paths as they are in the pool.

    ``defaults`` are keys that the role sets where the inventory does not (owner, space, ...).
    """
    document = {**defaults, **machinetype, "name": name}
    document.pop("image_checksum", None)
    document["image"] = f"{image_dir}/{posixpath.basename(machinetype['image'])}"
    for key, suffix in FILE_KEYS.items():
        if machinetype.get(key):
            document[key] = f"{directory}/{name}.{suffix}"
    if machinetype.get("user_data_files"):
        document["user_data_files"] = {
            option: f"{directory}/{name}.file.{option}" for option in sorted(machinetype["user_data_files"])
        }
    return document


def state_directory(item: Mapping[str, Any], root: str, owner: str) -> dict[str, str]:
    """The directory, {path, owner, mode}, of the factory of one ``dict2items`` item of the machinetypes."""
    return {"path": f"{root}/{item['key']}", "owner": item["value"].get("owner", owner), "mode": "0755"}


class FilterModule:
    """Ansible's entry point to the filters."""

    def filters(self) -> dict[str, Any]:
        """Name → function of each filter."""
        return {
            "images": images,
            "machinetype_files": machinetype_files,
            "machinetype_document": machinetype_document,
            "state_directory": state_directory,
        }
