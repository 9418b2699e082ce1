# SPDX-License-Identifier: GPL-3.0-or-later
"""The control laws: how many VMs without an answer there may be now. One law is in force at a time.

`Opening` while nothing is known; `Growth` while VMs find work; `Scouts` once one found none while others still
work; `Probes` while there is no work or VMs fail all over.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

from condor_vac.policy.ends import BELIEVED
from condor_vac.policy.episodes import FEW_WORKING
from condor_vac.policy.judgement import DRY, ERROR, FOUND, UNKNOWN
from condor_vac.policy.observation import AGENT, BANNED, EXPERIMENT, FIZZLE, REFUSED, SITE, Limits
from condor_vac.policy.situation import Counts, Situation
from condor_vac.policy.words import count, duration

# Share of max_machines, and at most max_idle, that starts before anything is known. Where there is no work, these are
# what it costs to find out.
FIRST_SHARE = 0.1
# Seconds: if no VM has ended when the oldest has run so long, more may start before the first result. Agents that find
# nothing have begun to end by then: the first of `MANY` early, the first of fewer somewhat later.
SURVIVED_SECONDS = 230.0
FEW_SURVIVED_SECONDS = 280.0
MANY = 20
# VMs in a row that found work, from which on as many again may ask; below, the square of the run divided by this.
# Alternatives are in docs/factory.md. Ablation: growth_by_streak.
SURE_STREAK = 8
# Multiple of the depth of last time. A run longer than that shows that the old depth is of no use any more. Ablation:
# growth_beyond_record.
RECORD_FACTOR = 2
# Share of the slot time that works: what scouts may cost at most. The more VMs work, the sooner a refilled queue is
# noticed. Ablation: scouts, scouts_by_price.
SCOUT_SHARE = 0.003
# Seconds: scouts come no faster than one in a usual cycle.
SCOUT_SHORTEST_SECONDS = 60.0
# Seconds: at most probe_machines start as probes in any such window. This is a promise to administrators, not a
# trade-off, so there is no ablation.
PROBE_WINDOW_SECONDS = 1800.0
# VMs. Where fewer ever found work in one episode, a late probe loses little: probes are rarer in proportion.
# Ablation: probes_by_worth.
WORTHWHILE = 60
# Multiple of backoff_seconds: probes are not further apart than this, however little they are worth. It bounds the
# mechanism above.
PROBE_BACKOFFS = 2

# What the kinds of failure are called in reasons.
FAILURE_WORDS = {
    BANNED: "banned by the experiment",
    SITE: "site error",
    EXPERIMENT: "experiment error",
    AGENT: "agent error",
    FIZZLE: "ended early without a code",
    REFUSED: "could not be started",
}


class Allowance(NamedTuple):
    """How many VMs without an answer there may be (idle, or running without having shown work), and why."""

    unproven: int
    reason: str


class Law(ABC):
    """One way to decide, for one situation."""

    def __init__(self, situation: Situation) -> None:
        self.now, self.limits, self.counts = situation.now, situation.limits, situation.counts
        self.judgement, self.submissions = situation.judgement, situation.submissions

    @abstractmethod
    def allowed(self) -> Allowance:
        """What this law allows now."""


class Opening(Law):
    """Nothing is known: a few batches start before the first result, so that plenty of work is served at once."""

    @staticmethod
    def first(limits: Limits, counts: Counts, quiet: bool) -> int:
        """How many VMs may ask before anything is known; ``quiet`` is whether none has ended yet."""
        if limits.first_machines is not None:
            return limits.first_machines
        enough = SURVIVED_SECONDS if counts.starting >= MANY else FEW_SURVIVED_SECONDS
        if quiet and counts.oldest >= enough:
            return limits.max_machines
        return max(limits.probe_machines, min(limits.max_idle, int(FIRST_SHARE * limits.max_machines)))

    def allowed(self) -> Allowance:
        """Those that may ask first, less those that failed, were lost, or are held."""
        without_answer = self.judgement.failures.in_a_row + self.counts.held
        first = self.first(self.limits, self.counts, not without_answer) - without_answer
        known = f" ({without_answer} failed, lost or held)" if without_answer else ""
        return Allowance(
            first, f"No VM has reported yet{known}: starting up to {max(0, first)} before the first result."
        )


class Growth(Law):
    """VMs find work: without bound until one finds none; later by the depth of the queue, and by credit below it."""

    @property
    def unbounded(self) -> bool:
        """Whether no VM has found the queue empty yet."""
        return self.judgement.episodes.bottomless

    def allowed(self) -> Allowance:
        """Up to the caps, or a stake that grows with the finds in a row."""
        judgement, episodes = self.judgement, self.judgement.episodes
        found, depth, credit = episodes.count, episodes.depth, judgement.credit.balance
        if self.unbounded:
            return Allowance(
                self.limits.max_machines,
                f"{count(found, 'VM')} found work ({self.counts.working} working now): growing up to the caps.",
            )
        if self._is_trickle():
            return scout(self, f"{count(found, 'VM')} found work, and there has not been work for more of late")
        row = "" if found == 1 else " in a row"
        bold = 1 + found**2
        stake = 1 + min(found**2 // SURE_STREAK, found) + max(0, int(credit))
        if depth is None or found > RECORD_FACTOR * depth:
            allowed = min(stake, max(bold, int(credit / 2)))
            before = "" if depth is None else f"more than the {depth} of last time, "
        else:
            allowed = min(max(stake, bold), max(depth - found, 1 + found // 2))
            before = f"{depth} did last time, "
        return Allowance(
            allowed,
            f"{count(found, 'VM')}{row} found work ({before}credit {credit:.1f}): "
            f"allowing {count(allowed, 'VM')} without a result at a time.",
        )

    def _is_trickle(self) -> bool:
        """Whether as many have found work as ever did in the last episodes, and that is one or two."""
        episodes = self.judgement.episodes
        return episodes.deepest is not None and episodes.count == episodes.deepest <= FEW_WORKING


class Scouts(Law):
    """A VM found no work while others still work: single VMs check whether there is more, at a bounded price."""

    def allowed(self) -> Allowance:
        """One more when the last is long enough ago and none is idle."""
        return scout(self, f"The last VM found no work ({self.counts.working} still working)")


class Probes(Law):
    """No work, or failures all over: single VMs check from time to time whether that has changed."""

    def __init__(self, situation: Situation, failing: bool) -> None:
        super().__init__(situation)
        self.failing = failing
        self.interval = probe_interval(self)

    def allowed(self) -> Allowance:
        """One more when the pace allows it and none is idle; otherwise an idle one stays as the next probe."""
        idle = len(self.counts.idle)
        due = self._wait() <= 0 and not idle
        allowed = self.counts.starting + (1 if due else min(idle, 1))
        what = self._failures() if self.failing else self._no_work()
        return Allowance(allowed, f"{what}: {self._plan(due)}.")

    def _wait(self) -> float:
        """Seconds until the pace allows another; infinite without ``probe_machines``."""
        most = self.limits.probe_machines
        if most < 1:
            return math.inf
        times = self.submissions.times
        window = times[-most] + PROBE_WINDOW_SECONDS if len(times) >= most else -math.inf
        return max(0.0, self.submissions.last + self.interval - self.now, window - self.now)

    def _plan(self, due: bool) -> str:
        most = self.limits.probe_machines
        if most < 1:
            return "no probes (probe_machines = 0)"
        pace = (
            f"probing every {duration(self.interval)} (at most {count(most, 'VM')} in {duration(PROBE_WINDOW_SECONDS)})"
        )
        if due:
            return f"{pace}, next probe now"
        return f"{pace}, next probe " + ("is idle" if self.counts.idle else f"in {duration(self._wait())}")

    def _no_work(self) -> str:
        """That there is none; and where VMs say that they did some, why that does not count."""
        unshown = self.judgement.unshown
        if unshown <= BELIEVED:
            return "No VM finds work"
        return (
            f"No VM finds work ({unshown} ended with 200 and showed no sign of any: "
            "if their work is short, lower evidence_seconds)"
        )

    def _failures(self) -> str:
        """The VMs that failed last. Lost ones have no kind: where no other failed, they only ended."""
        failed = self.judgement.failures
        since = failed.since(self.judgement.latest_answer)
        number = max(failed.in_a_row, len(since))
        who = "The last VM" if number == 1 else f"The last {number} VMs"
        if not since:
            return f"{who} ended without a result"
        hosts = len([host for host in since if host])
        where = f" on {count(hosts, 'host')}" if hosts else ""
        return f"{who} failed ({FAILURE_WORDS[max(since.values()).kind]}){where}"


def scout(law: Law, why: str) -> Allowance:
    """One VM more when the last is so long ago that scouts cost no more than `SCOUT_SHARE`, and none is idle."""
    counts = law.counts
    life = law.judgement.durations.usual_life(law.limits.fizzle_seconds)
    affordable = min(life / (SCOUT_SHARE * max(1, counts.working)), probe_interval(law))
    interval = max(SCOUT_SHORTEST_SECONDS, affordable)
    due = law.now - law.submissions.last >= interval
    allowed = counts.unproven + 1 if due and not counts.idle else min(counts.unproven, counts.starting + 1)
    return Allowance(allowed, f"{why}: starting 1 scout every {duration(interval)}.")


def probe_interval(law: Law) -> float:
    """Seconds between probes: the shortest that the rule allows.

    Longer where only a few VMs ever found work, and where a VM without work lives long, and so costs more.
    """
    limits = law.limits
    shortest = PROBE_WINDOW_SECONDS / max(1, limits.probe_machines)
    worth = law.judgement.episodes.deepest or limits.max_machines
    cost = max(1.0, law.judgement.durations.usual_life(0.0) / limits.fizzle_seconds)
    return max(shortest, min(PROBE_BACKOFFS * limits.backoff_seconds, shortest * cost * WORTHWHILE / max(1, worth)))


def opening_failed(situation: Situation) -> bool:
    """Whether as many VMs ended without an answer as may start before the first one."""
    failed = situation.judgement.failures.in_a_row
    return bool(failed) and failed >= Opening.first(situation.limits, situation.counts, quiet=False)


def work_is_over(situation: Situation) -> bool:
    """Whether the last that found work did so longer than ``backoff_seconds`` ago, and none works now."""
    since_found = situation.now - situation.judgement.found_at
    return not situation.counts.working and since_found > situation.limits.backoff_seconds


def law_in_force(situation: Situation) -> tuple[str, Law]:
    """What is known of the queue (a verdict of `judgement`), and the law that follows from it."""
    verdict = situation.judgement.verdict()
    if verdict == UNKNOWN and opening_failed(situation):
        verdict = ERROR
    elif verdict == FOUND and work_is_over(situation):
        verdict = DRY
    if verdict == UNKNOWN:
        return verdict, Opening(situation)
    if verdict == FOUND:
        return verdict, Growth(situation)
    if verdict == DRY and situation.counts.working:
        return verdict, Scouts(situation)
    return verdict, Probes(situation, failing=verdict == ERROR)
