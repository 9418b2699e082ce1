# SPDX-License-Identifier: GPL-3.0-or-later
"""When a running VM must be stopped, and when its state should be published: pure rules of vac_watch.

All times are CLOCK_BOOTTIME seconds, so a clock that is set wrong kills no VM; a heartbeat's age is counted
from when its file was last *seen* to change, as the guest can set the file's time at will. When the observer
was away (a restart, a stopped timer) or the VM was paused, the grace of fizzle_seconds begins again (Vac's
own restart killed healthy VMs once).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from condor_vac.model import outcome_record
from condor_vac.worker.lease.store import Lease
from condor_vac.worker.vm import outputs
from condor_vac.worker.watch import planned_shutdown

# Several of the timer's periods: a late run is not an absence.
ABSENCE_SECONDS = 150.0
PUBLISH_SECONDS = 300.0
# Work for a VM's job that failed is tried again in the next run so many times; then this long after, and twice as long
# after each failure more, up to the last.
LATE_TRIES = 2
FIRST_DELAY_SECONDS = 30.0
STARTING_SECONDS = 120.0
LAST_DELAY_SECONDS = 900.0
# QEMU's threads start before the guest does; a shorter interval shows nothing.
_SHORTEST_INTERVAL = 5.0


@dataclass(frozen=True)
class Sample:
    """What one check of a VM found: CPU seconds of all processors, the heartbeat file's mtime (ns).

    ``heartbeat_updated`` is when the file was last seen to change after it had been seen; None: not seen yet.
    ``failures`` is how often in a row the work for its job was late or refused, ``retry_at`` when to try again.
    """

    boottime: float
    cpu_seconds: float
    observed_since: float
    heartbeat: int | None
    heartbeat_changed: float
    fraction: float | None = None
    published: float | None = None
    published_fraction: float | None = None
    missing_since: float | None = None
    failures: int = 0
    retry_at: float = 0.0
    heartbeat_updated: float | None = None

    def to_mapping(self) -> dict[str, Any]:
        """Every field, as JSON can hold it."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(frozen=True)
class Stop:
    """Why a VM is ended: the cause for its job's ad, and the message if the VM leaves none itself."""

    cause: str
    message: str


def look(lease: Lease, previous: Sample | None, now: float, cpu: tuple[float, int], heartbeat: int | None) -> Sample:
    """The sample of now; ``cpu`` is (CPU seconds, processors) of a VM that runs."""
    seconds, processors = cpu
    if previous is None or now - previous.boottime > ABSENCE_SECONDS or now < previous.boottime:
        began = lease.started_boottime
        here_from_start = previous is None and began is not None and now - began <= ABSENCE_SECONDS
        since = began if here_from_start and began is not None else now
        return Sample(now, seconds, since, heartbeat, now, **_tries(previous))
    differs = heartbeat != previous.heartbeat
    # That it is there shows nothing: each VM has to create it before fizzle_seconds.
    updated = differs and heartbeat is not None and previous.heartbeat is not None
    return Sample(
        now,
        seconds,
        previous.observed_since,
        heartbeat,
        now if differs else previous.heartbeat_changed,
        _fraction(previous, seconds, processors, now),
        previous.published,
        previous.published_fraction,
        heartbeat_updated=now if updated else previous.heartbeat_updated,
        **_tries(previous),
    )


def paused(previous: Sample | None, now: float, cpu_seconds: float, heartbeat: int | None) -> Sample:
    """The sample of a VM that HTCondor suspended: grace begins when it goes on."""
    if previous is None:
        return Sample(now, cpu_seconds, now, heartbeat, now)
    return replace(
        previous,
        boottime=now,
        cpu_seconds=cpu_seconds,
        observed_since=now,
        heartbeat=heartbeat,
        heartbeat_changed=now,
        fraction=None,
        missing_since=None,
    )


def after_try(sample: Sample, now: float, *, failed: bool) -> Sample:
    """The sample after work for the VM's job was tried; after LATE_TRIES that failed, it is put off more and more.

    A starter is silent while it starts its VM, for half a minute and more on a busy node: until STARTING_SECONDS after
    the VM was seen first, tries that fail are not counted. It is silent too while its access point is away.
    """
    if not failed:
        return replace(sample, failures=0, retry_at=0.0)
    failures = 1 if now - sample.observed_since < STARTING_SECONDS else sample.failures + 1
    delay = (
        0.0
        if failures <= LATE_TRIES
        else min(FIRST_DELAY_SECONDS * 2.0 ** (failures - LATE_TRIES - 1), LAST_DELAY_SECONDS)
    )
    return replace(sample, failures=failures, retry_at=now + delay)


def violation(lease: Lease, sample: Sample) -> Stop | None:
    """The limit that the VM is over, or None."""
    if lease.started_boottime is None:
        return None
    age = sample.boottime - lease.started_boottime
    if 0 < lease.max_wallclock_seconds <= age:
        return Stop(outcome_record.WALLCLOCK, "700 Exceeded max_wallclock_seconds")
    judged_from = max(lease.started_boottime, sample.observed_since) + lease.fizzle_seconds
    if lease.heartbeat_file is None or sample.boottime < judged_from:
        return None
    if sample.heartbeat is None:
        return Stop("heartbeat", "700 Heartbeat file not created")
    if 0 < lease.heartbeat_seconds < sample.boottime - sample.heartbeat_changed:
        return Stop("heartbeat", "700 Heartbeat file not updated")
    return None


def shutdown_due(when: int | None, clock: float) -> Stop | None:
    """The end of every VM once the planned shutdown (Unix s) has come; ``clock`` is the wall clock's time."""
    if when is None or clock < when:
        return None
    return Stop(planned_shutdown.CAUSE, planned_shutdown.MESSAGE)


def leaves_at(lease: Lease, retires: bool, notice: int, now: float) -> float | None:
    """When the VM has to be gone (CLOCK_BOOTTIME s) for another job: ``notice`` seconds after this was first seen.

    None for a slot that does not retire: the other job may have found another place.
    """
    if not retires:
        return None
    return now + notice if lease.leaves_boottime is None else lease.leaves_boottime


def leave_due(lease: Lease, now: float) -> Stop | None:
    """The end of a VM whose notice is over; ``now`` is CLOCK_BOOTTIME."""
    if lease.leaves_boottime is None or now < lease.leaves_boottime:
        return None
    return Stop(outcome_record.BACKFILL, "100 Another job gets the slot")


def outputs_over(usage: outputs.Usage, limit_mb: int) -> Stop | None:
    """The end of a VM whose outputs fill the node's disk, or are of a shape that only harms."""
    if usage.entries > outputs.MOST_ENTRIES:
        return Stop("outputs", f"700 More than {outputs.MOST_ENTRIES} outputs")
    if usage.too_deep:
        return Stop("outputs", f"700 Outputs nest deeper than {outputs.MOST_DEPTH} directories")
    return Stop("outputs", f"700 Outputs exceed {limit_mb} MiB") if usage.used > limit_mb << 20 else None


def should_publish(lease: Lease, sample: Sample) -> bool:
    """Whether to publish this sample for the factory: the first, a changed verdict, or after PUBLISH_SECONDS.

    Each attribute is an update of the schedd's queue, which all VMs of a pool share.
    """
    if sample.fraction is None:
        return False
    if sample.published is None or sample.published_fraction is None:
        return True
    working = lease.evidence_cpu_fraction
    crossed = (sample.fraction >= working) != (sample.published_fraction >= working)
    return crossed or sample.boottime - sample.published >= PUBLISH_SECONDS


def _tries(previous: Sample | None) -> dict[str, Any]:
    return {} if previous is None else {"failures": previous.failures, "retry_at": previous.retry_at}


def _fraction(previous: Sample, seconds: float, processors: int, now: float) -> float | None:
    """CPU use for each processor, 0 to 1, since the previous sample."""
    interval = now - previous.boottime
    if interval < _SHORTEST_INTERVAL or seconds < previous.cpu_seconds:
        return previous.fraction
    return min((seconds - previous.cpu_seconds) / interval / max(processors, 1), 1.0)
