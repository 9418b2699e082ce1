# SPDX-License-Identifier: GPL-3.0-or-later
"""The published control laws that the policy is compared with, and an oracle that knows the task queues.

Each is written anew from what its project publishes, not from its code. The machinetype's own caps
(``max_machines``, ``max_idle``) bind every one of them, as an administrator of theirs would see to.

- htcondorvms: the factory of HTCondorVMs (github.com/alahiff/HTCondorVMs, condor-vac.py).
- vac: Vac's rule (github.com/vacproject/vac, vac.conf(5), backoff_seconds and fizzle_seconds).
- vcycle: the same rule for a whole space (github.com/vacproject/vcycle, vcycle.conf(5)).
- cobald: LinearController (cobald.readthedocs.io, cobald.controller.linear) over a pool of VMs.
- oracle: no factory could have it; what it does bounds what any could.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from condor_vac.policy.observation import (
    FIZZLE,
    IDLE,
    LOST,
    NONE,
    RUNNING,
    SUCCESS,
    WITHDRAWN,
    Decision,
    Ended,
    Limits,
    Observation,
)
from condor_vac.simulate.world import STARTING, WAITING, Kind, World


@dataclass(frozen=True)
class Seat:
    """Where a player sits: one machinetype of one world."""

    kind: Kind
    world: World

    @property
    def limits(self) -> Limits:
        """The machinetype's caps and times."""
        return self.kind.spec.limits


class Player(Protocol):
    """Whoever decides for one machinetype; made anew when a scenario starts or the factory is killed."""

    def decide(self, seen: Observation) -> Decision:
        """What to do about ``seen``."""


def room(seen: Observation, limits: Limits) -> int:
    """How many VMs the caps allow to be submitted now."""
    idle = sum(vm.state == IDLE for vm in seen.machines)
    return max(0, min(limits.max_machines - len(seen.machines), limits.max_idle - idle))


class HTCondorVMs:
    """Two at a time until more than two have run for half an hour; any end but a long 200 stops it.

    It asks the queue only, where completed jobs stay for 2,400 s; that is its memory of a failure. Its
    variable for the shutdown code is not reset from job to job: a VM without one inherits another's.
    """

    KEPT, LONG, WAITING_MACHINES, GOOD, CYCLE_IDLE = 2400.0, 1800.0, 2, 2, 10

    def __init__(self, seat: Seat) -> None:
        self.limits = seat.limits
        self.completed: list[Ended] = []

    def decide(self, seen: Observation) -> Decision:
        """One pass of its loop (each 60 s)."""
        self.completed.extend(end for end in seen.ended if end.kind != WITHDRAWN)
        self.completed = [end for end in self.completed if end.ended > seen.now - self.KEPT]
        if self._failed_last():
            return Decision()
        idle = sum(vm.state == IDLE for vm in seen.machines)
        running = [seen.now - (vm.started or seen.now) for vm in seen.machines if vm.state == RUNNING]
        long = sum(age > self.LONG for age in running)
        grows = idle < min(self.CYCLE_IDLE, self.limits.max_idle) and long > self.GOOD
        starts = idle + len(running) < self.WAITING_MACHINES and long == 0
        wanted = (2 if long else 1) if grows or starts else 0
        return Decision(submit=min(wanted, room(seen, self.limits)))

    def _failed_last(self) -> bool:
        last, wall, good = -1.0, -1.0, False
        for end in self.completed:
            if end.ended > last:
                last, wall = end.ended, end.life
                if end.kind not in (NONE, FIZZLE, LOST):
                    good = end.kind == SUCCESS
        return wall > 0 and (wall < self.LONG or not good)


class Vac:
    """Every host that has room makes one VM per cycle, unless a VM of the type aborted too recently.

    Eligible when last abort < now - backoff - (fizzle if any VM is younger than fizzle).
    """

    def __init__(self, seat: Seat) -> None:
        self.limits, self.kind, self.world = seat.limits, seat.kind, seat.world
        self.last_abort = float("-inf")  # it is stored in a file, so that a restart does not lose it

    def decide(self, seen: Observation) -> Decision:
        """One cycle of every host's factory (each 60 s)."""
        if not self._eligible(seen):
            return Decision()
        idle = sum(vm.state == IDLE for vm in seen.machines)
        return Decision(submit=max(0, min(self._per_cycle() - idle, room(seen, self.limits))))

    def _eligible(self, seen: Observation) -> bool:
        aborts = [end.ended for end in seen.ended if end.abort]
        self.last_abort = max([self.last_abort, *aborts])
        fizzle = self.limits.fizzle_seconds
        young = any(vm.started is None or seen.now - vm.started < fizzle for vm in seen.machines)
        return self.last_abort < seen.now - self.limits.backoff_seconds - (fizzle if young else 0.0)

    def _per_cycle(self) -> int:
        return len(self.world.hosts.with_room(self.kind.processors))


class Vcycle(Vac):
    """The same rule for the space, and at most a tenth of its limit per cycle."""

    def _per_cycle(self) -> int:
        return max(1, -(-self.limits.max_machines // 10))


class Cobald:
    """Demand falls by one a second when less than half of the VMs work, else rises by one a second.

    A VM is part of the supply once its boot is over; its utilisation and allocation are 1 when work is seen
    and 0 when none is. Where work cannot be seen a VM counts as used: without a monitor that is what it has.
    Demand is limited to between one VM and max_machines, as its Limiter is used for. Excess idle VMs are
    removed; VMs drain by themselves.
    """

    RATE, HALF = 1.0, 0.5

    def __init__(self, seat: Seat) -> None:
        self.limits, self.boot = seat.limits, seat.world.scenario.start_seconds[1]
        self.demand = 1.0
        self.last: float | None = None

    def decide(self, seen: Observation) -> Decision:
        """One adjustment of demand and of the VMs to it."""
        if self.last is None:
            self.demand, self.last = max(self.demand, float(len(seen.machines))), seen.now
        step, self.last = self.RATE * max(seen.now - self.last, 60.0), seen.now
        supply = [vm for vm in seen.machines if vm.started is not None and seen.now - vm.started > self.boot]
        used = sum(vm.works or not vm.measured for vm in supply) / len(supply) if supply else 1.0
        self.demand += step if used > self.HALF else -step if used < self.HALF else 0.0
        self.demand = min(max(self.demand, 1.0), float(self.limits.max_machines))
        missing = int(self.demand) - len(seen.machines)
        if missing >= 0:
            return Decision(submit=min(missing, room(seen, self.limits)))
        idle = [vm.id for vm in seen.machines if vm.state == IDLE]
        return Decision(remove=tuple(idle[missing:]))


class Oracle:
    """A VM for every task that is queued or will be by the time it is up, on no host that eats VMs."""

    def __init__(self, seat: Seat) -> None:
        self.limits, self.kind, self.world = seat.limits, seat.kind, seat.world

    def decide(self, seen: Observation) -> Decision:
        """Fill what the queue holds, no more."""
        kind, now, soon = self.kind, seen.now, seen.now + self._ahead()
        faults = self.world.scenario.faults
        holes = [f for f in faults if f.kind == "black_hole" and f.start <= soon and now < f.end]
        avoid = tuple(f"wn-{host}" for fault in holes for host in fault.hosts)
        coming = sum(batch.tasks for batch in kind.spec.queue if now < batch.at <= soon)
        ready = kind.phases[STARTING] + kind.phases[WAITING]
        wanted = len(kind.tasks) + coming - ready - len(kind.idle)
        if self.world.active("error", kind.spec.name):
            wanted = -len(kind.idle)
        if wanted >= 0:
            return Decision(submit=min(wanted, room(seen, self.limits)), avoid_hosts=avoid)
        return Decision(remove=tuple(kind.idle)[wanted:], avoid_hosts=avoid)

    def _ahead(self) -> float:
        return self.world.scenario.start_seconds[0] + self.world.scenario.negotiation_interval


PEERS: dict[str, Callable[[Seat], Player]] = {
    "htcondorvms": HTCondorVMs,
    "vac": Vac,
    "vcycle": Vcycle,
    "cobald": Cobald,
    "oracle": Oracle,
}
