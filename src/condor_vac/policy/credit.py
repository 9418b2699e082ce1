# SPDX-License-Identifier: GPL-3.0-or-later
"""How many VMs without work can be afforded: VMs that work earn credit, each VM that finds no work spends one."""

from __future__ import annotations

# Share of the slot time that works and may be spent on questions: one VM without work for 250 of its lives. Ablation:
# credit_earned.
EARN_SHARE = 0.004
# Share of max_machines: VMs that may find no work before any VM has worked. Ablation: credit_at_start.
START_SHARE = 1 / 8
# Share of max_machines: the most credit, so that a long good time does not pay for a flood of questions. It has no
# switch: it bounds what is earned.
MOST_SHARE = 1 / 4
# VMs: the deepest debt, so that a long bad time is made good within hours. Ablation: credit_debt.
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
