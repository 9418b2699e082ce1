# SPDX-License-Identifier: GPL-3.0-or-later
"""The mechanisms of the policy, and how each is switched off: what `tests.scenarios.ablation` plays without.

A switch replaces constants and methods of `condor_vac.policy` while one scenario plays. Production code has none.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

from condor_vac.policy import (
    control_law,
    credit,
    durations,
    early_ends,
    ends,
    episodes,
    failures,
    host_trust,
    judgement,
    laws,
    submissions,
)
from condor_vac.policy.judgement import Judgement
from condor_vac.policy.observation import Ended, Limits, Observation
from condor_vac.policy.situation import Counts

NEVER_MANY = 10**9


@dataclass(frozen=True)
class Mechanism:
    """One mechanism: what happens without it, and the (owner, attribute, replacement) that switch it off."""

    name: str
    without: str
    patches: tuple[tuple[Any, str, Any], ...]

    @contextlib.contextmanager
    def off(self) -> Iterator[None]:
        """While this is open, the policy decides without the mechanism. Raises AttributeError if there is none."""
        with contextlib.ExitStack() as stack:
            for owner, attribute, replacement in self.patches:
                stack.enter_context(mock.patch.object(owner, attribute, replacement))
            yield


def _always(value: Any) -> property:
    """A property that has this value."""
    return property(lambda _: value)


def _answer(value: Any) -> Callable[..., Any]:
    """A method that returns this."""
    return lambda *_: value


_first = laws.Opening.first


def _one_batch(limits: Limits, counts: Counts, _quiet: bool) -> int:
    return _first(limits, counts, False)


def _fewest_first(limits: Limits, _counts: Counts, _quiet: bool) -> int:
    return limits.probe_machines


def _only_unmeasured(learned: durations.Durations, measured: bool, _others_show: bool) -> float:
    return math.inf if measured else learned.proof_seconds


def _no_scout(law: laws.Scouts) -> laws.Allowance:
    return laws.Allowance(law.counts.starting, "No scouts.")


def _half_life(_durations: durations.Durations, started: float, age: float) -> float:
    return started + age / 2


def _as_it_is(known: submissions.Submissions, _seen: Observation) -> None:
    known.times = known.times[-known.kept :]


def _died_by_life(end: Ended, learned: durations.Durations, _says_no_work: bool) -> bool:
    return learned.too_short(end.life)


def _own_fizzle(learned: durations.Durations) -> float:
    return learned.fizzle_seconds


MECHANISMS = {
    mechanism.name: mechanism
    for mechanism in (
        Mechanism(
            "opening",
            "before the first result only `probe_machines` start",
            ((laws.Opening, "first", staticmethod(_fewest_first)),),
        ),
        Mechanism(
            "opening_survived",
            "before the first result one batch starts, though none of it has ended after minutes",
            ((laws.Opening, "first", staticmethod(_one_batch)),),
        ),
        Mechanism(
            "opening_failed",
            "an opening whose VMs were all lost is not followed by probes",
            ((laws, "opening_failed", _answer(False)),),
        ),
        Mechanism(
            "growth_unbounded",
            "growth has a stake even before a VM has found no work",
            ((laws.Growth, "unbounded", _always(False)),),
        ),
        Mechanism(
            "growth_by_streak",
            "the stake does not grow with the finds in a row",
            ((laws, "SURE_STREAK", NEVER_MANY),),
        ),
        Mechanism(
            "growth_by_depth",
            "growth does not know how deep the queue was before",
            ((episodes.Episodes, "depth", _always(None)),),
        ),
        Mechanism(
            "growth_beyond_record",
            "more than twice the depth of last time is no reason to grow by credit",
            ((laws, "RECORD_FACTOR", NEVER_MANY),),
        ),
        Mechanism(
            "depth_by_sort",
            "episodes that begin while VMs work count with those that begin with nothing",
            ((episodes, "FEW_WORKING", NEVER_MANY),),
        ),
        Mechanism(
            "depth_of_two", "the depth is that of the last episode, not the least of two", ((episodes, "EPISODES", 1),)
        ),
        Mechanism("credit_earned", "VMs that work earn no credit", ((credit, "EARN_SHARE", 0.0),)),
        Mechanism("credit_at_start", "credit starts at 0", ((credit, "START_SHARE", 0.0),)),
        Mechanism("credit_debt", "credit does not go below 0", ((credit, "DEEPEST_DEBT", 0.0),)),
        Mechanism(
            "work_is_over",
            "finds count as work although nothing has worked for `backoff_seconds`",
            ((laws, "work_is_over", _answer(False)),),
        ),
        Mechanism(
            "scouts", "nothing starts while others work once one found no work", ((laws.Scouts, "allowed", _no_scout),)
        ),
        Mechanism(
            "scouts_by_price", "scouts come at the pace of probes, however many work", ((laws, "SCOUT_SHARE", 1e-12),)
        ),
        Mechanism(
            "probes_by_worth",
            "probes are as frequent where only a few VMs ever found work",
            ((laws, "WORTHWHILE", 0),),
        ),
        Mechanism(
            "removal_of_idle",
            "idle VMs beyond what is allowed stay in the queue",
            ((control_law.Policy, "unwanted", _answer(())),),
        ),
        Mechanism(
            "late",
            "a VM that is late to show work is no answer",
            ((durations.Durations, "late_seconds", _always(math.inf)),),
        ),
        Mechanism(
            "proof_by_lives",
            "unseen work is believed from `fizzle_seconds` on, whatever lives were measured",
            ((durations.Durations, "proof_seconds", property(_own_fizzle)),),
        ),
        Mechanism(
            "assumed",
            "a VM that could show work and shows none is never taken to work",
            ((durations.Durations, "assumed_seconds", _only_unmeasured),),
        ),
        Mechanism(
            "taken_back",
            "what was assumed of VMs stands though others of their age found nothing",
            ((Judgement, "_take_back", _answer(None)),),
        ),
        Mechanism(
            "doubtful",
            "a VM that ends well, or silently, after `fizzle_seconds` did work though it never showed it",
            ((ends, "_worked_unseen", _answer(True)),),
        ),
        Mechanism(
            "lives_of_failures",
            "a VM need not outlive those that failed to be taken to work",
            ((judgement, "PATIENCE_FACTOR", 0),),
        ),
        Mechanism(
            "episodes_end_by_failures",
            "failures never end an episode of finds",
            ((episodes.Episodes, "end", _answer(None)),),
        ),
        Mechanism(
            "growth_in_trickles",
            "each find is followed by a question at once, though there never was work for more than two",
            ((laws.Growth, "_is_trickle", _answer(False)),),
        ),
        Mechanism(
            "question_by_evidence",
            "a VM is taken to have asked half-way through its life, not half-way to the usual evidence",
            ((durations.Durations, "asked", _half_life),),
        ),
        Mechanism(
            "early_ends",
            "early successes never mean an empty queue",
            ((early_ends.EarlyEnds, "mean_no_work", _always(False)),),
        ),
        Mechanism(
            "early_ends_learned",
            "early successes always mean an empty queue",
            ((early_ends.EarlyEnds, "mean_no_work", _always(True)),),
        ),
        Mechanism(
            "failures_all_over",
            "failures on many hosts are no reason to stop",
            ((failures.Failures, "all_over", _answer(False)),),
        ),
        Mechanism(
            "death_by_life",
            "a silent end before an agent could have asked counts as no work",
            ((durations.Durations, "too_short", _answer(False)),),
        ),
        Mechanism(
            "death_by_silence",
            "a silent early end counts as no work although VMs say when there is none",
            ((ends, "died", _died_by_life),),
        ),
        Mechanism("avoided_hosts", "no host is avoided", ((host_trust.HostTrust, "avoided", _answer(())),)),
        Mechanism(
            "avoided_longer", "a host that fails again is not avoided for longer", ((host_trust, "AGAIN_FACTOR", 1.0),)
        ),
        Mechanism("avoided_at_most_half", "all hosts may be avoided at once", ((control_law, "AVOIDED_PART", 1),)),
        Mechanism(
            "forgiven_hosts",
            "failures all over the site are held against the hosts",
            ((host_trust.HostTrust, "forgive", _answer(None)),),
        ),
        Mechanism(
            "submissions_from_queue",
            "without its state the factory does not know when the VMs in queue and history were submitted",
            ((submissions.Submissions, "note", _as_it_is),),
        ),
    )
}
