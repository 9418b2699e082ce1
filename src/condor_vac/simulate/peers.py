# SPDX-License-Identifier: GPL-3.0-or-later
"""The published control laws that the policy is compared with.

Each is written anew from what its project's law is, not from its code. The machinetype's own caps (``max_machines``,
``max_idle``, ``max_starting``) bind every one of them, as an administrator of theirs would see to.

- htcondorvms: the factory of HTCondorVMs (github.com/alahiff/HTCondorVMs, condor-vac.py).
- vac: Vac (github.com/vacproject/vac, 4c3c4fc: vacd, ``pollFactories`` and ``vacOneCycle``; shared.py,
  ``makeMachinetypeResponses``).
- vcycle: Vcycle (github.com/vacproject/vcycle, 9b039d3: shared.py, ``makeMachines``).
- cobald: LinearController (cobald.readthedocs.io, cobald.controller.linear) over a pool of VMs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from condor_vac.policy.observation import (
    AGENT,
    BANNED,
    EXPERIMENT,
    FIZZLE,
    IDLE,
    LOST,
    NO_WORK,
    NONE,
    REFUSED,
    RUNNING,
    SITE,
    SUCCESS,
    WITHDRAWN,
    Decision,
    Ended,
    Limits,
    Observation,
)
from condor_vac.simulate.vm import Kind
from condor_vac.simulate.world import World


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
    """How many VMs the caps allow to be submitted now.

    To a peer a VM that has lived for ``fizzle_seconds`` has shown work, which is all that ``max_starting`` can mean.
    """
    idle = sum(vm.state == IDLE for vm in seen.machines)
    rooms = [limits.max_machines - len(seen.machines), limits.max_idle - idle]
    if limits.max_starting is not None:
        young = seen.now - limits.fizzle_seconds
        starting = [vm for vm in seen.machines if not vm.works and (vm.started is None or vm.started > young)]
        rooms.append(limits.max_starting - len(starting))
    return max(0, min(rooms))


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

    Eligible when last abort < now - backoff - (fizzle if any VM is younger than fizzle). Hosts ask one after another:
    between backoff and backoff + fizzle after an abort the first that asks makes a VM, and the others see that it is
    young. Each host reports the end of its youngest VM that has ended: an abort if its message has a code from 300 up.
    A silent end is none (the code that is to find a fizzle never can: it takes Python's ``dir`` for a path).
    """

    ABORTS = frozenset({NO_WORK, BANNED, SITE, EXPERIMENT, AGENT})

    def __init__(self, seat: Seat) -> None:
        self.limits, self.kind, self.world = seat.limits, seat.kind, seat.world
        # Of each host: the start and the end of its youngest VM that has ended, and whether that was an abort. They are
        # in files, so that a restart does not lose them.
        self.last: dict[str, tuple[float, float, bool]] = {}

    def decide(self, seen: Observation) -> Decision:
        """One cycle of every host's factory (each 60 s)."""
        for end in seen.ended:
            if end.host is not None and end.started is not None and end.kind not in (LOST, REFUSED, WITHDRAWN):
                found = (end.started, end.ended, end.kind in self.ABORTS)
                self.last[end.host] = max(self.last.get(end.host, found), found)
        since = seen.now - max((ended for _started, ended, abort in self.last.values() if abort), default=-math.inf)
        hosts = len(self.world.hosts.with_room(self.kind.processors))
        hosts -= sum(vm.state == IDLE for vm in seen.machines)
        return Decision(submit=max(0, min(hosts, _allowed(since, seen, self.limits), room(seen, self.limits))))


class Vcycle:
    """A tenth of the limit per cycle, counted in processors, unless a VM aborted too recently.

    Between backoff and backoff + fizzle after an abort exactly one VM: each attempt counts as a VM that has not passed
    fizzle_seconds. An abort is a code from 300 to 699, or any other end before fizzle_seconds, 2xx included. VMs that
    are idle are not subtracted.
    """

    ABORTS = frozenset({NO_WORK, BANNED, SITE, EXPERIMENT})
    PART = 0.1

    def __init__(self, seat: Seat) -> None:
        self.limits, self.processors = seat.limits, seat.kind.processors
        self.last_abort = -math.inf

    def decide(self, seen: Observation) -> Decision:
        """One cycle of the space (each 60 s)."""
        aborts = [end.ended for end in seen.ended if self._is_abort(end)]
        self.last_abort = max([self.last_abort, *aborts])
        per_cycle = int(0.9999999 + self.limits.max_machines * self.processors * self.PART)
        attempts = -(-per_cycle // self.processors)
        allowed = _allowed(seen.now - self.last_abort, seen, self.limits)
        return Decision(submit=min(attempts, allowed, room(seen, self.limits)))

    def _is_abort(self, end: Ended) -> bool:
        if end.kind in self.ABORTS:
            return True
        # A VM that never started has no start to count from.
        started = end.started is not None and end.kind not in (REFUSED, WITHDRAWN)
        return started and end.life < self.limits.fizzle_seconds


def _allowed(since_abort: float, seen: Observation, limits: Limits) -> int:
    """How many VMs Vac's and Vcycle's rule lets start so many seconds after the last abort."""
    fizzle = limits.fizzle_seconds
    if since_abort <= limits.backoff_seconds:
        return 0
    if since_abort > limits.backoff_seconds + fizzle:
        return limits.max_machines
    young = any(
        vm.state == IDLE or (vm.state == RUNNING and seen.now - (vm.started or seen.now) < fizzle)
        for vm in seen.machines
    )
    return 0 if young else 1


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


PEERS: dict[str, Callable[[Seat], Player]] = {
    "htcondorvms": HTCondorVMs,
    "vac": Vac,
    "vcycle": Vcycle,
    "cobald": Cobald,
}
