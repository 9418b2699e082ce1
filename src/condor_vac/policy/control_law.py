# SPDX-License-Identifier: GPL-3.0-or-later
"""How many VMs to make: the policy of the factory, explained for administrators in docs/factory.md.

Pure: observations in, decisions out, no clock and no I/O. In one paragraph: while nothing at all is known, a
few batches open the play; an answer of "no work" or of an error drops production to single probes, at most
``probe_machines`` in `PROBE_WINDOW_SECONDS`; evidence of work lets it grow, freely as deep as the queue was
last time and step by step below that, until the caps or the next VM without work; while others still work,
scouts keep asking at a price of at most `laws.SCOUT_SHARE` of what works.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from condor_vac.policy import state as policy_state
from condor_vac.policy.judgement import DRY, ERROR, FOUND, MEMORY_SECONDS, Judgement
from condor_vac.policy.laws import PROBE_WINDOW_SECONDS, law_in_force, probe_interval
from condor_vac.policy.observation import Decision, Limits, Observation
from condor_vac.policy.situation import Counts, Situation, count_machines
from condor_vac.policy.submissions import Submissions
from condor_vac.policy.words import count

__all__ = ["MEMORY_SECONDS", "PROBE_WINDOW_SECONDS", "Policy"]

# Avoided hosts that a reason names; all of them are in the decision.
NAMED_HOSTS = 5
# One in so many known hosts may be avoided: if more fail it is not the hosts. Ablation: avoided_at_most_half.
AVOIDED_PART = 2


class Policy:
    """Decides for one machinetype; its memory is small and can be had again from the history."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.judgement = Judgement(limits)
        self.submissions = Submissions(limits.probe_machines, limits.max_starts_per_minute or 0)

    def decide(self, seen: Observation) -> Decision:
        """What to do now. The same observation twice gives the same decision, or a smaller one."""
        self.judgement.take_in(seen)
        self.submissions.note(seen)
        counts = count_machines(seen, self.judgement.found, self.judgement.late)
        situation = Situation(seen.now, self.limits, counts, self.judgement, self.submissions)
        verdict, law = law_in_force(situation)
        allowed, reason = law.allowed()
        submit, limit = self._within_caps(allowed - counts.unproven, counts, seen.now)
        remove = () if verdict == FOUND else self.unwanted(counts, allowed)
        avoid = self._avoid(seen)
        self.submissions.add(seen.now, submit)
        reasons = [reason, _summary(submit, len(remove), limit)]
        if avoid:
            reasons.append(_avoiding(avoid))
        numbers = self._numbers(counts, allowed)
        if verdict in {DRY, ERROR} and self.submissions.times:
            numbers["next_probe"] = self.submissions.last + probe_interval(law)
        return Decision(submit, remove, avoid, tuple(reasons), numbers)

    def _within_caps(self, wanted: int, counts: Counts, now: float) -> tuple[int, str]:
        """How many VMs may be submitted, and what limits them (empty: nothing does)."""
        limits = self.limits
        rooms = {
            "max_machines": limits.max_machines - counts.total,
            "max_idle": limits.max_idle - len(counts.idle),
        }
        if limits.max_starting is not None:
            rooms["max_starting"] = limits.max_starting - counts.unproven - counts.late
        if limits.max_starts_per_minute is not None:
            rooms["max_starts_per_minute"] = limits.max_starts_per_minute - self.submissions.last_minute(now)
        name, room = min(rooms.items(), key=lambda each: each[1])
        if wanted <= room:
            return max(0, wanted), ""
        return max(0, room), f"limited by {name} = {getattr(limits, name)}"

    def unwanted(self, counts: Counts, allowed: int) -> tuple[str, ...]:
        """The idle VMs beyond what is allowed, the newest first."""
        excess = max(0, counts.unproven - allowed)
        return tuple(vm.id for vm in sorted(counts.idle, key=lambda vm: -vm.submitted)[:excess])

    def _avoid(self, seen: Observation) -> tuple[str, ...]:
        """The hosts to avoid; none if they are more than half of those known, for then it is not the hosts."""
        avoid = self.judgement.hosts.avoided(seen.now)
        known = {vm.host for vm in seen.machines if vm.host is not None} | set(self.judgement.failures.known_hosts)
        return avoid if len(avoid) <= max(1, len(known) // AVOIDED_PART) else ()

    def _numbers(self, counts: Counts, allowed: int) -> dict[str, float]:
        judgement = self.judgement
        numbers: dict[str, float] = {
            "machines": counts.total,
            "idle": len(counts.idle),
            "starting": counts.starting,
            "working": counts.working,
            "allowed_unproven": allowed,
            "found_in_a_row": judgement.episodes.count,
            "credit": round(judgement.credit.balance, 1),
            "proof_seconds": judgement.durations.proof_seconds,
        }
        if judgement.durations.evidence_known:
            numbers["late_seconds"] = judgement.durations.late_seconds
        if judgement.episodes.depth is not None:
            numbers["depth"] = judgement.episodes.depth
        return numbers

    def state(self) -> dict[str, Any]:
        """All that the next decision needs, as JSON (`state.SCHEMA`); without it the history has most of it."""
        return {
            "version": policy_state.VERSION,
            "submissions": list(self.submissions.times),
            "judgement": self.judgement.state(),
        }

    @classmethod
    def restore(cls, limits: Limits, state: Mapping[str, Any]) -> Policy:
        """The policy that gave `state`; one of an unknown version counts as lost. Raises VacError if it is damaged."""
        policy = cls(limits)
        current = policy_state.current(state)
        if current is not None:
            policy.submissions.times = list(current["submissions"])
            policy.judgement.restore(current["judgement"])
        return policy


def _summary(submit: int, removed: int, limit: str) -> str:
    words = f"Submitting {submit or 'none'}"
    if removed:
        words += f", removing {count(removed, 'idle VM')}"
    return f"{words} ({limit})." if limit else f"{words}."


def _avoiding(hosts: tuple[str, ...]) -> str:
    names = ", ".join(hosts[:NAMED_HOSTS])
    more = f" and {len(hosts) - NAMED_HOSTS} more" if len(hosts) > NAMED_HOSTS else ""
    return f"Avoiding {count(len(hosts), 'host')} where every recent VM failed: {names}{more}."
