# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for an emulated machine without keeping it from its work by asking how far it is."""

from __future__ import annotations

import time

# An emulated processor takes seconds for each look at it: it has three times as long for the VMs in between.
LEAST_SECONDS, MOST_SECONDS, FACTOR = 4, 30, 3


def rest(look_began: float) -> None:
    """Sleep after a look that began at ``look_began`` (monotonic), in proportion to what it took."""
    time.sleep(min(max(LEAST_SECONDS, FACTOR * (time.monotonic() - look_began)), MOST_SECONDS))
