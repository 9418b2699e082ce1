# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for an emulated machine without keeping it from its work by asking how far it is."""

from __future__ import annotations

import time

# An emulated processor takes seconds for each look at it: it has three times as long for the VMs in between.
FACTOR = 3


def rest(look_began: float, *, least: float = 4, most: float = 30) -> None:
    """Sleep after a look that began at ``look_began`` (monotonic), in proportion to what it took; all in seconds."""
    time.sleep(min(max(least, FACTOR * (time.monotonic() - look_began)), most))
