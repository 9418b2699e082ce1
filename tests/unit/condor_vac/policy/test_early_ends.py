# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether VMs that succeed early leave an empty queue behind is learned from those that ask next."""

from __future__ import annotations

import pytest

from condor_vac.policy.early_ends import NEVER, EarlyEnds


@pytest.mark.parametrize(
    ("answers", "means"),
    [
        ((), False),
        (("dry",), True),
        (("found",), False),
        (("found", "dry"), False),
        (("found", "dry", "dry"), True),
        (("dry", "found"), False),
    ],
)
def test_the_majority_of_the_next_answers_counts(answers: tuple[str, ...], means: bool) -> None:
    early = EarlyEnds(86400.0)
    for number, answer in enumerate(answers):
        early.ended(10_000.0 * number)
        getattr(early, answer)(10_000.0 * number + 300)
    assert early.mean_no_work is means
    assert early.latest_no == (early.last if means else NEVER)


def test_questions_asked_before_the_end_or_long_after_it_contradict_nothing() -> None:
    early = EarlyEnds(86400.0)
    early.ended(5000.0)
    early.found(4999.0)
    early.dry(4999.0)
    assert (early.confirmed, early.contradicted, early.open) == (1, 1, 5000.0)
    early.found(5900.0)
    assert (early.confirmed, early.contradicted, early.open) == (1, 1, None)
    early.ended(6000.0)
    early.found(6899.0)
    assert (early.confirmed, early.contradicted, early.open) == (1, 2, None)


def test_early_is_before_four_fifths_of_the_wall_clock() -> None:
    assert EarlyEnds(1000.0).early_seconds == 800.0
