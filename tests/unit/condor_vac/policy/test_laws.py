# SPDX-License-Identifier: GPL-3.0-or-later
"""Which law is in force, and the reasons that it gives, in the words that administrators read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from condor_vac.policy.judgement import Judgement
from condor_vac.policy.laws import Growth, Opening, Probes, Scouts, law_in_force, probe_interval
from condor_vac.policy.observation import HELD, IDLE, RUNNING, Ended, Limits, Machine, Observation
from condor_vac.policy.situation import Situation, count_machines
from condor_vac.policy.submissions import Submissions

NOW = 1_700_000_000.0
LIMITS = Limits(max_machines=100, max_idle=10, backoff_seconds=1800.0)


def situation(
    *ends: Ended, machines: tuple[Machine, ...] = (), limits: Limits = LIMITS, submitted: tuple[float, ...] = ()
) -> Situation:
    """The moment after one observation; ``submitted`` are seconds before it."""
    seen = Observation(NOW, machines, ends)
    judgement, submissions = Judgement(limits), Submissions(limits.probe_machines)
    judgement.take_in(seen)
    submissions.times = sorted(NOW - before for before in submitted)
    return Situation(NOW, limits, count_machines(seen, judgement.found, judgement.late), judgement, submissions)


def ends(*kinds: str, hosts: int = 100, life: float = 300.0) -> tuple[Ended, ...]:
    """VMs that ended one after another, the last just now."""
    return tuple(
        Ended(
            f"{n}.0", NOW - 9000, NOW - len(kinds) + n, kind, False, f"wn-{n % hosts}", NOW - len(kinds) + n - life,
            False, True,
        )
        for n, kind in enumerate(kinds)
    )  # fmt: skip


def running(number: int, works: bool, since: float = 3000.0) -> tuple[Machine, ...]:
    started = NOW - since
    return tuple(Machine(f"r{n}.0", RUNNING, started, started, f"wn-{n}", works, True) for n in range(number))


@pytest.mark.parametrize(
    ("number", "kind", "hosts", "reason"),
    [
        (1, "refused", 1, "The last VM failed (could not be started) on 1 host"),
        (2, "refused", 1, "The last 2 VMs failed (could not be started) on 1 host"),
        (4, "experiment", 4, "The last 4 VMs failed (experiment error) on 4 hosts"),
        (3, "banned", 3, "The last 3 VMs failed (banned by the experiment) on 3 hosts"),
        (3, "site", 3, "The last 3 VMs failed (site error) on 3 hosts"),
        (3, "agent", 3, "The last 3 VMs failed (agent error) on 3 hosts"),
        (1, "lost", 1, "The last VM ended without a result"),
        (2, "lost", 2, "The last 2 VMs ended without a result"),
    ],
)
def test_failures_are_counted_with_their_hosts(number: int, kind: str, hosts: int, reason: str) -> None:
    limits = replace(LIMITS, first_machines=number)
    verdict, law = law_in_force(situation(*ends(*[kind] * number, hosts=hosts), limits=limits))
    assert verdict == "error"
    assert law.allowed().reason == f"{reason}: probing every 15 min (at most 2 VMs in 30 min), next probe now."


def test_a_vm_without_a_host_fails_on_none() -> None:
    end = replace(ends("site")[0], host=None)
    _, law = law_in_force(situation(end))
    assert law.allowed().reason.startswith("The last VM failed (site error): probing")


def test_a_silent_early_end_where_vms_say_that_there_is_no_work() -> None:
    _, law = law_in_force(situation(*ends("no_work", "fizzle", "fizzle", "fizzle")))
    assert law.allowed().reason.startswith("The last 3 VMs failed (ended early without a code) on 3 hosts: probing")


@pytest.mark.parametrize(
    ("submitted", "idle", "unproven", "plan"),
    [
        ((), 0, 1, "next probe now"),
        ((900,), 0, 1, "next probe now"),
        ((899,), 0, 0, "next probe in 1 s"),
        ((100,), 0, 0, "next probe in 13 min"),
        ((1000, 950, 930), 0, 0, "next probe in 14 min"),
        ((10_000,), 1, 1, "next probe is idle"),
        ((10_000,), 3, 1, "next probe is idle"),
    ],
)
def test_probes_keep_their_pace(submitted: tuple[float, ...], idle: int, unproven: int, plan: str) -> None:
    machines = tuple(Machine(f"i{n}.0", IDLE, NOW - 10_000) for n in range(idle))
    verdict, law = law_in_force(situation(*ends("no_work"), machines=machines, submitted=submitted))
    assert (verdict, type(law)) == ("dry", Probes)
    allowed = law.allowed()
    assert allowed.unproven == unproven
    assert allowed.reason == f"No VM finds work: probing every 15 min (at most 2 VMs in 30 min), {plan}."


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (["success", "success"], ""),
        (
            ["success"] * 3,
            " (3 ended with 200 and showed no sign of any: if their work is short, lower evidence_seconds)",
        ),
    ],
)
def test_silent_successes_that_do_not_count_are_named(before: list[str], why: str) -> None:
    _, law = law_in_force(situation(*ends(*before, "no_work")))
    assert law.allowed().reason.startswith(f"No VM finds work{why}: probing every ")


@pytest.mark.parametrize(
    ("probe_machines", "words"),
    [(1, "probing every 30 min (at most 1 VM in 30 min), next probe now"), (0, "no probes (probe_machines = 0)")],
)
def test_the_probes_limit_is_named(probe_machines: int, words: str) -> None:
    limits = replace(LIMITS, probe_machines=probe_machines)
    _, law = law_in_force(situation(*ends("no_work"), limits=limits))
    assert law.allowed() == (min(probe_machines, 1), f"No VM finds work: {words}.")


def test_work_that_was_found_long_ago_and_has_ended_counts_as_none() -> None:
    success = ends("success", life=80_000.0)[0]
    old = replace(success, ended=NOW - 1801, started=NOW - 80_000)
    assert law_in_force(situation(old))[0] == "dry"
    assert law_in_force(situation(replace(old, ended=NOW - 1799)))[0] == "found"
    verdict, law = law_in_force(situation(old, machines=running(1, works=True, since=90_000)))
    assert (verdict, type(law)) == ("found", Growth)


@pytest.mark.parametrize(
    ("working", "reason"),
    [
        (1, "1 VM found work (1 working now): growing up to the caps."),
        (5, "5 VMs found work (5 working now): growing up to the caps."),
    ],
)
def test_growth_without_bound(working: int, reason: str) -> None:
    _, law = law_in_force(situation(machines=running(working, works=True)))
    assert law.allowed() == (100, reason)


@pytest.mark.parametrize(
    ("depths", "found", "unproven", "words"),
    [
        ([], 1, 2, "1 VM found work (credit 1.5): allowing 2 VMs without a result at a time."),
        ([9], 2, 5, "2 VMs in a row found work (9 did last time, credit 1.5): "
                    "allowing 5 VMs without a result at a time."),
        ([1], 3, 3, "3 VMs in a row found work (more than the 1 of last time, credit 1.5): "
                    "allowing 3 VMs without a result at a time."),
        ([4], 1, 2, "1 VM found work (4 did last time, credit 1.5): allowing 2 VMs without a result at a time."),
    ],
)  # fmt: skip
def test_growth_by_depth_and_credit(depths: list[int], found: int, unproven: int, words: str) -> None:
    at = situation(machines=running(found, works=True))
    at.judgement.episodes.bottomless = False
    at.judgement.episodes.depths[True] = depths
    at.judgement.credit.balance = 1.5
    assert Growth(at).allowed() == (unproven, words)


@pytest.mark.parametrize(
    ("depths", "found", "law"),
    [([1], 1, "scout"), ([2], 2, "scout"), ([2], 1, "grow"), ([1], 2, "grow"), ([3], 3, "grow"), ([1, 3], 1, "grow")],
)
@pytest.mark.parametrize("credit", [-5.0, 12.0])
def test_where_there_was_never_more_than_one_or_two_growth_asks_no_more_than_scouts(
    depths: list[int], found: int, law: str, credit: float
) -> None:
    for waited, unproven in ((100.0, 0), (3600.0, 1)):
        at = situation(machines=running(found, works=True), submitted=(waited,))
        at.judgement.episodes.bottomless = False
        at.judgement.episodes.depths[True] = depths
        at.judgement.credit.balance = credit
        allowed = Growth(at).allowed()
        if law == "scout":
            words = "has not been work for more of late: starting 1 scout every 60 min."
            assert (allowed.unproven, allowed.reason[-len(words) :]) == (unproven, words)
        else:
            assert allowed.unproven >= 1


@pytest.mark.parametrize(
    ("life", "deepest", "minutes"),
    [(300, 60, 15), (300, 20, 45), (300, 2, 60), (1200, 60, 30), (1200, 200, 15), (1200, 10, 60)],
)
def test_probes_are_rarer_where_they_cost_more_or_find_less(life: float, deepest: int, minutes: int) -> None:
    at = situation(*ends("no_work", "no_work", life=life))
    at.judgement.episodes.depths[False] = [deepest]
    assert probe_interval(Probes(at, failing=False)) == minutes * 60


def test_scouts_are_single_and_wait_for_the_one_that_is_idle() -> None:
    working = running(40, works=True)
    at = situation(*ends("no_work"), machines=working, submitted=(1000,))
    verdict, law = law_in_force(at)
    assert (verdict, type(law)) == ("dry", Scouts)
    assert law.allowed() == (1, "The last VM found no work (40 still working): starting 1 scout every 15 min.")
    idle = Machine("i.0", IDLE, NOW - 1000)
    assert law_in_force(situation(*ends("no_work"), machines=(*working, idle), submitted=(1000,)))[1].allowed()[0] == 1
    assert law_in_force(situation(*ends("no_work"), machines=working, submitted=(800,)))[1].allowed()[0] == 0


@pytest.mark.parametrize(
    ("held", "lost", "reason"),
    [
        (0, 0, "No VM has reported yet: starting up to 10 before the first result."),
        (2, 1, "No VM has reported yet (3 failed, lost or held): starting up to 7 before the first result."),
    ],
)
def test_the_opening_counts_what_cannot_answer(held: int, lost: int, reason: str) -> None:
    machines = tuple(Machine(f"h{n}.0", HELD, NOW - 100) for n in range(held))
    verdict, law = law_in_force(situation(*ends(*["lost"] * lost), machines=machines))
    assert (verdict, type(law)) == ("unknown", Opening)
    assert law.allowed() == (10 - held - lost, reason)
