# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers in reasons and messages: counts that agree with their noun, and durations as people read them."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """The number with its noun: "1 VM", "2 VMs"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """Rounded for reading: seconds up to 2 minutes, minutes up to 2 hours, then hours with one decimal."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{round(seconds / 3600, 1):g} h"
