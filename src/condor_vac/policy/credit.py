# SPDX-License-Identifier: GPL-3.0-or-later
"""How many VMs without work can be afforded: VMs that work earn credit, each VM that finds no work spends one."""

from __future__ import annotations

EARN_SHARE = 0.004
START_SHARE = 1 / 8
MOST_SHARE = 1 / 4
DEEPEST_DEBT = 10.0


class Credit:
    """A balance in VMs that may find no work. It starts positive, is capped, and may go into debt."""

    def __init__(self, max_machines: int) -> None:
        self.most = MOST_SHARE * max_machines
        self.balance = START_SHARE * max_machines

    def earn(self, worked_seconds: float, price_seconds: float) -> None:
        """Slot time that worked pays for questions, each of which costs ``price_seconds`` of it."""
        self.balance = min(self.most, self.balance + EARN_SHARE * worked_seconds / price_seconds)

    def spend(self) -> None:
        """A VM found no work."""
        self.balance = max(-DEEPEST_DEBT, self.balance - 1)
