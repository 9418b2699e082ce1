# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts a factory avoids for a while: black holes, where VMs only fail.

A host is avoided after `FAILURES` VMs in a row failed on it for reasons that a host can have (code 500, or
dying before an agent could have looked for work). It gets another chance when its time is over; each time
it fails again the time doubles. One VM that works there clears it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# VMs in a row that fail on a host before it is avoided; a single failure is often the VM's own. Ablation:
# avoided_hosts.
FAILURES = 2
# Factor by which the time grows each time that a host fails again. Ablation: avoided_longer.
AGAIN_FACTOR = 2.0
# Seconds: a host that was repaired is used again within this time.
LONGEST_SECONDS = 3600.0
# Times that a host may have been avoided and still be forgiven when VMs fail all over the site. Ablation:
# forgiven_hosts.
FORGIVEN_LEVEL = 1
# Hosts of which a record is kept, more than any pool has: nodes name themselves, and may do so anew for each VM.
KEPT_HOSTS = 20_000
# From this level on the time is the longest, however short it was at first; a number's powers have an end.
_LAST_LEVEL = 64


@dataclass
class Record:
    """What is held against one host: failures in a row, how often it was avoided, and until when."""

    failures: int = 0
    level: int = 0
    until: float = float("-inf")


class HostTrust:
    """The failures of every host that has some, by host name."""

    def __init__(self, first_seconds: float) -> None:
        self.first_seconds = first_seconds
        self.records: dict[str, Record] = {}

    def failed(self, host: str, started: float, ended: float) -> None:
        """A VM that started on ``host`` at ``started`` failed; VMs matched together count as one level."""
        if host not in self.records and len(self.records) >= KEPT_HOSTS:
            self._forget_one()
        record = self.records.setdefault(host, Record())
        record.failures += 1
        if record.failures >= FAILURES and started >= record.until:
            seconds = min(self.first_seconds * AGAIN_FACTOR ** min(record.level, _LAST_LEVEL), LONGEST_SECONDS)
            record.level += 1
            record.until = ended + seconds

    def _forget_one(self) -> None:
        """Forget the host that has been free of blame for longest; of those never avoided, the first that failed."""
        del self.records[min(self.records, key=lambda host: self.records[host].until)]

    def worked(self, host: str) -> None:
        """A VM works, or did its work, on ``host``."""
        self.records.pop(host, None)

    def forgive(self, host: str) -> None:
        """It was not the host's fault; a host that was avoided more than `FORGIVEN_LEVEL` times keeps its record."""
        record = self.records.get(host)
        if record is not None and record.level <= FORGIVEN_LEVEL:
            del self.records[host]

    def avoided(self, now: float) -> tuple[str, ...]:
        """The hosts that new VMs must avoid at ``now``, sorted."""
        return tuple(sorted(host for host, record in self.records.items() if now < record.until))

    def state(self) -> dict[str, dict[str, float | None]]:
        """What `restore` needs, as JSON; ``until`` is null for a host that has not been avoided yet."""
        return {
            host: {
                "failures": record.failures,
                "level": record.level,
                "until": record.until if record.level else None,
            }
            for host, record in self.records.items()
        }

    def restore(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Take over what `state` gave."""
        self.records = {}
        for host, kept in state.items():
            record = self.records[host] = Record(kept["failures"], kept["level"])
            if kept["until"] is not None:
                record.until = kept["until"]
