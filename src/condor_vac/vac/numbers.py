# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers as people and programs write them in Vac's configuration, in pipes and in submit files: 8, 8.0, "40.5"."""

from __future__ import annotations

import math
import re

_DECIMAL = re.compile(r"[+]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,3})?")
_MOST = 1e9
# condor_submit's units of sizes (submit description file commands, request_memory).
_UNITS = {"k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0 * 1024}


def decimal(text: str) -> float | None:
    """A number from 0 to 10^9; None for anything else."""
    if not _DECIMAL.fullmatch(text.strip()):
        return None
    value = float(text)
    return value if value <= _MOST else None


def whole_number(text: str) -> int | None:
    """A whole number from 0 to 10^9, such as 8, 8.0 or 1e3; None for anything else."""
    value = decimal(text)
    return int(value) if value is not None and value.is_integer() else None


def plain(value: float) -> float | int:
    """The number without a fraction of zero."""
    return int(value) if value.is_integer() else value


def megabytes(text: str) -> int | None:
    """A size in MiB as condor_submit reads it, with or without a unit (2048, 2GB, 1.5 G), rounded up."""
    found = re.fullmatch(r"([0-9.]+)\s*(?:([kmgt])(?:i?b)?)?", text.strip().lower())
    value = None if found is None else decimal(found[1])
    if found is None or value is None:
        return None
    return math.ceil(value * _UNITS[found[2] or "m"])
