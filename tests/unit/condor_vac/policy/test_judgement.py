# SPDX-License-Identifier: GPL-3.0-or-later
"""What the policy concludes from single ends and from evidence."""

from __future__ import annotations

import pytest

from condor_vac.policy.judgement import DRY, ERROR, FOUND, UNKNOWN, Judgement
from condor_vac.policy.observation import RUNNING, Ended, Limits, Machine, Observation

NOW = 1_700_000_000.0


def end(name: str, at: float, kind: str, life: float = 300.0, host: str = "wn-1", works: bool = False) -> Ended:
    """A VM that ended ``at`` seconds after NOW."""
    return Ended(name, NOW, NOW + at, kind, False, host, NOW + at - life, works, True)


def judged(*ends: Ended, limits: Limits | None = None) -> Judgement:
    judgement = Judgement(limits or Limits())
    judgement.take_in(Observation(NOW + 10_000, (), ends))
    return judgement


@pytest.mark.parametrize(
    ("kind", "life", "works", "verdict"),
    [
        ("success", 4000.0, False, FOUND),
        ("no_work", 300.0, False, DRY),
        ("fizzle", 300.0, False, DRY),
        ("none", 4000.0, True, FOUND),
        ("none", 4000.0, False, FOUND),
        ("none", 3000.0, False, DRY),
        ("success", 3000.0, True, FOUND),
        ("success", 3000.0, False, FOUND),
        ("success", 300.0, False, FOUND),
        ("no_work", 4000.0, True, FOUND),
        ("no_work", 4000.0, False, DRY),
        ("banned", 60.0, False, ERROR),
        ("site", 60.0, False, ERROR),
        ("experiment", 60.0, False, ERROR),
        ("agent", 60.0, False, ERROR),
        ("refused", 5.0, False, ERROR),
        ("lost", 60.0, False, UNKNOWN),
        ("withdrawn", 60.0, False, UNKNOWN),
        ("host_request", 60.0, False, UNKNOWN),
    ],
)
def test_each_way_to_end_is_an_answer_of_its_own(kind: str, life: float, works: bool, verdict: str) -> None:
    judgement = Judgement(Limits(max_wallclock_seconds=4000.0))
    vm = Machine("2", RUNNING, NOW, NOW, "wn-1")
    judgement.take_in(Observation(NOW + 5000, (vm,)))
    judgement = Judgement(Limits(max_wallclock_seconds=4000.0))
    judgement.failures.known_hosts = {"wn-1": NOW}
    judgement.take_in(Observation(NOW + 10_000, (), (end("1", 5000, kind, life, works=works),)))
    assert judgement.verdict() == verdict


def test_the_answer_to_the_latest_question_counts_not_the_latest_answer() -> None:
    asked_early = end("1", 6000, "none", life=6000, works=True)
    asked_late = end("2", 4000, "no_work", life=200)
    assert judged(asked_early, asked_late).verdict() == DRY
    assert judged(end("3", 3000, "no_work", life=200), end("4", 6000, "none", life=2900, works=True)).verdict() == FOUND


def test_an_early_success_means_an_empty_queue_only_where_that_was_seen() -> None:
    early, long_lived = Limits(max_wallclock_seconds=86400.0), Limits(max_wallclock_seconds=4100.0)
    success, in_vain = end("1", 1000, "success", 900, works=True), end("2", 1500, "no_work", 200)
    # An agent that does one task and ends well says nothing of the queue.
    assert judged(success, limits=early).verdict() == FOUND
    assert judged(success, in_vain, end("3", 6000, "success", 4000, works=True), limits=early).verdict() == DRY
    assert judged(success, in_vain, end("3", 6000, "success", 4000, works=True), limits=long_lived).verdict() == FOUND


def test_agents_that_do_one_task_and_end_well_keep_a_full_queue_served() -> None:
    singles = [end(str(n), 300 * n, "success", 200, works=True) for n in range(1, 9)]
    assert judged(*singles, limits=Limits(max_wallclock_seconds=86400.0)).verdict() == FOUND


@pytest.mark.parametrize("life", [200.0, 4000.0])
def test_of_vms_that_end_well_and_showed_no_work_two_in_a_row_are_believed(life: float) -> None:
    in_a_row = [end(str(n), 2000 * n, "success", life) for n in range(1, 5)]
    assert [judged(*in_a_row[:number]).verdict() for number in (1, 2, 3, 4)] == [FOUND, FOUND, DRY, DRY]
    shows = end("9", 4200, "success", 400, works=True)
    assert judged(*in_a_row[:2], shows, in_a_row[2]).verdict() == FOUND, "one has shown work meanwhile"


def test_a_silent_early_end_is_a_failure_where_vms_say_that_there_is_no_work() -> None:
    says = end("1", 1000, "no_work")
    silent = [end(f"2{host}", 2000 + host, "fizzle", 200, f"wn-{host}") for host in range(3)]
    quiet = judged(*silent)
    assert (quiet.verdict(), quiet.failures.in_a_row) == (DRY, 0)
    learned = judged(says, *silent)
    assert learned.failures.in_a_row == 3
    assert learned.episodes.last_dry < NOW + 1000


def test_an_end_before_an_agent_could_have_asked_is_a_failure() -> None:
    lives = [end(str(number), 1000 + number, "fizzle", 300) for number in range(3)]
    assert judged(*lives, end("9", 3000, "fizzle", 40)).failures.in_a_row == 1
    assert judged(*lives, end("9", 3000, "fizzle", 290)).failures.in_a_row == 0


def test_failures_on_one_host_of_many_leave_the_verdict_alone() -> None:
    judgement = Judgement(Limits())
    machines = [Machine(f"{n}", RUNNING, NOW, NOW, f"wn-{n}", works=True, measured=True) for n in range(10)]
    judgement.take_in(Observation(NOW + 300, tuple(machines)))
    bad = [end(f"b{n}", 1000 + n, "site", 45, "wn-99") for n in range(5)]
    judgement.take_in(Observation(NOW + 1100, tuple(machines), tuple(bad)))
    assert judgement.verdict() == FOUND
    assert judgement.hosts.avoided(NOW + 1100) == ("wn-99",)
    worse = [end(f"c{n}", 2000 + n, "site", 45, f"wn-{n}") for n in range(5)]
    judgement.take_in(Observation(NOW + 2100, tuple(machines), tuple(worse)))
    assert judgement.verdict() == ERROR
    assert {last.kind for last in judgement.failures.since(judgement.latest_answer).values()} == {"site"}


@pytest.mark.parametrize(("kind", "avoided"), [("refused", ("wn-bad",)), ("site", ("wn-bad",)), ("lost", ())])
def test_a_host_that_cannot_start_vms_is_avoided_and_one_that_lost_them_is_not(
    kind: str, avoided: tuple[str, ...]
) -> None:
    judgement = Judgement(Limits(backoff_seconds=600.0))
    works = tuple(Machine(str(n), RUNNING, NOW, NOW, f"wn-{n}", True, True) for n in range(4))
    judgement.take_in(Observation(NOW + 90, works))
    ends = tuple(end(f"9.0:{n}", 100.0 + n, kind, life=5.0, host="wn-bad") for n in (1, 2))
    judgement.take_in(Observation(NOW + 150, works, ends))
    assert judgement.verdict() == FOUND
    assert judgement.hosts.avoided(NOW + 150) == avoided
    assert judgement.hosts.avoided(NOW + 800) == ()


def test_a_vm_that_should_have_shown_work_by_now_counts_as_one_that_found_none() -> None:
    judgement = Judgement(Limits())
    shown = tuple(Machine(f"{n}", RUNNING, NOW, NOW, "wn-1", works=True, measured=True) for n in range(3))
    judgement.take_in(Observation(NOW + 200, shown))
    assert judgement.durations.late_seconds == 460.0
    late = Machine("9", RUNNING, NOW + 300, NOW + 300, "wn-1", works=False, measured=True)
    judgement.take_in(Observation(NOW + 700, (*shown, late)))
    assert judgement.verdict() == FOUND
    judgement.take_in(Observation(NOW + 800, (*shown, late)))
    assert judgement.verdict() == DRY
    at_last = Machine("9", RUNNING, NOW + 300, NOW + 300, "wn-1", works=True, measured=True)
    judgement.take_in(Observation(NOW + 900, (*shown, at_last)))
    assert "9" in judgement.found


@pytest.mark.parametrize(("asked_later", "late"), [(True, set()), (False, {"9"})])
def test_a_vm_is_not_late_where_one_that_asked_later_has_shown_work(asked_later: bool, late: set[str]) -> None:
    judgement = Judgement(Limits())
    shown = tuple(Machine(f"{n}", RUNNING, NOW, NOW, "wn-1", works=True, measured=True) for n in range(3))
    judgement.take_in(Observation(NOW + 200, shown))
    silent_one = Machine("9", RUNNING, NOW + 100, NOW + 100, "wn-1", works=False, measured=True)
    later = Machine("10", RUNNING, NOW + 110, NOW + 110, "wn-2", works=True, measured=True)
    everybody = (*shown, silent_one, *([later] if asked_later else []))
    judgement.take_in(Observation(NOW + 570, everybody))
    assert judgement.late == late
    assert (judgement.verdict() == FOUND) is asked_later


def silent(number: int, since: float = 0.0, works: bool = False) -> tuple[Machine, ...]:
    """VMs that run and are measured, and (unless ``works``) have shown nothing."""
    started = NOW + since
    return tuple(Machine(f"{since:.0f}/{n}", RUNNING, started, started, f"wn-{n}", works, True) for n in range(number))


def test_vms_that_outlive_the_time_of_a_fizzle_are_assumed_to_work_where_none_shows_it() -> None:
    judgement = Judgement(Limits())
    judgement.take_in(Observation(NOW + 600, silent(3)))
    assert (judgement.verdict(), judgement.found) == (UNKNOWN, set())
    judgement.take_in(Observation(NOW + 601, silent(3)))
    assert (judgement.verdict(), set(judgement.assumed)) == (FOUND, {"0/0", "0/1", "0/2"})


@pytest.mark.parametrize("kind", ["no_work", "success", "none"])
def test_what_was_assumed_of_vms_is_taken_back_when_one_of_their_age_found_none(kind: str) -> None:
    judgement = Judgement(Limits())
    judgement.unshown = 2
    machines = (*silent(3), *silent(3, 500))
    judgement.take_in(Observation(NOW + 1500, machines))
    assert (judgement.verdict(), len(judgement.found)) == (FOUND, 6)
    patient = Ended("0/0", NOW, NOW + 1550, kind, True, "wn-0", NOW, False, True)
    judgement.take_in(Observation(NOW + 1560, machines[1:], (patient,)))
    assert (judgement.verdict(), judgement.found, judgement.assumed) == (DRY, set(), {})
    assert judgement.durations.proof_seconds == 1.25 * 1550 + 60
    judgement.take_in(Observation(NOW + 1990, machines[1:]))
    assert judgement.found == set()
    judgement.take_in(Observation(NOW + 2000, machines[1:]))
    assert set(judgement.found) == {"0/1", "0/2"}, "these have outlived it, and the younger have not yet"


@pytest.mark.parametrize(("life", "taken_back"), [(1700.0, True), (1900.0, False)])
def test_what_was_assumed_of_vms_is_taken_back_when_one_of_their_age_failed(life: float, taken_back: bool) -> None:
    """Unless it failed so late that it may have worked before."""
    judgement = Judgement(Limits())
    machines = silent(3)
    judgement.take_in(Observation(NOW + life, machines))
    assert len(judgement.found) == 3
    failed = Ended("0/0", NOW, NOW + life, "experiment", True, "wn-0", NOW, False, True)
    judgement.take_in(Observation(NOW + life + 10, machines[1:], (failed,)))
    assert (len(judgement.found), list(judgement.durations.failed.values)) == ((0, [life]) if taken_back else (2, []))


def test_an_experiment_whose_vms_fail_for_want_of_work_grows_no_deeper_than_its_work() -> None:
    """As with 600 "No job matched": more failed since than found work."""
    judgement = Judgement(Limits())
    judgement.take_in(Observation(NOW + 300, silent(2, works=True)))
    assert judgement.episodes.bottomless
    ends = [end(f"x{n}", 1000 + n, "experiment", 300, f"wn-{n}") for n in range(3)]
    judgement.take_in(Observation(NOW + 1100, silent(2, works=True), tuple(ends)))
    assert (judgement.verdict(), judgement.episodes.bottomless, judgement.episodes.deepest) == (ERROR, False, 2)
    many = Judgement(Limits())
    many.take_in(Observation(NOW + 300, silent(9, works=True)))
    many.take_in(Observation(NOW + 1100, silent(9, works=True), tuple(ends)))
    assert (many.verdict(), many.episodes.bottomless) == (ERROR, True)


def test_what_was_shown_is_not_taken_back_with_what_was_assumed() -> None:
    judgement = Judgement(Limits())
    machines = (*silent(2, works=True), *silent(2, 10))
    judgement.take_in(Observation(NOW + 700, machines))
    assert len(judgement.found) == 4
    patient = Ended("10/0", NOW + 10, NOW + 800, "no_work", True, "wn-0", NOW + 10, False, True)
    judgement.take_in(Observation(NOW + 810, (*machines[:2], machines[3]), (patient,)))
    assert (judgement.found, judgement.assumed) == ({"0/0", "0/1"}, {})
    assert judgement.episodes.last_found == judgement.episodes.last_shown > NOW


def test_an_assumed_vm_that_shows_work_at_last_teaches_how_long_that_takes() -> None:
    judgement = Judgement(Limits())
    judgement.take_in(Observation(NOW + 700, silent(3)))
    judgement.take_in(Observation(NOW + 4000, silent(3, works=True)))
    assert (judgement.assumed, list(judgement.durations.evidence.values)) == ({}, [4000.0] * 3)
    assert judgement.durations.late_seconds == 2 * 4000 + 60


def test_a_vm_whose_evidence_is_late_teaches_that_it_can_be() -> None:
    judgement = Judgement(Limits())
    judgement.take_in(Observation(NOW + 200, silent(3, works=True)))
    late = silent(1, 300)
    judgement.take_in(Observation(NOW + 800, (*silent(3, works=True), *late)))
    assert judgement.late == {late[0].id}
    judgement.take_in(Observation(NOW + 1300, (*silent(3, works=True), *silent(1, 300, works=True))))
    assert judgement.durations.evidence.high == 1000.0


def test_old_ends_are_not_counted_again_and_memory_stays_small() -> None:
    judgement = Judgement(Limits())
    for cycle in range(500):
        now = NOW + 600 * cycle
        ended = Ended(f"{cycle}", now - 400, now - 10, "no_work", True, "wn-1", now - 300, False, True)
        judgement.take_in(Observation(now, (), (ended,)))
    assert len(judgement.counted) <= 7200 / 600 + 1
    before = judgement.state()
    old = Ended("3", NOW, NOW + 1500, "success", False, "wn-1", NOW, True, True)
    judgement.take_in(Observation(NOW + 600 * 499, (), (old,)))
    assert judgement.state() == before
