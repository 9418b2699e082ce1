# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool that does what it likes, for property tests: VMs start, work, fail and vanish as a seed has it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from condor_vac.policy.observation import (
    AGENT,
    BANNED,
    EXPERIMENT,
    FIZZLE,
    HELD,
    IDLE,
    LOST,
    NO_WORK,
    NONE,
    REFUSED,
    REMOVED,
    RUNNING,
    SITE,
    SUCCESS,
    WITHDRAWN,
    Decision,
    Ended,
    Machine,
    Observation,
)

ANY_END = (SUCCESS, NO_WORK, BANNED, SITE, EXPERIMENT, AGENT, FIZZLE, NONE, LOST, REFUSED, WITHDRAWN)
VAIN_ENDS = (NO_WORK, BANNED, SITE, EXPERIMENT, AGENT, FIZZLE)


class Chaos:
    """Holds the VMs of one machinetype; `step` lets time pass, `act` carries out a decision."""

    def __init__(self, seed: int, hosts: int = 6, measured: bool = True, holds: bool = True) -> None:
        self.rng = random.Random(seed)
        self.hosts, self.measured, self.holds = hosts, measured, holds
        self.now = 1_700_000_000.0
        self.machines: dict[str, Machine] = {}
        self.ended: list[Ended] = []
        self.created = 0

    def act(self, decision: Decision) -> None:
        """Submit and remove as decided."""
        for name in decision.remove:
            del self.machines[name]
        for _ in range(decision.submit):
            self.created += 1
            name = f"{self.created}.0"
            self.machines[name] = Machine(name, IDLE, self.now)

    def step(self, seconds: float, ends: Sequence[str] = ANY_END, works: bool = True, rate: float = 0.3) -> Observation:
        """Let seconds pass; each VM may change its state, ending in one of ``ends`` if it ends."""
        self.now += seconds
        for vm in list(self.machines.values()):
            if self.rng.random() < rate:
                self._change(vm, ends, works)
        return self.observe()

    def observe(self) -> Observation:
        """What a factory sees; ends are repeated for two hours, as a queue does that keeps completed jobs."""
        self.ended = [end for end in self.ended if end.ended > self.now - 7000]
        return Observation(self.now, tuple(self.machines.values()), tuple(self.ended))

    def _change(self, vm: Machine, ends: Sequence[str], works: bool) -> None:
        chance = self.rng.random()
        if vm.state == IDLE:
            if chance < 0.9:
                host = f"wn-{self.rng.randrange(self.hosts)}"
                changed = replace(vm, state=RUNNING, started=self.now, host=host, measured=self.measured)
                self.machines[vm.id] = changed
            elif chance < 0.95 and self.holds:
                self.machines[vm.id] = replace(vm, state=self.rng.choice([HELD, REMOVED]))
        elif vm.state == RUNNING and works and chance < 0.5:
            self.machines[vm.id] = replace(vm, works=self.measured)
        elif vm.state == RUNNING or chance < 0.2:
            self._end(vm, self.rng.choice(ends))

    def _end(self, vm: Machine, kind: str) -> None:
        del self.machines[vm.id]
        when = self.now - self.rng.uniform(0, 30)
        abort = kind in VAIN_ENDS
        self.ended.append(
            Ended(vm.id, vm.submitted, when, kind, abort, vm.host, vm.started, vm.works, vm.measured),
        )


class Plenty(Chaos):
    """Every VM finds work as soon as it is up, and keeps it."""

    def step(self, seconds: float, ends: Sequence[str] = (), works: bool = True, rate: float = 1.0) -> Observation:
        """Idle VMs start; those that started show work."""
        self.now += seconds
        for vm in list(self.machines.values()):
            if vm.state == IDLE:
                host = f"wn-{self.rng.randrange(self.hosts)}"
                self.machines[vm.id] = replace(vm, state=RUNNING, started=self.now, host=host, measured=self.measured)
            elif vm.state == RUNNING and vm.started is not None and self.now - vm.started >= 240:
                self.machines[vm.id] = replace(vm, works=self.measured)
        return self.observe()
