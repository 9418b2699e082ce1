# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers in reasons."""

from __future__ import annotations

import pytest

from condor_vac.policy.words import count, duration


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [(0, "VM", "0 VMs"), (1, "VM", "1 VM"), (2, "VM", "2 VMs"), (21, "VM", "21 VMs"), (1, "idle VM", "1 idle VM"),
     (30, "slot", "30 slots")],
)  # fmt: skip
def test_counts_agree_with_their_noun(number: int, noun: str, text: str) -> None:
    assert count(number, noun) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "60 s"), (119, "119 s"), (120, "2 min"), (900, "15 min"), (2700, "45 min"), (7199, "120 min"),
     (7200, "2 h"), (9000, "2.5 h"), (86400, "24 h")],
)  # fmt: skip
def test_durations_are_rounded_for_reading(seconds: float, text: str) -> None:
    assert duration(seconds) == text
