# SPDX-License-Identifier: GPL-3.0-or-later
"""How many VMs to make: the control law of the factory, explained for administrators in docs/factory.md.

Pure: observations in, decisions out, no clock and no I/O. In one paragraph: while nothing at all is known, a
few batches open the play; an answer of "no work" or of an error drops production to single probes, at most
``probe_machines`` in `PROBE_WINDOW_SECONDS`; evidence of work lets it grow, freely as deep as the queue was
last time and step by step below that, until the caps or the next VM without work; while others still work,
scouts keep asking at a price of at most `SCOUT_SHARE` of what works.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from condor_vac.base.errors import VacError
from condor_vac.policy.judgement import DRY, ERROR, FOUND, MEMORY_SECONDS, UNKNOWN, Judgement
from condor_vac.policy.observation import HELD, IDLE, RUNNING, Decision, Limits, Machine, Observation

__all__ = ["MEMORY_SECONDS", "Policy"]

PROBE_WINDOW_SECONDS = 1800.0
SCOUT_SHARE = 0.003
OPENING_BATCHES = 3
OPENING_SHARE = 0.4
WORTHWHILE = 30
SURE_STREAK = 8
STATE_VERSION = 2


@dataclass(frozen=True)
class Counts:
    """The machinetype's VMs by what is known of them."""

    total: int
    idle: tuple[Machine, ...]
    starting: int  # running, no work shown yet
    working: int
    held: int
    unmeasured: bool  # VMs run, and none of them can show work

    @property
    def unproven(self) -> int:
        """VMs that have yet to answer whether there is work."""
        return len(self.idle) + self.starting


class Policy:
    """Decides for one machinetype; its memory is small and can be had again from the history."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.judgement = Judgement(limits)
        self.submissions: list[float] = []  # times of the latest submissions, one entry per VM, sorted

    # -- the decision ----------------------------------------------------------------------------------

    def decide(self, seen: Observation) -> Decision:
        """What to do now. The same observation twice gives the same decision, or a smaller one."""
        self.judgement.take_in(seen)
        self._note_submissions(seen)
        counts = self._count(seen)
        verdict = self._verdict(counts, seen.now)
        allowed, reason = self._allowed(verdict, counts, seen.now)
        submit, limit = self._within_caps(allowed - counts.unproven, counts)
        remove: tuple[str, ...] = ()
        if verdict != FOUND and counts.unproven > allowed:
            excess = counts.unproven - allowed
            remove = tuple(vm.id for vm in sorted(counts.idle, key=lambda vm: -vm.submitted)[:excess])
        avoid = self._avoid(seen)
        self.submissions.extend([seen.now] * submit)
        reasons = [reason, self._summary(submit, len(remove), limit)]
        if avoid:
            reasons.append(f"New VMs keep off {len(avoid)} hosts where they only failed: {', '.join(avoid[:5])}.")
        return Decision(submit, remove, avoid, tuple(reasons), self._numbers(verdict, counts, allowed))

    def _count(self, seen: Observation) -> Counts:
        found = self.judgement.found
        running = [vm for vm in seen.machines if vm.state == RUNNING]
        working = sum(vm.works or vm.id in found for vm in running)
        old = [vm for vm in running if vm.started is not None and seen.now - vm.started > 60.0]
        return Counts(
            total=len(seen.machines),
            idle=tuple(vm for vm in seen.machines if vm.state == IDLE),
            starting=len(running) - working,
            working=working,
            held=sum(vm.state == HELD for vm in seen.machines),
            unmeasured=bool(old) and not any(vm.measured for vm in old),
        )

    def _verdict(self, counts: Counts, now: float) -> str:
        verdict = self.judgement.verdict()
        if verdict == UNKNOWN and self.judgement.failures >= self._first(counts):
            return ERROR
        stale = now - self.judgement.found_at > self.limits.backoff_seconds
        return DRY if verdict == FOUND and not counts.working and stale else verdict

    def _allowed(self, verdict: str, counts: Counts, now: float) -> tuple[int, str]:
        """How many VMs without an answer there may be, and why."""
        if verdict == UNKNOWN:
            return self._opening(counts)
        if verdict == FOUND:
            return self._growth(counts)
        if verdict == DRY and counts.working:
            return self._scouts(counts, now)
        return self._probes(verdict, counts, now)

    def _first(self, counts: Counts) -> int:
        """How many VMs may ask before anything is known."""
        limits = self.limits
        if limits.first_machines is not None:
            return limits.first_machines
        if counts.unmeasured:
            return limits.max_machines
        batches = min(OPENING_BATCHES * limits.max_idle, int(OPENING_SHARE * limits.max_machines))
        return max(limits.probe_machines, batches)

    def _opening(self, counts: Counts) -> tuple[int, str]:
        first = self._first(counts) - self.judgement.failures - counts.held
        return first, (
            f"No VM of this machinetype has told anything yet: up to {first} may ask before the first answer."
        )

    def _growth(self, counts: Counts) -> tuple[int, str]:
        judgement = self.judgement
        found, depth = judgement.episode, judgement.depth
        if judgement.bottomless:
            return self.limits.max_machines, (
                f"{found} VMs in a row found work and {counts.working} work: as many more as the caps allow."
            )
        bold = 1 + found**2
        stake = 1 + min(found**2 // SURE_STREAK, found) + max(0, int(judgement.credit))
        if depth is None or found > 2 * depth:
            allowed = min(stake, max(bold, int(judgement.credit / 2)))
            known = "more than before"
        else:
            allowed = min(max(stake, bold), max(depth - found, 1 + found // 2))
            known = f"{depth} did before it ran out"
        return allowed, (
            f"{found} VMs in a row found work, {known}: {allowed} may ask at a time "
            f"(credit for {judgement.credit:.1f} that ask in vain)."
        )

    def _scouts(self, counts: Counts, now: float) -> tuple[int, str]:
        life = self.judgement.lives.middle(self.limits.fizzle_seconds)
        interval = max(60.0, min(life / (SCOUT_SHARE * counts.working), self._probe_interval()))
        due = now - self._last_submission() >= interval
        allowed = counts.unproven + 1 if due and len(counts.idle) == 0 else min(counts.unproven, counts.starting + 1)
        return allowed, (
            f"The latest VM to ask found no work, {counts.working} others still work: one scout every {interval:.0f} s."
        )

    def _probes(self, verdict: str, counts: Counts, now: float) -> tuple[int, str]:
        interval = self._probe_interval()
        recent = sum(at > now - PROBE_WINDOW_SECONDS for at in self.submissions)
        wait = max(0.0, self._last_submission() + interval - now)
        due = wait <= 0 and recent < self.limits.probe_machines and not counts.idle
        keep = min(len(counts.idle), 1)
        allowed = counts.starting + (1 if due else keep)
        what = {
            DRY: "There is no work that VMs could find",
            ERROR: f"The latest VMs failed on several hosts ({self.judgement.error_kind})",
        }[verdict]
        when = "now" if due else f"in {wait:.0f} s at the earliest"
        return allowed, (
            f"{what}: one probe every {interval:.0f} s, at most {self.limits.probe_machines} in "
            f"{PROBE_WINDOW_SECONDS:.0f} s; {recent} so far, the next {when}."
        )

    def _probe_interval(self) -> float:
        """The shortest that the rule allows, but longer where only a few VMs ever found work."""
        shortest = PROBE_WINDOW_SECONDS / max(1, self.limits.probe_machines)
        worth = self.judgement.deepest or self.limits.max_machines
        return max(shortest, min(1.5 * self.limits.backoff_seconds, shortest * WORTHWHILE / max(1, worth)))

    # -- caps, hosts, words ----------------------------------------------------------------------------

    def _within_caps(self, wanted: int, counts: Counts) -> tuple[int, str]:
        limits = self.limits
        rooms = {
            "max_machines": limits.max_machines - counts.total,
            "max_idle": limits.max_idle - len(counts.idle),
        }
        if limits.max_starting is not None:
            rooms["max_starting"] = limits.max_starting - counts.unproven
        name, room = min(rooms.items(), key=lambda each: each[1])
        if wanted <= room:
            return max(0, wanted), ""
        return max(0, room), f"{name} ({getattr(limits, name)}) is what holds it there"

    def _summary(self, submit: int, removed: int, limit: str) -> str:
        words = f"Submitting {submit}" if submit else "Submitting none"
        if removed:
            words += f", removing {removed} idle"
        return f"{words}; {limit}." if limit else f"{words}."

    def _avoid(self, seen: Observation) -> tuple[str, ...]:
        avoid = self.judgement.hosts.distrusted(seen.now)
        known = {vm.host for vm in seen.machines if vm.host is not None} | set(self.judgement.known_hosts)
        return avoid if len(avoid) <= max(1, len(known) // 2) else ()

    def _note_submissions(self, seen: Observation) -> None:
        """Keep the times of the last submissions; after a restart they come from the queue and the history."""
        if not self.submissions:
            times = [vm.submitted for vm in seen.machines] + [end.submitted for end in seen.ended]
            self.submissions = sorted(times)
        self.submissions = self.submissions[-max(100, 4 * self.limits.probe_machines) :]

    def _last_submission(self) -> float:
        return self.submissions[-1] if self.submissions else -math.inf

    def _numbers(self, verdict: str, counts: Counts, allowed: int) -> Mapping[str, float]:
        judgement = self.judgement
        numbers = {
            "machines": counts.total,
            "idle": len(counts.idle),
            "starting": counts.starting,
            "working": counts.working,
            "allowed_unproven": allowed,
            "found_in_a_row": judgement.episode,
            "credit": round(judgement.credit, 1),
            "proof_seconds": judgement.proof_seconds,
            "late_seconds": judgement.late_seconds,
        }
        if judgement.depth is not None:
            numbers["depth"] = judgement.depth
        if verdict in {DRY, ERROR} and self.submissions:
            numbers["next_probe"] = self._last_submission() + self._probe_interval()
        return numbers

    # -- keeping ---------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All that the next decision needs, for one JSON file; without it the history tells most of it again."""
        return {"version": STATE_VERSION, "submissions": self.submissions, "judgement": self.judgement.state()}

    @classmethod
    def restore(cls, limits: Limits, state: Mapping[str, Any]) -> Policy:
        """The policy that gave `state`; one of another version counts as lost. Raises VacError if it is damaged."""
        policy = cls(limits)
        if state.get("version") == STATE_VERSION:
            try:
                policy.submissions = [float(at) for at in state["submissions"]]
                policy.judgement.restore(state["judgement"])
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise VacError(f"the policy's state is damaged ({error!r}); remove the factory's state file") from error
        return policy
