# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a machinetype of the inventory could be deployed, by the rules of the programs that read it in the pool.

The play and ``condor_vac pipe`` ask the same function, so that the preview never calls good what the play refuses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from condor_vac.base import public_hosts, urls
from condor_vac.base.errors import VacError
from condor_vac.base.shared import IMAGE_DIRECTORY, MACHINETYPES_DIRECTORY, image_name
from condor_vac.model.machinetype import Machinetype

# Keys of the inventory for what the site does for a machinetype; its VMs and its factory do not have them.
_SITE_KEYS = ("image_checksum", "image_signing_dn", "image_ca", "target_share")
_FILES = ("root_public_key", "submit_file")


def reason(name: str, keys: Mapping[str, Any]) -> str | None:
    """Why the machinetype could not be deployed, as ``KEY: remedy``; None if it could."""
    try:
        if isinstance(keys.get("image"), str) and urls.is_url(keys["image"]):
            _check_image(keys["image"])
        for key, hosts in (keys.get("pipe_urls") or {}).items():
            _check_host(key, keys[key], hosts)
        if isinstance(keys.get("image_signing_dn"), str):
            re.compile(keys["image_signing_dn"])
        Machinetype.from_mapping(_deployed(name, keys), name)
    except re.error as error:
        return f"image_signing_dn: not a regular expression: {error}"
    except VacError as error:
        return str(error).removeprefix(f"{name}: ")
    return None


def _check_image(image: str) -> None:
    """Raises VacError for a URL from which no worker node would take an image."""
    try:
        urls.check_url(image)
    except VacError as error:
        raise VacError(f"image: {error}") from error


def _check_host(key: str, url: str, private_hosts: str) -> None:
    """Raises VacError for a URL of a pipe whose very text is an address of the site's own network."""
    try:
        public_hosts.check(url, public_hosts.named(private_hosts))
    except VacError as error:
        raise VacError(f"{key}: {error}") from error


def _deployed(name: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    """The machinetype with the paths that its files have in the pool."""
    place = f"{MACHINETYPES_DIRECTORY}/{name}"
    made = {"owner": "vac", **{key: value for key, value in keys.items() if key not in _SITE_KEYS}, "name": name}
    if isinstance(keys.get("image"), str):
        made["image"] = f"{IMAGE_DIRECTORY}/{image_name(keys['image'])}"
    if isinstance(keys.get("user_data"), str) and not urls.is_url(keys["user_data"]):
        made["user_data"] = f"{place}.user_data"
    made.update({key: f"{place}.{key}" for key in _FILES if keys.get(key)})
    if isinstance(keys.get("user_data_files"), Mapping):
        made["user_data_files"] = {option: f"{place}.file.{option}" for option in keys["user_data_files"]}
    return made
