# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the machinetypes' shares to HTCondor's accounting groups and their quotas."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import ACCOUNTING_GROUP, ACCOUNTING_GROUP_REMEDY

# HTCondor's own for a user (DEFAULT_PRIO_FACTOR): no group of the role has less.
PRIO_FACTOR = 1000.0


def accounting_group(name: str, machinetype: Mapping[str, Any]) -> str | None:
    """The group of a machinetype's VMs: its own, one named after it if it has a share, or None."""
    group = machinetype.get("accounting_group")
    if group:
        return str(group)
    return None if machinetype.get("target_share") is None else f"group_{name.replace('-', '_')}"


def quotas(machinetypes: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Group → its part of its parent (of the pool, for a top group), parents before their children.

    A machinetype with a group and no share counts as a share of 1; those of one group are added up. One that has no VMs
    and a share of 0 counts for nothing. Raises ValueError (``NAME.KEY: remedy``) for an invalid share or group name.
    """
    shares: dict[str, float] = {}
    for name, machinetype in machinetypes.items():
        group = accounting_group(name, machinetype)
        if group is None or _off(machinetype):
            continue
        if not re.fullmatch(ACCOUNTING_GROUP, group):
            raise ValueError(f"{name}.accounting_group: {group!r} {ACCOUNTING_GROUP_REMEDY}")
        parts = group.split(".")
        for length in range(1, len(parts) + 1):
            shares.setdefault(".".join(parts[:length]), 0.0)
            shares[".".join(parts[:length])] += _share(name, machinetype)
    totals: dict[str, float] = {}
    for group, share in shares.items():
        parent = group.rpartition(".")[0]
        totals[parent] = totals.get(parent, 0.0) + share
    return {group: shares[group] / totals[group.rpartition(".")[0]] for group in sorted(shares)}


def factors(machinetypes: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Group → the priority factor by which use in the proportion of the shares means equal priority.

    It divides what the quotas leave. The largest top group has 1000, one with half its part of the pool 2000.
    """
    parts = quotas(machinetypes)
    whole: dict[str, float] = {}
    for group, part in parts.items():  # parents come first
        whole[group] = part * whole.get(group.rpartition(".")[0], 1.0)
    largest = max(whole.values(), default=1.0)
    return {group: PRIO_FACTOR * largest / part for group, part in whole.items()}


def _off(machinetype: Mapping[str, Any]) -> bool:
    """Whether it is switched off as a target share of 0 switches it off in Vac."""
    return [str(machinetype.get(key)) in {"0", "0.0"} for key in ("target_share", "max_machines")] == [True, True]


def _share(name: str, machinetype: Mapping[str, Any]) -> float:
    share = machinetype.get("target_share")
    if share is None:
        return 1.0
    try:
        value = float(share)
    except (TypeError, ValueError):
        value = -1.0
    if isinstance(share, bool) or not 0 < value <= 1_000_000:
        raise ValueError(
            f"{name}.target_share: {share!r} must be a number above 0, such as 2 beside another's 1;"
            " for no VMs set max_machines to 0"
        )
    return value
