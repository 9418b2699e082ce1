# SPDX-License-Identifier: GPL-3.0-or-later
"""What slots' ads show of a consumption policy, and what is wrong with a pool whose nodes are divided by one.

A partitionable slot with a policy publishes an expression for each resource (``ConsumptionCpus`` and so on) and
``NumClaims``, the most matches in a negotiation cycle: condor_startd.V6/Resource.cpp. Any machine that may
advertise can write an ad: nothing here evaluates one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from condor_vac.base.findings import Finding
from condor_vac.base.shared import CONDOR_FALSE, one_line
from condor_vac.condor import slot_weight
from condor_vac.condor.pool import Unreadable

CONSTRAINT = "PartitionableSlot =?= True && HasVM =?= True"
ATTRIBUTES = ("Machine", "HasVM", "PartitionableSlot", "ConsumptionCpus", "NumClaims", "SlotWeight", "TotalSlotCpus")
LEFTOVERS_REMEDY = (
    "set factory_claim_leftovers to false and run vacuum.htcondor.site; where this access point cannot be changed, see"
    " docs/shares.md"
)
# How condor_status -json writes an expression.
_EXPRESSION = re.compile(r"/Expr\((.*)\)/", re.DOTALL)
# How many machines a sentence names, how many weights have one, and what it shows of a text from an ad.
_NAMED = 3
_WEIGHTS = 5
_SHOWN = 60


def has_policy(slot: Mapping[str, Any]) -> bool:
    """Whether the negotiator divides this slot."""
    return slot.get("PartitionableSlot") is True and "ConsumptionCpus" in slot


def starts(slot: Mapping[str, Any]) -> int | None:
    """The most jobs that start in a cycle; None if the ad does not have it as a number."""
    return _number(slot.get("NumClaims"))


def takes_leftovers(value: str) -> bool:
    """Whether a schedd takes what a match leaves over, by its CLAIM_PARTITIONABLE_LEFTOVERS.

    HTCondor's default, True, stands for what is no truth value (param_boolean in dc_startd.cpp).
    """
    return value.strip().lower() not in CONDOR_FALSE


def findings(slots: Iterable[Mapping[str, Any]], *, leftovers: bool) -> list[Finding]:
    """What keeps shares or the limit of starts from holding on these slots, those that offer VMs.

    ``leftovers``: the access point's CLAIM_PARTITIONABLE_LEFTOVERS.
    """
    whole = [slot for slot in slots if slot.get("HasVM") is True and slot.get("PartitionableSlot") is True]
    divided = [slot for slot in whole if has_policy(slot)]
    found = [Finding(what, slot_weight.REMEDY) for what in _weights(divided)]
    limited = [slot for slot in divided if _limits(slot)]
    if leftovers and limited:
        what = (
            f"CLAIM_PARTITIONABLE_LEFTOVERS is True on this access point, but NUM_CLAIMS limits {_machines(limited)}:"
            " the first group gets whole nodes, whatever the shares are"
        )
        found.append(Finding(what, LEFTOVERS_REMEDY))
    without = [slot for slot in whole if not has_policy(slot)]
    if without:
        what = (
            f"no consumption policy on {_machines(without)}: one VM starts there in a negotiation cycle, or one group"
            " gets the whole node"
        )
        remedy = "set worker_starts_per_cycle above 0; it takes effect when their startds have restarted"
        found.append(Finding(what, remedy, note=True))
    return found


def _limits(slot: Mapping[str, Any]) -> bool:
    """Whether NUM_CLAIMS leaves a part of an empty node unmatched, which a schedd may then take."""
    most, processors = starts(slot), _number(slot.get("TotalSlotCpus"))
    return most is not None and processors is not None and most < processors


def _weights(slots: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence for each weight on which the negotiator aborts, or counts nothing; of many, those of most nodes."""
    wrong: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for slot in slots:
        weight = _text(slot.get("SlotWeight", ""))
        fault = slot_weight.fault(weight)
        if fault:
            wrong.setdefault((one_line(weight, _SHOWN), one_line(fault, 2 * _SHOWN)), []).append(slot)
    most = sorted(wrong.items(), key=lambda each: -len(each[1]))
    sentences = [
        f"SLOT_WEIGHT on {_machines(some)} is {weight}, which {fault}: the negotiator aborts, or counts nothing"
        for (weight, fault), some in most[:_WEIGHTS]
    ]
    rest = [slot for _what, some in most[_WEIGHTS:] for slot in some]
    if rest:
        sentences.append(f"SLOT_WEIGHT on {_machines(rest)} is one of {len(most) - _WEIGHTS} more such weights")
    return sentences


def _text(value: object) -> str:
    """An attribute as ClassAd text, from the bindings or from ``condor_status -json``."""
    if isinstance(value, Unreadable):
        return value.text
    if isinstance(value, str):
        match = _EXPRESSION.fullmatch(value)
        return match[1] if match else f'"{value}"' if value else ""
    return str(value)


def _machines(slots: Sequence[Mapping[str, Any]]) -> str:
    """``2 nodes (wn1, wn2)``."""
    names = sorted({one_line(str(slot.get("Machine")), _SHOWN) for slot in slots})
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    shown = ", ".join([*names[:_NAMED], *more])
    return f"{len(names)} node{'' if len(names) == 1 else 's'} ({shown})"


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
