# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# Made from src/condor_vac/condor/slot_weight.py by python -m tests.shared_file: change that file, not this one.
"""Whether a slot's weight (SLOT_WEIGHT) suits a consumption policy, with which the negotiator divides a node's slot.

Before and after each match the negotiator takes the weight of what is left, and charges the difference. Where one of
the two is not a number it aborts, for the whole pool: cp_deduct_assets (condor_utils/consumption_policy.cpp). Seen in
23.9.6 and 25.14.1, with ``Memory/Cpus`` when the last processor of a node was given away. The module
``condor_config`` has a copy, which ``python -m tests.shared_file`` writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

# What the policy deducts, and every slot has.
ASSETS = ("Cpus", "Memory", "Disk")
REMEDY = "use a number made of Cpus, Memory and Disk that a full node has too, such as SLOT_WEIGHT = Cpus"
# The variables in which HTCondor looks for it.
KNOB = re.compile(r"(startd\.)?(slot_type_\d+_)?slot_?weight", re.IGNORECASE)
# A name with what stands before its dots, and the parenthesis that makes it a function's. An ad's weight has any
# length: the time that this takes grows with it, and not with its square.
_NAME = re.compile(r"(?<![\w.])([A-Za-z_][\w.]*)(\s*\()?")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
# A free node and one that is given away, to try an expression with.
_NODES: Mapping[str, tuple[int, int, int]] = {"free": (8, 16384, 100_000_000), "full": (0, 0, 0)}


def fault(expression: str, evaluate: Callable[[list[str]], str] | None = None) -> str:
    """What is wrong with a weight, as the end of a sentence about it; empty if nothing is.

    ``evaluate`` returns what ``classad_eval`` prints for these arguments; without it only the names are checked.
    """
    if not expression.strip():
        return ""
    return _of_names(expression) or ("" if evaluate is None else _of_values(expression, evaluate))


def _of_names(expression: str) -> str:
    if "'" in expression or '"' in expression:
        return "has text in quotes, and must be a number"
    used = {_bare(name) for name, function in _NAME.findall(expression) if not function}
    strange = sorted(name for name in used if name.lower() not in {asset.lower() for asset in ASSETS})
    if strange:
        return f"uses {', '.join(strange)}, and may use {', '.join(ASSETS[:-1])} and {ASSETS[-1]} only"
    return "" if used else "is the same for a free and a full node, so that a VM would cost its group nothing"


def _of_values(expression: str, evaluate: Callable[[list[str]], str]) -> str:
    for state, numbers in _NODES.items():
        node = [f"{name} = {number}" for name, number in zip(ASSETS, numbers)]
        value = evaluate(["-quiet", *node, expression]).strip()
        if not _NUMBER.fullmatch(value):
            return f"is {value[:40] or 'nothing'} for a {state} node, and must be a number"
    return ""


def _bare(name: str) -> str:
    """The name without the ``MY.`` that means the slot itself."""
    return name[len("my.") :] if name.lower().startswith("my.") else name
