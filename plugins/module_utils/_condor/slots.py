# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The slots that a collector knows, and out of them the pool's machines and the virtual machines that run there.

A startd probes the VM universe once and publishes the result in all its slots: HasVM, VM_Type and, where
something failed since, VMOfflineReason and VMOfflineTime (condor_startd.V6/VMUniverseMgr.cpp, ResAttributes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.vacuum.htcondor.plugins.module_utils._command import Result
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.tools import is_vm, parse_json
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import (
    FINDINGS_ATTRIBUTE,
    IMAGES_ATTRIBUTE,
    SHUTDOWN_ATTRIBUTE,
)

REMEDY = "see whether the central manager runs and whether this machine may read from it (CONDOR_HOST, ALLOW_READ)"
# How long one query may take, in seconds.
PATIENCE = 60
ATTRIBUTES = (
    "Name,Machine,SlotType,State,Activity,Cpus,Memory,TotalCpus,TotalMemory,HasVM,VM_Type,VM_Memory,VM_AvailNum"
    ",VM_Networking,VM_Networking_Types,VM_GAHP_VERSION,VMOfflineReason,VMOfflineTime,OfflineUniverses,JobUniverse"
    ",JobId,GlobalJobId,RemoteOwner,EnteredCurrentState,CondorVersion,Offline"
    f",Draining,{SHUTDOWN_ATTRIBUTE},{IMAGES_ATTRIBUTE},{FINDINGS_ATTRIBUTE}"
)


def known(tool: Callable[..., Result], collector: str | None, constraint: str = "") -> list[dict[str, Any]]:
    """The slots that a collector knows, by one query; the node's own collector if *collector* is empty.

    *tool* runs a condor_* tool, as ``Condor.tool`` does: its name, its arguments, ``timeout`` and ``remedy``. Raises
    ToolMissing, CommandError.
    """
    where = ["-pool", collector] if collector else []
    which = ["-constraint", constraint] if constraint else []
    arguments = [*where, *which, "-json", "-attributes", ATTRIBUTES]
    return parse_json(tool("condor_status", *arguments, timeout=PATIENCE, remedy=REMEDY))


def machines(slots: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One entry for each machine, sorted by name. Memory is in MiB, times in seconds since 1970."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for slot in slots:
        found.setdefault(str(slot.get("Machine", "")), []).append(slot)
    return [_machine(name, found[name]) for name in sorted(found)]


def vms(slots: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The running virtual machines, sorted by slot."""
    running = [slot for slot in slots if is_vm(dict(slot))]
    return [_vm(slot) for slot in sorted(running, key=lambda slot: str(slot.get("Name")))]


def _machine(name: str, slots: list[Mapping[str, Any]]) -> dict[str, Any]:
    head = min(slots, key=lambda slot: (slot.get("SlotType") == "Dynamic", str(slot.get("Name"))))
    free = [slot for slot in slots if slot.get("SlotType") == "Partitionable" or _is_idle(slot)]
    entry = {
        "name": name,
        "has_vm": head.get("HasVM") is True,
        "vm_type": str(head.get("VM_Type", "")),
        "offline_reason": str(head.get("VMOfflineReason", "")),
        "offline_since": _number(head.get("VMOfflineTime")),
        "offline": bool(head.get("VMOfflineReason")) or head.get("Offline") is True,
        "shutdown_time": _number(head.get(SHUTDOWN_ATTRIBUTE)),
        "draining": _number(head.get(SHUTDOWN_ATTRIBUTE)) > 0 or any(_drains(slot) for slot in slots),
        "findings": _number(head.get(FINDINGS_ATTRIBUTE)),
        "images": sorted(set(_words(head.get(IMAGES_ATTRIBUTE)))),
        "networking": _words(head.get("VM_Networking_Types")) if head.get("VM_Networking") is True else [],
        "vm_memory": _number(head.get("VM_Memory")),
        "vm_available": _number(head.get("VM_AvailNum")),
        "version": str(head.get("CondorVersion", "")).replace("$CondorVersion:", "").strip(" $").partition(" ")[0],
        "cpus": _number(head.get("TotalCpus")),
        "memory": _number(head.get("TotalMemory")),
        "free_cpus": sum(_number(slot.get("Cpus")) for slot in free),
        "free_memory": sum(_number(slot.get("Memory")) for slot in free),
        "vms": sum(is_vm(dict(slot)) for slot in slots),
        "states": sorted({str(slot.get("State")) for slot in slots}),
    }
    return {**entry, "problem": _problem(entry)}


def _problem(entry: Mapping[str, Any]) -> str:
    """Why no VM starts there, in one line; empty if one can."""
    if entry["has_vm"]:
        return "" if entry["vm_type"] else "its startd names no VM_TYPE"
    if entry["offline_reason"]:
        remedy = "read VMGahpLog, then condor_restart -startd when no VM runs there"
        return f"its VM universe is offline: {entry['offline_reason']} ({remedy})"
    return "its startd offers no VM universe; run condor_vac doctor there"


def _drains(slot: Mapping[str, Any]) -> bool:
    """Whether condor_drain empties the slot, or has emptied it."""
    return slot.get("Draining") is True or slot.get("State") == "Drained"


def _is_idle(slot: Mapping[str, Any]) -> bool:
    return slot.get("SlotType") != "Dynamic" and slot.get("State") == "Unclaimed"


def _vm(slot: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "slot": str(slot.get("Name", "")),
        "machine": str(slot.get("Machine", "")),
        "job": str(slot.get("JobId", "")),
        "global_job": str(slot.get("GlobalJobId", "")),
        "owner": str(slot.get("RemoteOwner", "")),
        "activity": str(slot.get("Activity", "")),
        "since": _number(slot.get("EnteredCurrentState")),
        "cpus": _number(slot.get("Cpus")),
        "memory": _number(slot.get("Memory")),
    }


def _words(value: Any) -> list[str]:
    return [word.strip() for word in str(value or "").split(",") if word.strip()]


def _number(value: Any) -> int:
    """An attribute that is a number; 0 if it is missing or an expression without a value."""
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0
