# SPDX-License-Identifier: GPL-3.0-or-later
"""How the policy answers what VMs tell, situation by situation."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from condor_vac.base.errors import UsageError, VacError
from condor_vac.policy.control_law import Policy
from condor_vac.policy.observation import HELD, IDLE, RUNNING, Decision, Ended, Limits, Machine, Observation

NOW = 1_700_000_000.0
LIMITS = Limits(max_machines=100, max_idle=10)


class Play:
    """One policy with the VMs it made; `minutes` lets each cycle's decision happen."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.policy, self.now, self.made = Policy(limits), NOW, 0
        self.machines: dict[str, Machine] = {}
        self.ended: list[Ended] = []
        self.last = Decision()

    def cycle(self, seconds: float = 60.0) -> Decision:
        self.now += seconds
        self.last = self.policy.decide(Observation(self.now, tuple(self.machines.values()), tuple(self.ended)))
        self.ended = []
        for name in self.last.remove:
            del self.machines[name]
        for _ in range(self.last.submit):
            self.made += 1
            self.machines[f"{self.made}.0"] = Machine(f"{self.made}.0", IDLE, self.now)
        return self.last

    def start(self, hosts: int = 5) -> None:
        """Every idle VM gets a slot."""
        for number, vm in enumerate(list(self.machines.values())):
            if vm.state == IDLE:
                host = f"wn-{number % hosts}"
                self.machines[vm.id] = replace(vm, state=RUNNING, started=self.now, host=host, measured=True)

    def work(self) -> None:
        """Every running VM shows work."""
        for vm in list(self.machines.values()):
            if vm.state == RUNNING:
                self.machines[vm.id] = replace(vm, works=True)

    def end(self, kind: str, only: int | None = None) -> None:
        """VMs that run end this way."""
        running = [vm for vm in self.machines.values() if vm.state == RUNNING][:only]
        for vm in running:
            del self.machines[vm.id]
            abort = kind not in ("success", "none")
            self.ended.append(
                Ended(vm.id, vm.submitted, self.now, kind, abort, vm.host, vm.started, vm.works, vm.measured)
            )

    def first_find(self) -> None:
        """The first VMs asked, and found work."""
        self.cycle()
        self.start()
        self.now += 200
        self.work()

    def emptied(self, kind: str = "no_work") -> None:
        """The first VMs asked, and the answer was `kind`."""
        self.cycle()
        self.start()
        self.now += 300
        self.end(kind)

    def started_in(self, seconds: float) -> int:
        """How many VMs are submitted in so many seconds in which every VM that starts ends without work."""
        before = self.made
        for _ in range(int(seconds / 60)):
            self.cycle()
            self.start()
            self.end("no_work")
        return self.made - before


def test_before_any_answer_one_batch_asks_and_more_when_none_has_ended_after_minutes() -> None:
    play = Play()
    submitted = []
    for _ in range(10):
        submitted.append(play.cycle().submit)
        play.start()
    assert submitted == [10, 0, 0, 0, 0, 10, 10, 10, 10, 10]
    assert play.last.reasons[0] == "No VM has reported yet: starting up to 100 before the first result."


def test_of_many_the_first_to_find_nothing_would_have_ended_sooner() -> None:
    play = Play(replace(LIMITS, max_machines=400, max_idle=20))
    submitted = []
    for _ in range(7):
        submitted.append(play.cycle().submit)
        play.start()
    assert submitted == [20, 0, 0, 0, 20, 20, 20]


@pytest.mark.parametrize("kind", ["lost", "site"])
def test_the_first_batch_is_not_followed_by_others_when_one_of_it_is_gone(kind: str) -> None:
    play = Play()
    for _ in range(5):
        play.cycle()
        play.start()
    play.end(kind, only=1)
    assert sum(play.cycle().submit for _ in range(5)) == 0


def test_the_administrator_can_say_how_many_ask_first() -> None:
    play = Play(replace(LIMITS, first_machines=3))
    assert [play.cycle().submit for _ in range(3)] == [3, 0, 0]


def test_work_from_the_beginning_is_answered_with_all_that_the_caps_allow() -> None:
    play = Play()
    play.first_find()
    for expected in (*[10] * 9, 0):
        assert play.cycle().submit == expected
        play.start()
    assert play.last.reasons[1] == "Submitting none (limited by max_machines = 100)."


@pytest.mark.parametrize("kind", ["no_work", "fizzle", "banned", "experiment", "agent", "site"])
def test_no_work_and_errors_leave_two_probes_in_thirty_minutes(kind: str) -> None:
    play = Play()
    play.emptied(kind)
    play.cycle()
    assert play.last.submit == 0
    assert play.last.numbers["next_probe"] == NOW + 60 + 900
    assert play.started_in(1800) <= 2
    assert [play.started_in(1800) for _ in range(6)] == [2] * 6
    assert "probing every 15 min (at most 2 VMs in 30 min), next probe " in play.last.reasons[0]


def test_a_machinetype_can_have_its_factory_ask_at_once() -> None:
    """docs/operations.md: a shorter backoff and more probes, for as long as somebody wants an answer."""
    play = Play()
    play.emptied()
    assert play.started_in(900) <= 1
    hasty = replace(LIMITS, probe_machines=30, backoff_seconds=60.0)
    play.policy = Policy.restore(hasty, play.policy.state())
    assert play.started_in(120) >= 1
    assert play.started_in(600) >= 4
    play.policy = Policy.restore(LIMITS, play.policy.state())
    assert play.started_in(1800) <= 2


def test_idle_vms_are_removed_when_there_turns_out_to_be_no_work() -> None:
    play = Play()
    play.cycle()
    play.start()
    play.cycle(300)
    play.end("no_work")
    decision = play.cycle()
    assert len(decision.remove) == 9, "one of the idle ones stays as the next probe"
    assert decision.submit == 0
    assert decision.reasons[1] == "Submitting none, removing 9 idle VMs."


def test_one_find_after_a_long_silence_makes_it_grow_again_at_once() -> None:
    play = Play()
    play.emptied()
    play.started_in(7200)
    while not play.cycle().submit:
        pass
    play.start()
    play.now += 200
    play.work()
    decision = play.cycle()
    assert decision.submit >= 5
    assert decision.reasons[0].startswith("1 VM found work (credit ")


def test_vms_that_still_work_are_joined_by_scouts_only_once_one_asked_in_vain() -> None:
    play = Play()
    play.first_find()
    play.cycle()
    play.start()
    play.now += 300
    for vm in [vm for vm in play.machines.values() if not vm.works]:
        del play.machines[vm.id]
        play.ended.append(Ended(vm.id, vm.submitted, play.now, "no_work", True, vm.host, vm.started, False, True))
    before = play.made
    for _ in range(30):
        play.cycle()
    assert play.made - before <= 1, "the scout is still idle, so no other follows"
    assert play.last.reasons[0] == "The last VM found no work (10 still working): starting 1 scout every 60 min."


def test_one_host_that_fails_everything_is_avoided_and_stops_nothing_else() -> None:
    play = Play(replace(LIMITS, max_machines=200))
    play.first_find()
    for _ in range(3):
        play.cycle()
        play.start()
        for vm in [vm for vm in play.machines.values() if vm.host == "wn-3" and not vm.works]:
            del play.machines[vm.id]
            play.ended.append(Ended(vm.id, vm.submitted, play.now + 45, "site", True, vm.host, vm.started, False, True))
    decision = play.cycle()
    assert decision.avoid_hosts == ("wn-3",)
    assert decision.submit == 10
    assert decision.reasons[2] == "Avoiding 1 host where every recent VM failed: wn-3."


def test_failures_all_over_the_site_blame_no_host_and_are_forgiven_at_the_first_find() -> None:
    play = Play()
    play.first_find()
    play.cycle()
    play.start()
    play.now += 120
    for vm in [vm for vm in play.machines.values() if not vm.works]:
        del play.machines[vm.id]
        play.ended.append(Ended(vm.id, vm.submitted, play.now, "experiment", True, vm.host, vm.started, False, True))
    decision = play.cycle()
    assert decision.submit == 0
    assert decision.avoid_hosts == ()
    assert decision.reasons[0].startswith("The last 10 VMs failed (experiment error) on 5 hosts: probing every ")
    while not play.cycle().submit:
        pass
    play.start()
    play.now += 200
    play.work()
    assert play.cycle().submit == 10


def test_a_queue_that_was_empty_once_is_filled_as_deep_as_before() -> None:
    play = Play()
    play.emptied()
    play.started_in(3600)
    while len(play.machines) < 60:
        play.cycle()
        play.start()
        play.now += 200
        play.work()
    play.end("success")
    play.emptied()
    assert play.cycle().numbers["depth"] >= 60
    while not play.cycle().submit:
        pass
    waves = 0
    while len(play.machines) < 50:
        play.start()
        play.now += 200
        play.work()
        play.cycle()
        waves += 1
    assert waves <= 8


def test_work_that_cannot_be_measured_is_believed_at_an_age_that_idle_vms_do_not_reach() -> None:
    limits = replace(LIMITS, first_machines=1)
    vm = Machine("1.0", RUNNING, NOW, NOW, "wn-1", works=False, measured=False)
    policy = Policy(limits)
    assert policy.decide(Observation(NOW + 599, (vm,))).submit == 0
    assert policy.decide(Observation(NOW + 660, (vm,))).submit == 10


def test_held_vms_are_not_replaced_before_anything_is_known() -> None:
    play = Play()
    play.cycle()
    for name, vm in play.machines.items():
        play.machines[name] = replace(vm, state=HELD)
    total = sum(play.cycle().submit for _ in range(1))
    for name, vm in play.machines.items():
        play.machines[name] = replace(vm, state=HELD)
    total += sum(play.cycle().submit for _ in range(5))
    assert 10 + total <= 30


def test_max_starting_holds_growth() -> None:
    play = Play(replace(LIMITS, max_starting=4))
    assert play.cycle().submit == 4
    play.start()
    assert play.cycle().submit == 0
    play.now += 200
    play.work()
    assert play.cycle().submit == 4
    assert play.last.reasons[1] == "Submitting 4 (limited by max_starting = 4)."


@pytest.mark.parametrize("latest", ["waits", "ended"])
def test_without_its_state_the_next_probe_waits_for_the_last_submission(latest: str) -> None:
    """As the queue and the history tell of it: a factory that lost its file does not probe at once."""
    newest, older = NOW - 100, NOW - 5000
    vm = Machine("9.0", RUNNING, newest if latest == "waits" else older, NOW - 50, "wn-1", False, True)
    submitted = newest if latest == "ended" else older
    ends = tuple(
        Ended(f"{number}.0", at, NOW - 10, "no_work", True, f"wn-{number}", NOW - 90, False, True)
        for number, at in enumerate((submitted, older - 500))
    )
    seen = Observation(NOW, (vm,), ends)
    policy = Policy(LIMITS)
    decision = policy.decide(seen)
    assert decision.submit == 0
    assert decision.numbers["next_probe"] == newest + 900
    again = Policy.restore(LIMITS, json.loads(json.dumps(policy.state())))
    # They have left queue and history: only the state tells of them now.
    assert again.decide(Observation(newest + 899)).submit == 0
    assert again.decide(Observation(newest + 900)).submit == 1


def test_a_state_of_another_version_counts_as_lost_and_a_damaged_one_is_refused() -> None:
    play = Play()
    play.emptied()
    play.cycle()
    state: dict[str, Any] = json.loads(json.dumps(play.policy.state()))
    assert Policy.restore(LIMITS, state).judgement.episodes.last_dry == play.policy.judgement.episodes.last_dry
    assert Policy.restore(LIMITS, {**state, "version": 0}).judgement.episodes.last_dry == float("-inf")
    del state["judgement"]["durations"]
    with pytest.raises(VacError, match="remove the factory's state file"):
        Policy.restore(LIMITS, state)


@pytest.mark.parametrize(
    ("key", "value"),
    [("max_machines", -1), ("max_idle", -1), ("max_starting", -1), ("first_machines", -2), ("backoff_seconds", 0)],
)
def test_limits_that_cannot_be_are_refused_by_name(key: str, value: int) -> None:
    with pytest.raises(UsageError, match=key):
        replace(LIMITS, **{key: value})


def test_one_idle_vm_is_removed_in_the_singular() -> None:
    play = Play(replace(LIMITS, first_machines=3))
    play.cycle()
    first = next(iter(play.machines.values()))
    play.machines[first.id] = replace(first, state=RUNNING, started=play.now, host="wn-0", measured=True)
    play.now += 300
    play.end("no_work")
    assert play.cycle().reasons[1] == "Submitting none, removing 1 idle VM."


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (1, "Avoiding 1 host where every recent VM failed: bad-0."),
        (5, "Avoiding 5 hosts where every recent VM failed: bad-0, bad-1, bad-2, bad-3, bad-4."),
        (7, "Avoiding 7 hosts where every recent VM failed: bad-0, bad-1, bad-2, bad-3, bad-4 and 2 more."),
    ],
)
def test_avoided_hosts_are_named_up_to_five(bad: int, words: str) -> None:
    working = tuple(Machine(f"w{n}", RUNNING, NOW - 900, NOW - 900, f"wn-{n}", True, True) for n in range(50))
    ends = tuple(
        Ended(f"{n}.{again}", NOW - 99, NOW - 9 + again, "site", True, f"bad-{n}", NOW - 50, False, True)
        for n in range(bad)
        for again in range(2)
    )
    policy = Policy(LIMITS)
    policy.decide(Observation(NOW - 60, working))
    decision = policy.decide(Observation(NOW, working, ends))
    assert decision.reasons[2] == words
    assert len(decision.avoid_hosts) == bad


@pytest.mark.parametrize(("bad", "avoided"), [(2, ("bad-0", "bad-1")), (3, ())])
def test_if_more_than_half_of_the_hosts_fail_none_is_avoided(bad: int, avoided: tuple[str, ...]) -> None:
    """One after another, with finds in between, so that it is not all over the site at any time."""
    policy, seen, decision = Policy(LIMITS), Observation(NOW), Decision()
    machines: tuple[Machine, ...] = ()
    for n in range(bad):
        now = NOW + 600 * n
        machines += (Machine(f"w{n}", RUNNING, now - 500, now - 500, "wn-0", True, True),)
        ends = tuple(
            Ended(f"{n}.{again}", now - 99, now - 9 + again, "site", True, f"bad-{n}", now - 50, False, True)
            for again in range(2)
        )
        others = tuple(
            Machine(f"o{host}", RUNNING, NOW - 900, NOW - 900, f"wn-{host}", True, True) for host in range(4)
        )
        policy.decide(Observation(now - 60, (*others, *machines)))
        seen = Observation(now, (*others, *machines), ends)
        decision = policy.decide(seen)
    assert decision.avoid_hosts == avoided
    assert len(policy.judgement.hosts.avoided(seen.now)) == bad
