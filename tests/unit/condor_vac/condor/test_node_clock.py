# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's clock against the central manager's, by an ad that any machine may have written."""

from __future__ import annotations

from typing import Any

import pytest

from condor_vac.condor import node_clock

HEARD = 1_790_000_000


@pytest.mark.parametrize(
    ("made", "heard", "wrong"),
    [
        (HEARD, HEARD, None),
        (HEARD - 60, HEARD, None),
        (HEARD + 61, HEARD, "61 s ahead of"),
        (HEARD - 7200, HEARD, "7200 s behind"),
        (True, HEARD, None),
        (HEARD + 0.5, HEARD, None),
        (f"{HEARD}", HEARD, None),
        (None, HEARD, None),
        (HEARD, None, None),
        (10**40, HEARD, f"{10**40 - HEARD} s ahead of"),
    ],
)
def test_what_is_wrong_with_a_clock(made: Any, heard: Any, wrong: str | None) -> None:
    ad = {"MyCurrentTime": made, "LastHeardFrom": heard}
    assert node_clock.fault({name: value for name, value in ad.items() if value is not None}) == wrong
