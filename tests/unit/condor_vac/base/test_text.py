# SPDX-License-Identifier: GPL-3.0-or-later
"""Singular and plural in messages."""

from __future__ import annotations

import pytest

from condor_vac.base.text import count


@pytest.mark.parametrize(
    ("number", "noun", "expected"),
    [(0, "VM", "0 VMs"), (1, "VM", "1 VM"), (2, "VM", "2 VMs"), (1, "idle VM", "1 idle VM"), (30, "slot", "30 slots")],
)
def test_number_and_noun_agree(number: int, noun: str, expected: str) -> None:
    assert count(number, noun) == expected
