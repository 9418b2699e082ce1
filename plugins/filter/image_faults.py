# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run says at its end of the images that it could not install or bring up to date."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import one_line

_SHOWN = 3
_REMEDY = (
    "its machinetypes' VMs start only where the node has the image; once it can be fetched, vac_images.timer or the "
    "next run does that (where nodes have no way out: worker_images_from: access_point, or vacuum_http_proxy)"
)


def image_faults(registered: Mapping[str, Mapping[str, Any]]) -> str:
    """One line of host → the registered result of M(vacuum.htcondor.vm_image) in a loop; empty if no image failed.

    Images of pipes (``optional``) are left out. They are reported where they fail, and stop nothing.
    """
    hosts: dict[tuple[str, str], list[str]] = {}
    for host, result in registered.items():
        for name, why in _failed(result):
            hosts.setdefault((name, why), []).append(host)
    lines = [f"{name} ({_some(found)}): {why}" for (name, why), found in hosts.items()]
    return one_line(f"{'; '.join(lines)}: {_REMEDY}") if lines else ""


def _failed(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and cause of each image that failed."""
    for one in result.get("results") or ():
        item = one.get("item")
        if "msg" in one and isinstance(item, Mapping) and not (item.get("value") or {}).get("optional"):
            yield str(item.get("key")), str(one["msg"])


def _some(hosts: list[str]) -> str:
    more = f" and {len(hosts) - _SHOWN} more" if len(hosts) > _SHOWN else ""
    return ", ".join(hosts[:_SHOWN]) + more


class FilterModule:
    """Ansible's entry point to the filter."""

    def filters(self) -> dict[str, Any]:
        """Name → function of the filter."""
        return {"image_faults": image_faults}
