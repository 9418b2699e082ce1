# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy that always wants its caps full: with it, tests of the factory do not depend on the control law."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from condor_vac.policy.observation import IDLE, Decision, Limits, Observation

MEMORY_SECONDS = 86400.0


class Policy:
    """As condor_vac.policy.control_law.Policy is used: decide, state, restore. Its state counts what it asked for."""

    def __init__(self, limits: Limits, asked: int = 0) -> None:
        self.limits = limits
        self._asked = asked

    @classmethod
    def restore(cls, limits: Limits, state: Mapping[str, Any]) -> Policy:
        """With the count that was saved."""
        return cls(limits, int(state["asked"]))

    def state(self) -> dict[str, Any]:
        """The count."""
        return {"asked": self._asked}

    def decide(self, seen: Observation) -> Decision:
        """As many as the caps leave; nothing waits on a host that gave a fizzle."""
        idle = sum(machine.state == IDLE for machine in seen.machines)
        room = min(self.limits.max_machines - len(seen.machines), self.limits.max_idle - idle)
        submit = max(0, room)
        self._asked += submit
        avoid = {end.host for end in seen.ended if end.kind == "fizzle" and end.host}
        return Decision(submit, (), tuple(sorted(avoid)), (f"{len(seen.machines)} VMs, {idle} wait",))
