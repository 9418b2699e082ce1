# SPDX-License-Identifier: GPL-3.0-or-later
"""When vac_watch stops a VM and when it leaves it alone, whatever its own life is like."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condor_vac.worker.lease.store import Lease
from condor_vac.worker.vm import outputs
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
    sample = Sample(1.0, 2.0, 3.0, 4, 5.0, 0.5, 6.0, 0.25, None, heartbeat_updated=4.5)
    assert Sample(**sample.to_mapping()) == sample


@pytest.mark.parametrize(
    ("started", "age", "seen_from_start"),
    [(START, 0, True), (START, rules.ABSENCE_SECONDS, True), (START, rules.ABSENCE_SECONDS + 1, False)],
)
def test_the_first_look_counts_from_the_start_unless_the_observer_was_late(
    started: float, age: float, seen_from_start: bool
) -> None:
    sample = rules.look(lease_of(started_boottime=started), None, started + age, (7.0, 2), 5)
    since = started if seen_from_start else started + age
    assert sample == Sample(started + age, 7.0, since, 5, started + age)


def test_the_first_look_at_a_vm_that_has_not_started_counts_from_itself() -> None:
    lease = lease_of(started=None, started_boottime=None)
    assert rules.look(lease, None, START, (0.0, 1), None) == Sample(START, 0.0, START, None, START)


BEFORE = Sample(START + 20, 10.0, START, 3, START + 15, 0.25, START + 10, 0.5)


@pytest.mark.parametrize(
    ("heartbeat", "changed", "updated"),
    [(3, START + 15, None), (4, START + 50, START + 50), (None, START + 50, None)],
)
def test_a_later_look_keeps_what_it_does_not_measure(
    heartbeat: int | None, changed: float, updated: float | None
) -> None:
    sample = rules.look(lease_of(), BEFORE, START + 50, (25.0, 1), heartbeat)
    expected = Sample(START + 50, 25.0, START, heartbeat, changed, 0.5, START + 10, 0.5, heartbeat_updated=updated)
    assert sample == expected


@pytest.mark.parametrize(
    ("beats", "updated"),
    [
        # The file's own time is the VM's: only that it changes counts, and that it was there before.
        ([None, None, None], None),
        ([7, 7, 7], None),
        ([None, 7, 7], None),
        ([7, 7, 10**30], 60),
        ([7, -5, -5], 30),
        ([7, 8, 9], 60),
        ([7, None, 8], None),
        ([7, 8, None], 30),
    ],
)
def test_a_heartbeat_is_updated_once_its_file_is_seen_to_change(beats: list[int | None], updated: float | None) -> None:
    sample = None
    for number, beat in enumerate(beats):
        sample = rules.look(lease_of(), sample, START + 30 * number, (1.0 + number, 1), beat)
    assert sample is not None
    assert sample.heartbeat_updated == (None if updated is None else START + updated)


def test_a_pause_keeps_the_last_update_and_an_absence_forgets_it() -> None:
    seen = replace(BEFORE, heartbeat_updated=START + 10)
    assert rules.paused(seen, START + 50, 11.0, 9).heartbeat_updated == START + 10
    assert rules.look(lease_of(), seen, START + 50, (11.0, 1), 3).heartbeat_updated == START + 10
    assert rules.look(lease_of(), seen, START + 5000, (11.0, 1), 9).heartbeat_updated is None


@pytest.mark.parametrize(
    ("later", "begins_again"),
    [(0, False), (rules.ABSENCE_SECONDS, False), (rules.ABSENCE_SECONDS + 1, True), (-1, True)],
)
def test_an_absence_or_another_boot_begins_anew(later: float, begins_again: bool) -> None:
    now = BEFORE.boottime + later
    sample = rules.look(lease_of(), BEFORE, now, (25.0, 1), 3)
    assert sample.observed_since == (now if begins_again else START)
    assert (sample == Sample(now, 25.0, now, 3, now)) is begins_again


def test_a_pause_begins_grace_anew_and_keeps_what_was_published() -> None:
    assert rules.paused(None, START, 2.0, 7) == Sample(START, 2.0, START, 7, START)
    before = replace(BEFORE, missing_since=START + 30)
    found = rules.paused(before, START + 50, 11.0, 4)
    assert found == Sample(START + 50, 11.0, START + 50, 4, START + 50, None, START + 10, 0.5)


@pytest.mark.parametrize(
    ("since", "age", "heartbeat", "changed", "message"),
    [
        (0, 599, None, 0, None),
        (0, 600, None, 0, "700 Heartbeat file not created"),
        (50, 649, None, 0, None),
        (50, 650, None, 0, "700 Heartbeat file not created"),
        # Seen before it started: its grace is counted from the start.
        (-50, 599, None, 0, None),
        (0, 700, 1, 100, None),
        (0, 701, 1, 100, "700 Heartbeat file not updated"),
    ],
)
def test_when_the_heartbeat_is_judged(
    since: float, age: float, heartbeat: int | None, changed: float, message: str | None
) -> None:
    sample = Sample(START + age, 0.0, START + since, heartbeat, START + changed)
    expected = None if message is None else rules.Stop("heartbeat", message)
    assert rules.violation(lease_of(), sample) == expected


@pytest.mark.parametrize("seconds", [1, 2])
def test_the_shortest_limits_are_limits(seconds: int) -> None:
    wallclock = lease_of(max_wallclock_seconds=seconds, heartbeat_file=None)
    assert rules.violation(wallclock, Sample(START + seconds, 0.0, START, None, START)) is not None
    beating = lease_of(fizzle_seconds=0, heartbeat_seconds=seconds)
    assert rules.violation(beating, Sample(START + seconds, 0.0, START, 1, START)) is None
    assert rules.violation(beating, Sample(START + seconds + 1, 0.0, START, 1, START)) is not None


@pytest.mark.parametrize(("when", "due"), [(None, False), (99, True), (100, True), (101, False)])
def test_the_planned_shutdown_ends_every_vm(when: int | None, due: bool) -> None:
    stop = rules.Stop("shutdowntime", "100 Shutdown of the machine as planned")
    assert rules.shutdown_due(when, 100.0) == (stop if due else None)


def test_a_slot_that_retires_leaves_its_vm_the_notice_from_when_it_was_seen() -> None:
    assert rules.leaves_at(lease_of(), False, 600, START) is None
    assert rules.leaves_at(lease_of(), True, 600, START) == START + 600
    told = lease_of(leaves_boottime=START + 60)
    assert rules.leaves_at(told, True, 600, START + 30) == START + 60
    assert rules.leaves_at(told, False, 600, START + 30) is None


@pytest.mark.parametrize(("leaves", "due"), [(None, False), (START - 1, True), (START, True), (START + 1, False)])
def test_a_vm_leaves_when_its_notice_is_over(leaves: float | None, due: bool) -> None:
    stop = rules.Stop("backfill", "100 Another job gets the slot")
    assert rules.leave_due(lease_of(leaves_boottime=leaves), START) == (stop if due else None)


@pytest.mark.parametrize(
    ("used", "entries", "too_deep", "message"),
    [
        (5 << 20, 10_000, False, None),
        ((5 << 20) + 1, 10_000, False, "700 Outputs exceed 5 MiB"),
        (0, 10_001, False, "700 More than 10000 outputs"),
        (0, 40, True, "700 Outputs nest deeper than 32 directories"),
    ],
)
def test_outputs_that_fill_the_disk(used: int, entries: int, too_deep: bool, message: str | None) -> None:
    usage = outputs.Usage()
    usage.used, usage.entries, usage.too_deep = used, entries, too_deep
    assert rules.outputs_over(usage, 5) == (None if message is None else rules.Stop("outputs", message))


def test_failures_are_kept_whatever_is_seen_of_the_vm() -> None:
    late = replace(BEFORE, failures=3, retry_at=START + 80)
    for seen in (
        rules.look(lease_of(), late, START + 50, (25.0, 1), 3),
        rules.look(lease_of(), late, START + 5000, (25.0, 1), 3),
        rules.paused(late, START + 50, 25.0, 3),
    ):
        assert (seen.failures, seen.retry_at) == (3, START + 80)


def test_work_that_fails_is_put_off_more_and_more_until_it_is_done() -> None:
    sample, delays, now = BEFORE, [], START + 120
    for _ in range(9):
        sample = rules.after_try(sample, now, failed=True)
        delays.append(sample.retry_at - now)
    assert delays == [0, 0, 30, 60, 120, 240, 480, 900, 900]
    assert sample == replace(BEFORE, failures=9, retry_at=now + 900)
    assert rules.after_try(sample, now, failed=False) == BEFORE


def test_a_starter_that_is_silent_while_its_vm_starts_is_tried_in_every_run() -> None:
    sample = BEFORE
    for age in range(0, 120, 5):
        sample = rules.after_try(sample, START + age, failed=True)
        assert (sample.failures, sample.retry_at) == (1, START + age)


def test_a_sample_of_which_half_is_published_is_published() -> None:
    half = Sample(START, 0.0, START, None, START, fraction=0.5, published=START)
    assert rules.should_publish(lease_of(), half)
    other = Sample(START, 0.0, START, None, START, fraction=0.5, published_fraction=0.5)
    assert rules.should_publish(lease_of(), other)


@pytest.mark.parametrize(("fraction", "published"), [(0.3, 0.3), (0.3, 0.4), (0.29, 0.2)])
def test_the_measure_itself_is_enough(fraction: float, published: float) -> None:
    sample = Sample(START, 0.0, START, None, START, fraction, START, published)
    assert not rules.should_publish(lease_of(evidence_cpu_fraction=0.3), sample)


@pytest.mark.parametrize(
    ("later", "seconds", "fraction"), [(4.9, 4.9, 0.25), (5.0, 2.5, 0.5), (30.0, 0.0, 0.0), (30.0, -0.1, 0.25)]
)
def test_the_cpu_fraction_of_before_stays_where_nothing_is_measured(
    later: float, seconds: float, fraction: float
) -> None:
    sample = rules.look(lease_of(), BEFORE, BEFORE.boottime + later, (BEFORE.cpu_seconds + seconds, 1), 3)
    assert sample.fraction == pytest.approx(fraction)


def test_a_vm_without_processors_divides_by_none() -> None:
    sample = rules.look(lease_of(), BEFORE, BEFORE.boottime + 30, (BEFORE.cpu_seconds + 15, 0), 3)
    assert sample.fraction == pytest.approx(0.5)
