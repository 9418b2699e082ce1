# SPDX-License-Identifier: GPL-3.0-or-later
"""The startd of this node, by HTCondor's tools: its ad, the master's ad of the daemons, and what it shall offer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from condor_vac.base import json_text, tools
from condor_vac.base.errors import VacError
from condor_vac.base.shared import Universe

TIMEOUT_SECONDS = 60.0
MASTER_TRIES = 3
_SLOT = "Name,Machine,HasVM,VM_Type,VMOfflineReason,TotalMemory,PartitionableSlot,ConsumptionCpus,NumClaims"


def daemons(timeout: float = TIMEOUT_SECONDS) -> dict[str, str]:
    """The master's ad of its daemons; empty if no condor_master runs. Raises VacError.

    ``timeout`` is for each question, in seconds. On a busy node condor_who gives up before the master has answered.
    """
    for _attempt in range(MASTER_TRIES):
        output = tools.run(["condor_who", "-quick"], timeout=timeout)
        pairs = (line.partition(" = ") for line in output.splitlines())
        found = {name.strip(): value.strip().strip('"') for name, equals, value in pairs if equals}
        if found.get("MASTER") == "Alive":
            return found
        state = tools.run(["systemctl", "show", "--property=ActiveState", "condor.service"], timeout=timeout)
        if "ActiveState=active" not in state.splitlines():
            return {}
    raise VacError("condor.service is active, but condor_master does not answer condor_who")


def slot(master: Mapping[str, str], timeout: float = TIMEOUT_SECONDS) -> dict[str, Any]:
    """The startd's own ad of its (partitionable) slot, asked directly; ``master`` is from ``daemons``.

    Raises VacError.
    """
    address = master.get("STARTD_Addr", "")
    if not address:
        raise VacError("no startd runs")
    slots = ads("condor_status", "-direct", address, "-json", "-attributes", _SLOT, timeout=timeout)
    return next((each for each in slots if each.get("PartitionableSlot") is True), slots[0] if slots else {})


class Leaving(NamedTuple):
    """A job of a slot that retires: ``vac@example.org``, ``12.0``; ``for_another`` job, or for a drain or a restart."""

    owner: str
    job: str
    is_vm: bool
    for_another: bool


def retiring(master: Mapping[str, str], timeout: float = TIMEOUT_SECONDS) -> list[Leaving]:
    """The jobs whose slots retire (ResState, condor_startd.V6); ``master`` is from ``daemons``. Raises VacError.

    While another job waits for a slot, it has PreemptingRank:
    Claim::publishPreemptingClaim, condor_startd.V6/claim.cpp.
    """
    address = master.get("STARTD_Addr", "")
    if not address:
        return []
    names = "Name,RemoteOwner,JobId,JobUniverse,PreemptingRank"
    wanted = 'Activity == "Retiring"'
    slots = ads(
        "condor_status", "-direct", address, "-json", "-attributes", names, "-constraint", wanted, timeout=timeout
    )
    return [
        Leaving(
            owner=str(slot.get("RemoteOwner")),
            job=str(slot.get("JobId")),
            is_vm=slot.get("JobUniverse") == Universe.VM,
            for_another="PreemptingRank" in slot,
        )
        for slot in slots
    ]


def ads(*argv: str, timeout: float = TIMEOUT_SECONDS) -> list[dict[str, Any]]:
    """The ads that a condor_* tool prints with -json; nothing at all is none. Raises VacError.

    Who advertises an ad chose how deep a list in it nests: such a value hides no other ad.
    """
    text = tools.run(list(argv), timeout=timeout).strip()
    try:
        found = json_text.loads(json_text.without_depth(text or "[]").encode())
    except ValueError as error:
        raise VacError(f"{argv[0]}: its answer is not JSON: {error}") from error
    if not isinstance(found, list) or not all(isinstance(ad, dict) for ad in found):
        raise VacError(f"{argv[0]}: its answer is not a list of ads")
    return found


def change_ad(*lines: str) -> None:
    """Set attributes of the startd's ad, each a line ``NAME = EXPRESSION``. Raises ToolError."""
    text = "".join(f"{line}\n" for line in lines)
    tools.run(["condor_update_machine_ad", "/dev/stdin"], timeout=TIMEOUT_SECONDS, stdin=text.encode())
