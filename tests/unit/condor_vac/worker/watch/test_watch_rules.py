# SPDX-License-Identifier: GPL-3.0-or-later
"""When vac_watch stops a VM and when it leaves it alone, whatever its own life is like."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condor_vac.worker.lease.store import Lease
from condor_vac.worker.watch import rules
from condor_vac.worker.watch.rules import Sample

START = 1000.0
PERIOD = 30.0


def lease_of(**values: object) -> Lease:
    texts = [
        *("uuid", "domain", "machinetype", "user", "sandbox", "address", "mac", "hostname", "network", "filter"),
        *("gateway", "machinefeatures", "jobfeatures", "joboutputs", "sharing", "chirp_config", "console"),
    ]
    fields = {
        **dict.fromkeys(texts, "x"),
        "uid": 1,
        "gid": 1,
        "created": 0,
        "created_boottime": START - 60,
        "fizzle_seconds": 600,
        "max_wallclock_seconds": 86400,
        "evidence_cpu_fraction": 0.3,
        "heartbeat_file": "heartbeat",
        "heartbeat_seconds": 600,
        "started": 5,
        "started_boottime": START,
        **values,
    }
    return Lease(**fields)  # type: ignore[arg-type]


def observe(
    lease: Lease, times: list[float], heartbeats: dict[float, int], sample: Sample | None = None
) -> tuple[Sample, list[float]]:
    """Look at the given times; the heartbeat's mtime is the last of ``heartbeats`` before. → times of violation."""
    stops = []
    for now in times:
        written = [value for when, value in sorted(heartbeats.items()) if when <= now]
        sample = rules.look(lease, sample, now, (now - START, 1), written[-1] if written else None)
        if rules.violation(lease, sample):
            stops.append(now)
    assert sample is not None
    return sample, stops


def every(first: float, last: float, step: float = PERIOD) -> list[float]:
    return [first + step * n for n in range(int((last - first) / step) + 1)]


def test_a_vm_that_writes_its_heartbeat_is_never_stopped() -> None:
    beats = {START + 60 + 300 * n: n for n in range(60)}
    assert observe(lease_of(), every(START + 10, START + 15000), beats)[1] == []


def test_no_heartbeat_file_after_fizzle_seconds() -> None:
    _, stops = observe(lease_of(), every(START + 10, START + 900), {})
    assert stops[0] == pytest.approx(START + 600, abs=PERIOD)
    assert stops[0] >= START + 600


@pytest.mark.parametrize("seconds", [60, 600, 1200])
def test_a_heartbeat_that_stops(seconds: int) -> None:
    lease = lease_of(heartbeat_seconds=seconds)
    beats = {START + 60 * n: n for n in range(1, 31)}
    _, stops = observe(lease, every(START + 10, START + 6000), beats)
    assert START + 1800 + seconds < stops[0] <= START + 1800 + seconds + 2 * PERIOD


def test_heartbeat_zero_means_that_existing_is_enough() -> None:
    lease = lease_of(heartbeat_seconds=0)
    assert observe(lease, every(START, START + 9000), {START + 20: 1})[1] == []


def test_the_files_time_does_not_matter_only_that_it_changes() -> None:
    beats = {START + 300 * n: (-1) ** n * n * 10**20 for n in range(1, 40)}
    assert observe(lease_of(), every(START, START + 11000), beats)[1] == []


@given(st.floats(rules.ABSENCE_SECONDS + 1, 50000))
def test_after_an_absence_of_the_observer_grace_begins_again(gap: float) -> None:
    lease = lease_of(max_wallclock_seconds=10**6)
    sample, _ = observe(lease, every(START, START + 900), {START + n * 300: n for n in range(4)})
    back = START + 900 + gap
    _, stops = observe(lease, every(back, back + 590), {START: 1}, sample)
    assert stops == []
    _, stops = observe(lease, every(back, back + 1300), {START: 1}, sample)
    assert stops
    assert stops[0] >= back + 600


def test_an_observer_that_starts_late_judges_late() -> None:
    late = START + 5000
    _, stops = observe(lease_of(), every(late, late + 900), {})
    assert stops[0] >= late + 600


def test_a_paused_vm_is_not_judged_by_its_heartbeat() -> None:
    lease = lease_of()
    sample, _ = observe(lease, every(START, START + 900), {START + n * 300: n for n in range(4)})
    for now in every(START + 930, START + 5000):
        sample = rules.paused(sample, now, 1.0, 3)
        assert rules.violation(lease, sample) is None
    _, stops = observe(lease, every(START + 5030, START + 5570), {START: 3}, sample)
    assert stops == []


@pytest.mark.parametrize(("limit", "age", "stopped"), [(900, 899, False), (900, 900, True), (0, 10**7, False)])
def test_wall_clock(limit: int, age: int, stopped: bool) -> None:
    lease = lease_of(max_wallclock_seconds=limit, heartbeat_file=None)
    sample = rules.look(lease, None, START + age, (1.0, 1), None)
    stop = rules.violation(lease, sample)
    assert (stop is not None) is stopped
    if stop:
        assert (stop.cause, stop.message) == ("wallclock", "700 Exceeded max_wallclock_seconds")


def test_a_vm_that_has_not_started_is_not_judged() -> None:
    lease = lease_of(started=None, started_boottime=None)
    assert rules.violation(lease, Sample(START + 10**6, 0, START, None, START)) is None


@pytest.mark.parametrize(
    ("seconds", "processors", "fraction"), [(30.0, 1, 1.0), (15.0, 1, 0.5), (30.0, 4, 0.25), (99.0, 1, 1.0), (0, 2, 0)]
)
def test_cpu_fraction_is_for_each_processor(seconds: float, processors: int, fraction: float) -> None:
    first = rules.look(lease_of(), None, START, (100.0, processors), None)
    second = rules.look(lease_of(), first, START + 30, (100.0 + seconds, processors), None)
    assert first.fraction is None
    assert second.fraction == pytest.approx(fraction)


def test_cpu_time_that_decreases_is_ignored() -> None:
    first = rules.look(lease_of(), None, START, (100.0, 1), None)
    assert rules.look(lease_of(), first, START + 30, (5.0, 1), None).fraction is None


def test_what_is_should_publish() -> None:
    lease, sample = lease_of(), Sample(START, 0, START, None, START)
    assert not rules.should_publish(lease, sample)
    assert rules.should_publish(lease, replace(sample, fraction=0.5))
    recorded = replace(sample, fraction=0.5, published=START - 30, published_fraction=0.6)
    assert not rules.should_publish(lease, recorded)
    assert rules.should_publish(lease, replace(recorded, fraction=0.1))
    assert rules.should_publish(lease, replace(recorded, published=START - rules.PUBLISH_SECONDS))


@pytest.mark.parametrize(("wanted", "worth"), [(0.3, True), (0.05, False), (0.2, True), (0.0, False)])
def test_a_change_of_verdict_is_one_by_the_machinetypes_own_measure(wanted: float, worth: bool) -> None:
    recorded = Sample(START, 0, START, None, START, fraction=0.1, published=START - 30, published_fraction=0.6)
    assert rules.should_publish(lease_of(evidence_cpu_fraction=wanted), recorded) is worth


def test_a_sample_survives_its_file() -> None:
    sample = Sample(1.0, 2.0, 3.0, 4, 5.0, 0.5, 6.0, 0.25, None)
    assert Sample(**sample.to_mapping()) == sample
