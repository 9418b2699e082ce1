# SPDX-License-Identifier: GPL-3.0-or-later
"""Words of messages."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """The number with its noun in the right number: ``1 VM``, ``2 VMs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
