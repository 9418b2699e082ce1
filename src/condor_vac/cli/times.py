# SPDX-License-Identifier: GPL-3.0-or-later
"""Times as an administrator types and reads them: 90m, 24h and 7d; dates of the machine's own time zone."""

from __future__ import annotations

import argparse
import re
import time

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_MOST = 20 * 366 * 86400
_DATES = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S")
_SHOWN = 40


def span(word: str) -> float:
    """The seconds of a number with its unit. Raises ArgumentTypeError, which argparse shows."""
    found = re.fullmatch(r"([0-9]{1,9})([smhdw])", word)
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not 0 < seconds <= _MOST:
        raise argparse.ArgumentTypeError(f"{word[:_SHOWN]!r} is not a time such as 90m, 24h or 7d")
    return float(seconds)


def moment(word: str) -> float:
    """Unix s: so long ago (24h), or a date (2026-11-28, '2026-11-28 17:30'). Raises ArgumentTypeError."""
    for form in _DATES:
        try:
            return time.mktime(time.strptime(word, form))
        except (ValueError, OverflowError):
            continue
    try:
        return time.time() - span(word)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, nor a date such as 2026-11-28 or '2026-11-28 17:30'") from None


def shown(when: float | None) -> str:
    """A time with its date, in the machine's own time zone; - for none."""
    return "-" if when is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))
