# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter that says what is wrong with a site's HTTP proxy."""

from __future__ import annotations

from typing import Any

from ansible_collections.vacuum.htcondor.plugins.plugin_utils import http_proxy


def http_proxy_fault(proxy: object, no_proxy: object, prefix: str) -> str:
    """What is wrong with PREFIX_http_proxy or PREFIX_no_proxy, in one line without a password; empty if nothing is."""
    return http_proxy.fault(proxy, no_proxy, (f"{prefix}_http_proxy", f"{prefix}_no_proxy"))


class FilterModule:
    """Ansible's entry point to the filter."""

    def filters(self) -> dict[str, Any]:
        """Name → function of the filter."""
        return {"http_proxy_fault": http_proxy_fault}
