# SPDX-License-Identifier: GPL-3.0-or-later
"""Which answer an end is: what a VM says, what it showed, and how long it lived."""

from __future__ import annotations

import pytest

from condor_vac.policy.durations import Durations
from condor_vac.policy.ends import DOUBTFUL, DRY, ERROR, FOUND, UNKNOWN, answer
from condor_vac.policy.observation import KINDS, Ended, Limits

NOW = 1_700_000_000.0
LIMITS = Limits(max_wallclock_seconds=40_000.0)
LIVES = (300.0, 400.0, 350.0)


def judged(
    kind: str,
    life: float,
    seen: bool = False,
    lives: tuple[float, ...] = (),
    says_no_work: bool = False,
    measured: bool = True,
    unshown: int = 2,
) -> str:
    durations = Durations(LIMITS.fizzle_seconds)
    durations.restore({"no_work": lives, "doubtful": (), "failed": (), "evidence": ()})
    end = Ended("1.0", NOW, NOW + life, kind, False, "wn-1", NOW, seen, measured)
    return answer(end, seen, durations, LIMITS, says_no_work, unshown=unshown)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("life", [100.0, 5000.0, 39_000.0])
def test_work_that_was_seen_settles_it(kind: str, life: float) -> None:
    expected = {
        **dict.fromkeys(("success", "no_work", "none"), FOUND),
        **dict.fromkeys(("banned", "site", "experiment", "agent", "refused"), ERROR),
        "fizzle": DRY,
    }
    assert judged(kind, life, seen=True) == expected.get(kind, UNKNOWN)


@pytest.mark.parametrize("measured", [True, False])
@pytest.mark.parametrize(
    ("kind", "life", "lives", "expected"),
    [
        # A 2xx soon after the start, from a VM that showed nothing, is Vcycle's abort.
        ("success", 599, (), DRY),
        ("success", 599, LIVES, DRY),
        # Longer, it may be an agent that asked in vain, until lives without work are known and it outlived them.
        ("success", 601, (), DOUBTFUL),
        ("success", 20_000, LIVES[:2], DOUBTFUL),
        ("success", 20_000, LIVES, FOUND),
        ("success", 601, (900.0, 900.0, 900.0), DOUBTFUL),
        ("none", 601, (), DOUBTFUL),
        ("none", 20_000, LIVES, FOUND),
        # At the wall clock it did not end by itself.
        ("success", 32_001, (), FOUND),
        ("none", 32_001, (), FOUND),
        # A 3xx is believed, however long the agent asked, unless others without work live nothing like as long.
        ("no_work", 100, (), DRY),
        ("no_work", 20_000, (), DRY),
        ("no_work", 1799, LIVES, DRY),
        ("no_work", 1801, LIVES, FOUND),
        ("no_work", 1801, LIVES[:2], DRY),
        ("no_work", 2999, (1000.0, 900.0, 900.0), DRY),
        ("no_work", 3001, (1000.0, 900.0, 900.0), FOUND),
    ],
)
def test_an_end_without_a_sign_of_work_is_judged_by_its_life(
    kind: str, life: float, lives: tuple[float, ...], expected: str, measured: bool
) -> None:
    assert judged(kind, life, lives=lives, measured=measured) == expected


@pytest.mark.parametrize(
    ("life", "lives", "says", "expected"),
    [(300, (), False, DRY), (300, (), True, ERROR), (140, LIVES, False, ERROR), (160, LIVES, False, DRY)],
)
def test_a_silent_early_end_is_dry_unless_vms_say_so_or_it_was_too_short(
    life: float, lives: tuple[float, ...], says: bool, expected: str
) -> None:
    assert judged("fizzle", life, lives=lives, says_no_work=says) == expected


@pytest.mark.parametrize(
    ("kind", "unshown", "expected"),
    [("success", 0, FOUND), ("success", 1, FOUND), ("success", 2, DRY), ("no_work", 0, DRY), ("fizzle", 0, DRY)],
)
def test_a_vm_that_ends_well_is_believed_twice_without_a_sign_of_work(kind: str, unshown: int, expected: str) -> None:
    assert judged(kind, 300, unshown=unshown) == expected
