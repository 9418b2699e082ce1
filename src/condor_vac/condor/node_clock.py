# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a node's clock differs from the central manager's, by the ad of its slot.

A startd's ad says when it was made by the startd's clock (MyCurrentTime), and the collector adds when it came by its
own (LastHeardFrom, collector_engine.cpp); so both clocks were read within moments of each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ATTRIBUTES = ("MyCurrentTime", "LastHeardFrom")
# HTCondor's own limits on time are minutes (MAX_TIME_SKIP is 20); tokens are valid to the second.
CLOCK_SECONDS = 60
REMEDY = "have both follow NTP (chronyc tracking), then condor_reconfig"


def fault(ad: Mapping[str, Any]) -> str | None:
    """How wrong the clock was, such as ``600 s ahead of``; None if it was right, or the ad does not show it."""
    times = [ad.get(key) for key in ATTRIBUTES]
    if not all(isinstance(moment, int) and not isinstance(moment, bool) for moment in times):
        return None
    offset = int(str(times[0])) - int(str(times[1]))
    if abs(offset) <= CLOCK_SECONDS:
        return None
    return f"{abs(offset)} s {'ahead of' if offset > 0 else 'behind'}"
