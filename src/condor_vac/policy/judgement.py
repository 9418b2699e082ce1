# SPDX-License-Identifier: GPL-3.0-or-later
"""What the VMs of one machinetype have shown so far: is there work, and how sure is that?

Every VM is a question to the experiment's task queue, asked some time after its start, and its fate is the
answer: *found* (it works, or did), *dry* (it ended without work) or *error* (banned, experiment or agent
trouble, or its host failed it or could not start it). Of several answers the one to the latest question
counts: that the queue was full when an older VM asked says nothing any more once a younger one found it empty.

A VM that has shown no work, and is old enough, is *assumed* to have found some. An end that refutes this takes back
what was assumed of the others of its age.

What is learned from the answers stands in parts: `Durations`, `Episodes`, `EarlyEnds`, and for failures
`Failures` and `HostTrust`; `ends` says which answer an end is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from condor_vac.policy.credit import Credit
from condor_vac.policy.durations import Durations, Learned
from condor_vac.policy.early_ends import EarlyEnds
from condor_vac.policy.ends import DOUBTFUL, DRY, ERROR, FOUND, UNKNOWN, answer
from condor_vac.policy.episodes import NEVER, Episodes
from condor_vac.policy.failures import Failure, Failures
from condor_vac.policy.host_trust import HostTrust
from condor_vac.policy.observation import NO_WORK, RUNNING, SUCCESS, Ended, Limits, Machine, Observation

__all__ = ["DRY", "ERROR", "FOUND", "MEMORY_SECONDS", "UNKNOWN", "Judgement"]

# Seconds: how long hosts and their failures are remembered, and what the factory takes from the history. A day has
# seen every shift.
MEMORY_SECONDS = 86400.0
# Seconds in which an end may be repeated or come late; the queue keeps completed jobs for an hour or more.
REPEAT_SECONDS = 7200.0
# The same in multiples of backoff_seconds, for machinetypes whose queue keeps jobs longer.
REPEAT_BACKOFFS = 3
# Multiple of fizzle_seconds: a VM that fails later without a sign of work may have worked before.
PATIENCE_FACTOR = 3


class Judgement:
    """All answers so far, condensed; fed with observations in the order of time."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.durations = Durations(limits.fizzle_seconds)
        self.episodes = Episodes()
        self.early_ends = EarlyEnds(limits.max_wallclock_seconds)
        self.failures = Failures()
        self.hosts = HostTrust(limits.backoff_seconds)
        self.credit = Credit(limits.max_machines)
        self.counted: dict[str, float] = {}  # ids of ended VMs that were taken in, with the time of their end
        self.horizon = NEVER  # ends before it are old news, and no longer in `counted`
        self.found: set[str] = set()  # ids of running VMs that found work
        self.assumed: dict[str, float] = {}  # those of them that have only outlived others, and when they started
        self.late: set[str] = set()  # ids of running VMs that should have shown work by now
        self.found_at = NEVER  # when it was last seen that a VM had found work
        self.unshown = 0  # VMs that ended well without showing work, since one last showed some
        self.says_no_work = False  # whether VMs without work have ever said so
        self.working = 0  # VMs that worked at the last observation
        self.seen_at: float | None = None  # when that was

    # -- taking in -------------------------------------------------------------------------------------

    def take_in(self, seen: Observation) -> None:
        """Learn from ends and from evidence that are new in ``seen``."""
        self.credit.earn(self._worked_seconds(seen), self.durations.price_seconds)
        self.seen_at = seen.now
        running = [vm for vm in seen.machines if vm.state == RUNNING and vm.started is not None]
        self.failures.saw([vm.host for vm in running if vm.host is not None], seen.now)
        new = [_past(end, seen.now) for end in seen.ended if end.started is not None and self._is_news(end)]
        for end in sorted(new, key=lambda each: (each.ended, each.id)):
            self.counted[end.id] = end.ended
            self._ended(end)
        self._forget(seen.now, {vm.id for vm in running})
        self.working = len(self.found)
        news = [vm for vm in running if vm.id not in self.found or (vm.works and vm.id in self.assumed)]
        # What is shown counts in the judgement of those that show nothing.
        for vm in sorted(news, key=lambda each: not each.works):
            self._running(vm, min(vm.started or seen.now, seen.now), seen.now)

    def _is_news(self, end: Ended) -> bool:
        return end.id not in self.counted and end.ended > self.horizon

    def _worked_seconds(self, seen: Observation) -> float:
        """Slot time that worked since the last observation; at the first, what queue and history still show."""
        if self.seen_at is not None:
            return self.working * (seen.now - self.seen_at)
        running = [seen.now - vm.started for vm in seen.machines if vm.works and vm.started is not None]
        return sum(running) + sum(end.life for end in seen.ended if end.works)

    def _forget(self, now: float, running: set[str]) -> None:
        self.found &= running
        self.assumed = {name: started for name, started in self.assumed.items() if name in running}
        self.late &= running
        repeated = max(REPEAT_SECONDS, REPEAT_BACKOFFS * self.limits.backoff_seconds)
        self.horizon = max(self.horizon, now - repeated)
        self.counted = {name: at for name, at in self.counted.items() if at > self.horizon}
        self.failures.forget(now - MEMORY_SECONDS)

    def _running(self, vm: Machine, started: float, now: float) -> None:
        age = now - started
        durations = self.durations
        if vm.works:
            durations.evidence.add(age)
            self._found_running(vm, started, age, now)
            return
        others_show = self.episodes.last_shown > started
        if age > durations.assumed_seconds(vm.measured, others_show):
            self._found_running(vm, started, age, now)
        elif vm.measured and not others_show and age > durations.late_seconds and vm.id not in self.late:
            self.late.add(vm.id)
            self._dry(started + durations.late_seconds / 2)

    def _found_running(self, vm: Machine, started: float, age: float, now: float) -> None:
        """A running VM shows work, or has lived as only those do that work."""
        self.found.add(vm.id)
        if vm.works:
            self.assumed.pop(vm.id, None)
        else:
            self.assumed[vm.id] = started
        self._find(self.durations.asked(started, age), now, shown=vm.works)
        if vm.host is not None:
            self.hosts.worked(vm.host)

    def _ended(self, end: Ended) -> None:
        started = end.started if end.started is not None else end.ended
        shown = end.works or (end.id in self.found and end.id not in self.assumed)
        what = answer(end, shown, self.durations, self.limits, self.says_no_work, self.unshown)
        if end.kind == SUCCESS and not shown:
            self.unshown += 1
        if end.id not in self.found and (end.works or what == FOUND):
            self._find(self.durations.asked(started, end.life), end.ended, shown=end.works)
        middle = started + end.life / 2
        if what == FOUND:
            self._succeeded(end)
        elif what in (DRY, DOUBTFUL):
            self.says_no_work = self.says_no_work or end.kind == NO_WORK
            self._in_vain(end, self.durations.doubtful if what == DOUBTFUL else self.durations.no_work)
            self._dry(middle)
        elif what == ERROR:
            if not shown and end.life < PATIENCE_FACTOR * self.limits.fizzle_seconds:
                self._in_vain(end, self.durations.failed)
            self._failed(end, started, middle)
        elif not end.works:
            self.failures.in_a_row += 1

    def _in_vain(self, end: Ended, lives: Learned) -> None:
        """Learn how long VMs live that do no work, and take back what was assumed of those that are no older."""
        lives.add(end.life)
        if end.id in self.assumed:
            self._take_back(end)

    def _take_back(self, end: Ended) -> None:
        young = end.ended - self.durations.proof_seconds
        back = {name for name, started in self.assumed.items() if started > young} | {end.id}
        self.found -= back
        self.assumed = {name: started for name, started in self.assumed.items() if name not in back}
        self.episodes.take_back(len(back))

    # -- the answers -----------------------------------------------------------------------------------

    def _find(self, asked: float, now: float, shown: bool) -> None:
        self.failures.in_a_row = 0
        self.found_at = max(self.found_at, now)
        self.early_ends.found(asked)
        self.episodes.found(asked, self.latest_no, self.working, shown)
        if shown:
            self.unshown = 0

    def _dry(self, asked: float) -> None:
        self.failures.in_a_row = 0
        self.early_ends.dry(asked)
        if self.found_at != NEVER:
            self.credit.spend()
        self.episodes.dry(asked)

    def _succeeded(self, end: Ended) -> None:
        if end.host is not None:
            self.hosts.worked(end.host)
        if end.kind == SUCCESS and end.life <= self.early_ends.early_seconds:
            self.early_ends.ended(end.ended)
            if self.early_ends.mean_no_work and end.ended > self.episodes.last_found:
                self.episodes.close()

    def _failed(self, end: Ended, started: float, asked: float) -> None:
        """Blame the host, unless VMs fail all over the site: then no host is to blame."""
        host = end.host or ""
        self.failures.in_a_row += 1
        self.failures.by_host[host] = Failure(asked, end.kind)
        if self.fails_all_over:
            if self.failures.in_a_row > self.episodes.count:
                self.episodes.end()
            for each in self.failures.by_host:
                self.hosts.forgive(each)
        elif host:
            self.hosts.failed(host, started, end.ended)

    # -- what follows ----------------------------------------------------------------------------------

    @property
    def latest_no(self) -> float:
        """When the latest VM asked that found the queue empty."""
        return max(self.episodes.last_dry, self.early_ends.latest_no)

    @property
    def latest_answer(self) -> float:
        """When the latest VM asked that found work or none."""
        return max(self.episodes.last_found, self.latest_no)

    @property
    def fails_all_over(self) -> bool:
        """Whether the latest answers are failures, on more hosts than a few bad ones would be."""
        return self.failures.all_over(self.latest_answer)

    def verdict(self) -> str:
        """What the answer to the latest question was; errors count once VMs fail all over the site."""
        if self.fails_all_over:
            return ERROR
        if self.latest_answer == NEVER:
            return UNKNOWN
        return FOUND if self.episodes.last_found > self.latest_no else DRY

    # -- keeping ---------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All of it as JSON, so that a judgement restored from it decides alike; the schema is `state.JUDGEMENT`."""
        return {
            "durations": self.durations.state(),
            "episodes": self.episodes.state(),
            "early_ends": self.early_ends.state(),
            "failures": self.failures.state(),
            "hosts": self.hosts.state(),
            "credit": self.credit.balance,
            "counted": dict(self.counted),
            "horizon": None if self.horizon == NEVER else self.horizon,
            "found": sorted(self.found),
            "assumed": dict(self.assumed),
            "late": sorted(self.late),
            "found_at": None if self.found_at == NEVER else self.found_at,
            "unshown": self.unshown,
            "says_no_work": self.says_no_work,
            "working": self.working,
            "seen_at": self.seen_at,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave and its schema accepts."""
        self.durations.restore(state["durations"])
        self.episodes.restore(state["episodes"])
        self.early_ends.restore(state["early_ends"])
        self.failures.restore(state["failures"])
        self.hosts.restore(state["hosts"])
        self.credit.balance = state["credit"]
        self.counted = dict(state["counted"])
        self.horizon = NEVER if state["horizon"] is None else state["horizon"]
        self.found, self.assumed, self.late = set(state["found"]), dict(state["assumed"]), set(state["late"])
        self.found_at = NEVER if state["found_at"] is None else state["found_at"]
        self.unshown = state["unshown"]
        self.says_no_work, self.working, self.seen_at = state["says_no_work"], state["working"], state["seen_at"]


def _past(end: Ended, now: float) -> Ended:
    """The end, none of whose times is to come: one that is would count as the latest answer until then."""
    if end.ended <= now and (end.started is None or end.started <= now):
        return end
    return replace(end, ended=min(end.ended, now), started=None if end.started is None else min(end.started, now))
