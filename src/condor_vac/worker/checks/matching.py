# SPDX-License-Identifier: GPL-3.0-or-later
"""How the negotiator divides nodes (CONSUMPTION_POLICY): on a worker node its own part, on an access point the pool's.

Any machine that may advertise can write an ad: what it holds is compared and shown, never evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from condor_vac.base import tools
from condor_vac.base.findings import Finding
from condor_vac.base.shared import CONDOR_TRUE
from condor_vac.condor import consumption, slot_weight
from condor_vac.worker import startd
from condor_vac.worker.checks.node import CONVERGE, TIMEOUT_SECONDS, Check, Node

_RESTART = "wait until the startd has restarted (it does when no job runs), or condor_restart -peaceful -startd"


def on_worker(node: Node) -> list[Finding]:
    """The slot is divided by the negotiator as worker_starts_per_cycle has it, and its weight is one to count with."""
    wanted = node.settings.starts_per_cycle
    policy = _is_true(node, "CONSUMPTION_POLICY")
    if wanted and not policy:
        what = f"CONSUMPTION_POLICY is not True, so that worker_starts_per_cycle ({wanted}) has no effect"
        return [Finding(what, f"remove the file of the site that sets it (condor_config_val -v), then {CONVERGE}")]
    if not policy:
        return []
    found = [*_weights(node), *_taken_up(node)]
    if _is_true(node, "ENABLE_CLAIMABLE_PARTITIONABLE_SLOTS"):
        what = "ENABLE_CLAIMABLE_PARTITIONABLE_SLOTS is True, which a slot with a consumption policy refuses"
        found.append(Finding(what, "remove it from the node's configuration"))
    return found


def _is_true(node: Node, name: str) -> bool:
    return node.knobs.get(name.lower(), "").lower() in CONDOR_TRUE


def _weights(node: Node) -> list[Finding]:
    """SLOT_WEIGHT as the files have it; HTCondor's own tool evaluates this node's own expression."""
    evaluate = _evaluated if tools.find("classad_eval") else None
    found = []
    for name, weight in sorted(node.knobs.items()):
        fault = slot_weight.fault(weight, evaluate) if slot_weight.KNOB.fullmatch(name) else ""
        if fault:
            found.append(Finding(f"{name.upper()} is {weight}, which {fault}", slot_weight.REMEDY))
    return found


def _evaluated(words: list[str]) -> str:
    return tools.run(["classad_eval", *words], timeout=TIMEOUT_SECONDS)


def _taken_up(node: Node) -> list[Finding]:
    """What the running startd made of the files when it started; a reconfig changes none of it."""
    slot = node.slot
    if slot.get("PartitionableSlot") is not True:
        return [
            Finding("the startd has no partitionable slot, which a consumption policy needs", "remove its static slots")
        ]
    if not consumption.has_policy(slot):
        return [
            Finding("the startd started before CONSUMPTION_POLICY was set, and starts one job in a cycle", _RESTART)
        ]
    wanted, live = node.knobs.get("num_claims", ""), consumption.starts(slot)
    if wanted.isdigit() and live is not None and int(wanted) != live:
        return [Finding(f"the startd started with NUM_CLAIMS {live}, and the files have {wanted}", _RESTART)]
    return []


def on_access_point(node: Node) -> list[Finding]:
    """Where nodes have a consumption policy, the schedd leaves to the negotiator what a match does not need."""
    names = ",".join(consumption.ATTRIBUTES)
    ads = startd.ads("condor_status", "-json", "-attributes", names, "-constraint", consumption.CONSTRAINT)
    return [*consumption.findings(ads, leftovers=_leftovers(node)), *_negotiator(ads)]


def _leftovers(node: Node) -> bool:
    """The running schedd's CLAIM_PARTITIONABLE_LEFTOVERS; HTCondor's default is True."""
    if "SCHEDD" not in re.split(r"[,\s]+", node.knobs.get("daemon_list", "").upper()):
        return False
    live = tools.run(["condor_config_val", "-schedd", "CLAIM_PARTITIONABLE_LEFTOVERS"], timeout=TIMEOUT_SECONDS)
    return consumption.takes_leftovers(live)


def _negotiator(ads: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """NEGOTIATOR_DEPTH_FIRST, with which the negotiator skips requests; nothing where it does not answer."""
    if not any(consumption.has_policy(ad) for ad in ads):
        return []
    try:
        live = tools.run(["condor_config_val", "-negotiator", "NEGOTIATOR_DEPTH_FIRST"], timeout=TIMEOUT_SECONDS)
    except tools.ToolError:
        return []
    if live.strip().lower() not in CONDOR_TRUE:
        return []
    what = "NEGOTIATOR_DEPTH_FIRST is True on the central manager: with a consumption policy it skips VMs that wait"
    return [Finding(what, "remove it from the central manager's configuration, then condor_reconfig there")]


CHECKS = (Check("condor", "matching", on_worker),)
ACCESS_POINT = (Check("condor", "shares of nodes", on_access_point),)
