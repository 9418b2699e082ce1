# SPDX-License-Identifier: GPL-3.0-or-later
"""What the VMs of one machinetype have told so far: is there work, and how sure is that?

Every VM is a question to the experiment's task queue, asked some time after its start, and its fate is the
answer: *found* (it works, or did), *dry* (it ended without work) or *error* (banned, experiment or agent
trouble, or its host failed it or could not start it). Of several answers the one to the latest question
counts: that the queue was full when an older VM asked says nothing any more once a younger one found it empty.

A run of finds without a dry answer is an *episode*; how many VMs found work in the last one is the *depth*
to which the queue is believed to be filled when the next one begins.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from condor_vac.policy.host_trust import HostTrust
from condor_vac.policy.observation import (
    AGENT,
    BANNED,
    EXPERIMENT,
    FIZZLE,
    NO_WORK,
    NONE,
    REFUSED,
    RUNNING,
    SITE,
    SUCCESS,
    Ended,
    Limits,
    Machine,
    Observation,
)

MEMORY_SECONDS = 86400.0
REPEAT_SECONDS = 7200.0  # so long an end may be repeated, or be late
UNKNOWN, FOUND, DRY, ERROR = "unknown", "found", "dry", "error"
NEVER = float("-inf")
SAMPLES = 50
ENOUGH = 3
EPISODES = 2
FEW = 2
FEW_HOSTS = (3, 10)
CONTRADICTION_SECONDS = 900.0
EARN_SHARE = 0.004
START_SHARE = 1 / 8
MOST_SHARE = 1 / 4
DEEPEST_DEBT = 10.0
EARLY_SHARE = 0.8  # of max_wallclock_seconds: a VM that succeeded sooner than that ran out of tasks


class Learned:
    """The last `SAMPLES` measurements of one duration, sorted view included."""

    def __init__(self, values: Iterable[float] = ()) -> None:
        self.values: deque[float] = deque(values, maxlen=SAMPLES)
        self._sorted = sorted(self.values)

    def add(self, value: float) -> None:
        """Remember one more, forgetting the oldest beyond `SAMPLES`."""
        if len(self.values) == SAMPLES:
            self._sorted.remove(self.values[0])
        self.values.append(value)
        insort(self._sorted, value)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def low(self) -> float:
        """The shortest; only when there is one."""
        return self._sorted[0]

    @property
    def high(self) -> float:
        """The longest; only when there is one."""
        return self._sorted[-1]

    def middle(self, default: float) -> float:
        """The median, or ``default`` while nothing is known."""
        return self._sorted[len(self) // 2] if self._sorted else default


class Judgement:
    """All answers so far, condensed; fed with observations in the order of time."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.hosts = HostTrust(limits.backoff_seconds)
        self.counted: dict[str, float] = {}  # ids of ended VMs that were taken in, with the time of their end
        self.horizon = NEVER  # ends before it are old news, and no longer in `counted`
        self.found: set[str] = set()  # ids of running VMs that found work
        self.late: set[str] = set()  # ids of running VMs that should have shown work by now
        self.lives = Learned()  # of VMs that found no work, from match to end
        self.lags = Learned()  # from match to the evidence of work
        self.last_found = self.last_dry = NEVER
        self.last_emptied = NEVER
        self.found_at = NEVER
        self.failing: dict[str, tuple[float, str]] = {}  # by host: when its latest VM that failed asked, and how
        self.failures = 0  # VMs that ended without an answer since the last that gave one
        self.known_hosts: dict[str, float] = {}  # and when a VM was last seen there
        self.says_no_work = False  # whether VMs without work have ever said so
        self.worked_at = NEVER  # the last time that a VM was known to work
        self.episode = 0
        self.fresh = True  # whether nothing worked when the episode began
        self.depths: dict[bool, list[int]] = {True: [], False: []}  # by fresh, of the last episodes
        self.bottomless = True  # no VM has asked in vain yet
        self.emptied_right, self.emptied_wrong = 1, 1
        self.emptied_open = math.inf  # when one succeeded early, until the answer of a VM that asked later
        self.ever_success = False
        self.credit = START_SHARE * limits.max_machines
        self._working = 0
        self._last_now: float | None = None

    # -- taking in -------------------------------------------------------------------------------------

    def take_in(self, seen: Observation) -> None:
        """Learn from ends and from evidence that are new in ``seen``."""
        self._earn(seen)
        new = [end for end in seen.ended if end.started is not None and self._is_news(end)]
        for end in sorted(new, key=lambda each: (each.ended, each.id)):
            self.counted[end.id] = end.ended
            self._ended(end)
        running = [vm for vm in seen.machines if vm.state == RUNNING and vm.started is not None]
        self._forget(seen.now, {vm.id for vm in running})
        self.known_hosts.update((vm.host, seen.now) for vm in running if vm.host is not None)
        self._working = len(self.found)
        for vm in running:
            if vm.id not in self.found and vm.started is not None:
                self._running(vm, vm.started, seen.now)
        if self.found:
            self.worked_at = seen.now

    def _is_news(self, end: Ended) -> bool:
        return end.id not in self.counted and end.ended > self.horizon

    def _earn(self, seen: Observation) -> None:
        """Let what works pay for questions; after a restart, what the history tells of the time before."""
        if self._last_now is None:
            running = [seen.now - vm.started for vm in seen.machines if vm.works and vm.started is not None]
            worked = sum(running) + sum(end.life for end in seen.ended if end.works)
        else:
            worked = self._working * (seen.now - self._last_now)
        self._last_now = seen.now
        cost = max(60.0, self.lives.middle(self.limits.fizzle_seconds / 2))
        self.credit = min(MOST_SHARE * self.limits.max_machines, self.credit + EARN_SHARE * worked / cost)

    def _spend(self) -> None:
        self.credit = max(-DEEPEST_DEBT, self.credit - 1)

    def _forget(self, now: float, running: set[str]) -> None:
        self.found &= running
        self.late &= running
        self.horizon = max(self.horizon, now - max(REPEAT_SECONDS, 3 * self.limits.backoff_seconds))
        self.counted = {name: at for name, at in self.counted.items() if at > self.horizon}
        self.failing = {host: last for host, last in self.failing.items() if last[0] > now - MEMORY_SECONDS}
        self.known_hosts = {host: at for host, at in self.known_hosts.items() if at > now - MEMORY_SECONDS}

    def _running(self, vm: Machine, started: float, now: float) -> None:
        age = now - started
        if vm.works or (not vm.measured and age > self.proof_seconds):
            if vm.works and vm.id not in self.late:
                self.lags.add(age)
            self.found.add(vm.id)
            self._find(started + min(age, self.lags.middle(age)) / 2, now)
            if vm.host is not None:
                self.hosts.worked(vm.host)
        elif age > self.late_seconds and vm.id not in self.late:
            self.late.add(vm.id)
            self._dry(started + self.late_seconds / 2)

    def _ended(self, end: Ended) -> None:
        started = end.started if end.started is not None else end.ended
        was_found = end.id in self.found
        if (end.works or end.kind == SUCCESS) and not was_found:
            self._find(started + min(end.life, self.lags.middle(end.life)) / 2, end.ended)
        sort = self._sort(end, was_found)
        middle = started + end.life / 2
        if sort == FOUND:
            self._succeeded(end)
        elif sort == DRY:
            self.says_no_work = self.says_no_work or end.kind == NO_WORK
            self.lives.add(end.life)
            self._dry(middle)
        elif sort == ERROR:
            self._failed(end, started, middle)
        elif not end.works:
            self.failures += 1

    def _failed(self, end: Ended, started: float, asked: float) -> None:
        """Blame the host, unless VMs fail all over the site: then no host is to blame."""
        host = end.host or ""
        self.failures += 1
        self.failing[host] = (asked, end.kind)
        if self.fails_all_over:
            for each in self.failing:
                self.hosts.forgive(each)
        elif host:
            self.hosts.failed(host, started, end.ended)

    def _sort(self, end: Ended, was_found: bool) -> str:
        works = end.works or was_found
        if end.kind == SUCCESS or (works and end.kind in (NONE, NO_WORK)):
            return FOUND
        if end.kind in (BANNED, EXPERIMENT, AGENT, SITE, REFUSED) or (end.kind == FIZZLE and self._died(end)):
            return ERROR
        if end.kind in (NO_WORK, FIZZLE):
            return DRY
        return DRY if end.kind == NONE and (end.measured or self.ever_success) else UNKNOWN

    def _died(self, end: Ended) -> bool:
        """Whether it died, rather than found nothing: where VMs say so, or before an agent could have asked."""
        if self.says_no_work:
            return True
        known = [each.low for each in (self.lives, self.lags) if len(each) >= ENOUGH]
        return bool(known) and end.life < 0.5 * min(known)

    # -- the answers -----------------------------------------------------------------------------------

    def _find(self, asked: float, now: float) -> None:
        self.failures = 0
        self.found_at = max(self.found_at, now)
        if asked > self.emptied_open:
            self.emptied_wrong += asked < self.emptied_open + CONTRADICTION_SECONDS
            self.emptied_open = math.inf
        self.worked_at = max(self.worked_at, now)
        if asked > self.latest_no:
            if not self.episode:
                self.fresh = self._working <= FEW
            self.episode += 1
        elif self.depths[self.fresh]:
            self.depths[self.fresh][-1] += 1
        self.last_found = max(self.last_found, asked)

    def _dry(self, asked: float) -> None:
        self.failures = 0
        if asked > self.emptied_open:
            self.emptied_right, self.emptied_open = self.emptied_right + 1, math.inf
        self.last_dry = max(self.last_dry, asked)
        self.bottomless = False
        if self.found_at != NEVER:
            self._spend()
        if asked > self.last_found:
            self._close_episode()

    def _close_episode(self) -> None:
        if self.episode:
            self.depths[self.fresh] = [*self.depths[self.fresh][1 - EPISODES :], self.episode]
            self.episode = 0

    @property
    def depth(self) -> int | None:
        """How many VMs the queue had work for in the last episodes of this sort (the least); None: unknown."""
        return min(self.depths[self.fresh], default=None)

    @property
    def deepest(self) -> int | None:
        """The most VMs that the queue had work for in one of the last episodes; None: unknown."""
        return max([*self.depths[True], *self.depths[False]], default=None)

    def _succeeded(self, end: Ended) -> None:
        self.ever_success = True
        if end.host is not None:
            self.hosts.worked(end.host)
        if end.kind != SUCCESS or end.life > EARLY_SHARE * self.limits.max_wallclock_seconds:
            return
        self.last_emptied = max(self.last_emptied, end.ended)
        self.emptied_open = min(self.emptied_open, end.ended)
        self.worked_at = max(self.worked_at, end.ended)
        if self.emptied_means_dry and end.ended > self.last_found:
            self._close_episode()

    @property
    def emptied_means_dry(self) -> bool:
        """Whether early successes have mostly been followed by VMs that found nothing.

        Not before that was seen: agents that do one task and end well are common, and leave a full queue behind.
        """
        return self.emptied_right > self.emptied_wrong

    @property
    def latest_no(self) -> float:
        """When the latest VM asked that found the queue empty."""
        return max(self.last_dry, self.last_emptied if self.emptied_means_dry else NEVER)

    @property
    def proof_seconds(self) -> float:
        """From this age a VM whose work cannot be measured is taken to work: it outlived those without."""
        if len(self.lives) < ENOUGH:
            return self.limits.fizzle_seconds
        return 1.25 * self.lives.high + 60.0

    @property
    def late_seconds(self) -> float:
        """From this age a VM that could have shown work, and has not, counts as one that found none."""
        if len(self.lags) < ENOUGH:
            return 3 * max(self.limits.fizzle_seconds, self.proof_seconds)
        return 2 * self.lags.high + 60.0

    def verdict(self) -> str:
        """What the answer to the latest question was; errors count once VMs fail all over the site."""
        if self.fails_all_over:
            return ERROR
        if self.last_found == self.latest_no == NEVER:
            return UNKNOWN
        return FOUND if self.last_found > self.latest_no else DRY

    @property
    def since_found(self) -> list[tuple[float, str]]:
        """The failures on each host that came after the last answer of another sort."""
        return [last for last in self.failing.values() if last[0] > max(self.last_found, self.latest_no)]

    @property
    def fails_all_over(self) -> bool:
        """Whether the latest answers are failures, on more hosts than a few bad ones would be."""
        few = min(FEW_HOSTS[1], max(FEW_HOSTS[0], len(self.known_hosts) // 5))
        return len(self.since_found) >= max(1, min(few, len(self.known_hosts)))

    @property
    def error_kind(self) -> str:
        """How the latest VM failed."""
        return max(self.failing.values(), default=(NEVER, ""))[1]

    # -- keeping ---------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All of it as JSON, so that `restore` makes a judgement that decides alike."""
        found: dict[str, Any] = {name: _finite(getattr(self, name)) for name in _PLAIN}
        return {
            **found,
            "counted": self.counted,
            "found": sorted(self.found),
            "late": sorted(self.late),
            "lives": list(self.lives.values),
            "lags": list(self.lags.values),
            "failing": {host: list(last) for host, last in self.failing.items()},
            "known_hosts": self.known_hosts,
            "depths": [self.depths[True], self.depths[False]],
            "hosts": self.hosts.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave. Raises KeyError, TypeError or ValueError if it cannot be that."""
        for name in _PLAIN:
            if state[name] is not None:
                setattr(self, name, state[name])
        self.counted = {str(name): float(at) for name, at in state["counted"].items()}
        self.found, self.late = set(state["found"]), set(state["late"])
        self.lives, self.lags = Learned(state["lives"]), Learned(state["lags"])
        self.failing = {str(host): (float(at), str(kind)) for host, (at, kind) in state["failing"].items()}
        self.known_hosts = {str(host): float(at) for host, at in state["known_hosts"].items()}
        self.depths = {True: list(state["depths"][0]), False: list(state["depths"][1])}
        self.hosts.restore(state["hosts"])


# What `Judgement.state` keeps as it is; infinite ones are what a new judgement has, and left out as null.
_PLAIN = (
    "horizon",
    "last_found",
    "last_dry",
    "last_emptied",
    "found_at",
    "worked_at",
    "failures",
    "says_no_work",
    "episode",
    "fresh",
    "bottomless",
    "emptied_right",
    "emptied_wrong",
    "emptied_open",
    "ever_success",
    "credit",
    "_working",
    "_last_now",
)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
