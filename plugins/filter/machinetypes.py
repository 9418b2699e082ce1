# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters from a site's machinetypes (inventory data) to what worker nodes need for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.vacuum.htcondor.plugins.module_utils._machinetype.pipes import prefix_of
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import image_files, shares
from ansible_collections.vacuum.htcondor.plugins.plugin_utils.machinetypes import required


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


def images(machinetypes: object, pipes: object = None) -> dict[str, dict[str, Any]]:
    """File name on the worker node → {source, checksum, signing_dn, ca} of every image that machinetypes boot.

    ``optional`` is true besides where only machinetypes of ``pipes`` (prefix to pipe) boot it, and ``private_hosts`` is
    given where only pipes wrote its URL. Raises AnsibleFilterError naming the machinetype that has none.
    """
    wanted = _check(machinetypes)
    prefixes = tuple(f"{prefix}-" for prefix in pipes) if isinstance(pipes, Mapping) else ()
    files = image_files.names(wanted)
    found: dict[str, dict[str, Any]] = {file: {**image_files.image(wanted[name])} for name, file in files.items()}
    for file in set(found) - {file for name, file in files.items() if not f"{name}-".startswith(prefixes)}:
        found[file]["optional"] = True
    for file, image in found.items():
        hosts = [_private_hosts(wanted[name]) for name, its in files.items() if its == file]
        if None not in hosts:
            image["private_hosts"] = ",".join(sorted({text for text in hosts if text}))
    return found


def _private_hosts(machinetype: Mapping[str, Any]) -> str | None:
    """The private hosts that a machinetype's image may be from; None where the site itself wrote its URL."""
    written = machinetype.get("pipe_urls")
    return str(written["image"]) if isinstance(written, Mapping) and "image" in written else None


def silent_pipes(machinetypes: object, pipes: object, own: object = None) -> list[str]:
    """The prefixes of the pipes that offer none of the machinetypes: they could not be read, or are damaged as a whole.

    ``own`` are the machinetypes that the site defines itself. What the pool has of a silent pipe has to stay.
    """
    prefixes = [str(prefix) for prefix in pipes] if isinstance(pipes, Mapping) else []
    sites = own if isinstance(own, Mapping) else {}
    whole = {name for name, keys in sites.items() if isinstance(keys, Mapping) and required() <= set(keys)}
    offering = {prefix_of(str(name), prefixes) for name in _check(machinetypes) if name not in whole}
    return [prefix for prefix in prefixes if prefix not in offering]


def share_quotas(machinetypes: object) -> dict[str, float]:
    """Accounting group → its part of its parent. Raises AnsibleFilterError naming machinetype and key."""
    return _of_groups(shares.quotas, machinetypes)


def share_factors(machinetypes: object) -> dict[str, float]:
    """Accounting group → its priority factor. Raises AnsibleFilterError naming machinetype and key."""
    return _of_groups(shares.factors, machinetypes)


def _of_groups(
    figures: Callable[[Mapping[str, Mapping[str, Any]]], dict[str, float]], machinetypes: object
) -> dict[str, float]:
    try:
        return figures(_check(machinetypes))
    except ValueError as error:
        raise AnsibleFilterError(f"vacuum_machinetypes.{error}") from error


class FilterModule:
    """Ansible's entry point to the filters."""

    def filters(self) -> dict[str, Any]:
        """Name → function of each filter."""
        return {
            "images": images,
            "share_factors": share_factors,
            "share_quotas": share_quotas,
            "silent_pipes": silent_pipes,
        }
