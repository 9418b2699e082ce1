# SPDX-License-Identifier: GPL-3.0-or-later
"""Which answer the end of a VM is to the question whether there is work.

What a VM says counts, but not against what it did: agents end with 200 though they found nothing, say 300 after a
day's work, or power off without a word. Work that was *seen* (use of processors, heartbeats) settles it. Where none
was, the VM's life is compared with those of VMs that had no work.
"""

from __future__ import annotations

import math

from condor_vac.policy.durations import Durations
from condor_vac.policy.early_ends import EARLY_SHARE
from condor_vac.policy.observation import (
    AGENT,
    BANNED,
    EXPERIMENT,
    FIZZLE,
    NO_WORK,
    NONE,
    REFUSED,
    SITE,
    SUCCESS,
    Ended,
    Limits,
)

# VMs that end well and showed no work: so many in a row are believed, as work may be short.
BELIEVED = 2
UNKNOWN, FOUND, DRY, DOUBTFUL, ERROR = "unknown", "found", "dry", "doubtful", "error"
# Multiple of the longest life without work, and of fizzle_seconds: a VM that lived longer and then says 300 did work
# before. Larger than what outlives suffices for, because agents that wait for work do so for very different times.
SAID_FACTOR = 3


def answer(end: Ended, seen: bool, durations: Durations, limits: Limits, says_no_work: bool, unshown: int) -> str:
    """The answer: found, dry, error, or unknown.

    ``seen`` is whether the VM showed work, ``says_no_work`` whether VMs without work have ever said so, ``unshown`` how
    many have ended well without showing work since one last showed some. `DOUBTFUL` is dry as well, but its life may
    be that of a VM that worked.
    """
    if end.kind in (BANNED, EXPERIMENT, AGENT, SITE, REFUSED):
        return ERROR
    if end.kind == FIZZLE:
        return ERROR if died(end, durations, says_no_work) else DRY
    if end.kind not in (SUCCESS, NO_WORK, NONE):
        return UNKNOWN
    if seen or (end.kind == SUCCESS and unshown < BELIEVED):
        return FOUND
    return _unseen(end, durations, limits)


def died(end: Ended, durations: Durations, says_no_work: bool) -> bool:
    """Whether it died, rather than found nothing: where VMs report that, or before an agent could have asked."""
    return says_no_work or durations.too_short(end.life)


def _unseen(end: Ended, durations: Durations, limits: Limits) -> str:
    """The answer of a VM that did not fail, and never showed work."""
    if end.kind == NO_WORK:
        longest = max(durations.no_work.high if durations.lives_known else math.inf, limits.fizzle_seconds)
        return FOUND if end.life > SAID_FACTOR * longest else DRY
    if end.life < limits.fizzle_seconds:
        return DRY
    return FOUND if _worked_unseen(end, durations, limits) else DOUBTFUL


def _worked_unseen(end: Ended, durations: Durations, limits: Limits) -> bool:
    """Whether a VM that ended well or without a word, and never showed work, lived as only those do that work."""
    if end.life > EARLY_SHARE * limits.max_wallclock_seconds:
        return True
    return durations.lives_known and end.life > durations.proof_seconds
