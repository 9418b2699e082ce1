# SPDX-License-Identifier: GPL-3.0-or-later
"""When the latest VMs were submitted: what the probes' pace and the starts a minute are measured by."""

from __future__ import annotations

import math

from condor_vac.policy.observation import Observation

# How many times are kept (VMs). The pace of probes needs the last `probe_machines`, the cap on starts a minute as many
# as it allows; a few more cost nothing.
KEPT = 100
KEPT_FOR_EACH_PROBE = 4
MINUTE_SECONDS = 60.0


class Submissions:
    """Times of the latest submissions in seconds, one entry for each VM, sorted."""

    def __init__(self, probe_machines: int, starts_per_minute: int = 0) -> None:
        self.kept = max(KEPT, KEPT_FOR_EACH_PROBE * probe_machines, starts_per_minute)
        self.times: list[float] = []

    def note(self, seen: Observation) -> None:
        """Forget old times; after a loss of the state they come from the queue and the history."""
        if not self.times:
            times = [vm.submitted for vm in seen.machines] + [end.submitted for end in seen.ended]
            self.times = sorted(min(time, seen.now) for time in times)
        self.times = self.times[-self.kept :]

    def add(self, now: float, number: int) -> None:
        """So many VMs are submitted now."""
        self.times.extend([now] * number)

    def last_minute(self, now: float) -> int:
        """VMs that were submitted in the minute before ``now``, as far as their times are kept."""
        return sum(time > now - MINUTE_SECONDS for time in self.times)

    @property
    def last(self) -> float:
        """The latest; minus infinity if there is none."""
        return self.times[-1] if self.times else -math.inf
