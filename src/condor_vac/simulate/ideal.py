# SPDX-License-Identifier: GPL-3.0-or-later
"""The oracle: the pool of a scenario as no factory could run it, so that what it gets bounds what any can get.

A VM is there and asks the moment that a task needs one and a slot can have one: no cycle is waited for, and what is to
come is known. A policy's VM can start a task no sooner, and tasks are taken in the same order. Only what binds every
policy binds the oracle:

- the slots, the shares between machinetypes, and ``max_machines``;
- a slot, and a place below ``max_machines``, has a VM that asks no sooner than the shortest boot after the VM before
  it stopped its work;
- a VM that is alive takes the next task, knows nothing of its end, and loses its task with its wall clock;
- while all of a machinetype's VMs fail or are held, or the schedd does not answer, none starts; while its factory
  cannot submit, no more start than may have waited in the queue;
- a host that is a black hole or refuses jobs starts none; one that will be lost starts no task that it cannot finish.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from condor_vac.policy.observation import WITHDRAWN
from condor_vac.simulate.faults import Fault
from condor_vac.simulate.scenario import Scenario
from condor_vac.simulate.vm import STARTING, VM, WAITING, Kind
from condor_vac.simulate.world import REQUEST_SECONDS, World

# While such a fault is on, VMs of its machinetype do not start, or only those that waited in the queue.
_NO_STARTS = frozenset({"error", "hold", "schedd_unreachable"})
_NO_NEW = frozenset({"no_submissions", "factory_down"})
# On hosts of such a fault none starts.
_BAD_HOST = frozenset({"black_hole", "refuse"})


class Ideal(World):
    """A world without factories in which a VM is there whenever there is work for it.

    The machinetype ``first`` has its VMs before all others; without one all have theirs by share.
    """

    def __init__(self, scenario: Scenario, first: int | None = None) -> None:
        self._first = first
        # VMs that started while a fault of `_NO_NEW` was on, by its place and their machinetype.
        self._from_queue: dict[tuple[int, str], int] = {}
        self._serving, self._wakes = False, float("inf")
        self._boot, longest = scenario.start_seconds
        self._longest = longest + scenario.nodes.first_start_seconds[1]
        # Of each host, since when its free slots have done nothing, in order.
        self._idle_since = [[REQUEST_SECONDS] * slots for slots in scenario.nodes.slots]
        # The same of each machinetype's places in the queue: no more VMs than slots ever count.
        self._places_since = [
            [REQUEST_SECONDS] * min(kind.limits.max_machines, scenario.nodes.total) for kind in scenario.machinetypes
        ]
        super().__init__(scenario)

    def _schedule_scenario(self) -> None:
        super()._schedule_scenario()
        for fault in self.scenario.faults:
            self.at(fault.end + self._boot, self._serve)

    def _negotiate(self, cycle: int) -> None:
        """Nothing waits for a cycle."""

    def _find_hosts(self, hosts: Iterable[int]) -> None:
        super()._find_hosts(hosts)
        for host in hosts:
            self._idle_since[host] = [self.now] * len(self._idle_since[host])

    def _arrive(self, kind: Kind, tasks: list[float]) -> None:
        super()._arrive(kind, tasks)
        self._serve()

    def _ask(self, vm: VM, turn: int) -> None:
        tasks = vm.kind.tasks
        if vm.turn != turn:
            return
        if tasks and not self._lost_before(vm.host, self.now + tasks[0]):
            self._take(vm)
            return
        self._phase(vm, WAITING)
        if tasks:
            self._end_with(vm, None)
        else:
            vm.kind.waiting.append(vm)
            self.at(self.now + vm.kind.spec.idle_seconds[1], self._give_up, vm, vm.turn)

    def _leave(self, vm: VM) -> None:
        since = vm.task_start + vm.task if vm.phase == WAITING else self.now
        for _slot in range(vm.kind.processors):
            bisect.insort(self._idle_since[vm.host], since)
        bisect.insort(self._places_since[vm.kind.index], since)
        super()._leave(vm)

    def _end(self, vm: VM, how: str, abort: bool = False) -> None:
        super()._end(vm, how, abort)
        self._serve()

    def _record(self, vm: VM, how: str, abort: bool, ended: float) -> None:
        """No factory looks."""

    def _serve(self) -> None:
        """Start a VM for every task that can have one."""
        if self._serving:
            return
        self._serving = True
        able = {kind.index for kind in self.kinds}
        while able:
            kind = self.kinds[min(able, key=self._turn)]
            host = self._host_for(kind) if kind.tasks and self._may_start(kind) else None
            if host is None:
                able.discard(kind.index)
            else:
                self._begin(kind, host)
        self._serving = False

    def _turn(self, index: int) -> tuple[bool, float, int]:
        return index != self._first, self.kinds[index].used / self.kinds[index].share, index

    def _begin(self, kind: Kind, host: int) -> None:
        kind.created += 1
        vm = VM(f"{kind.index + 1}.{kind.created}", kind, kind.created, self.stamp, f"oracle/{kind.created}")
        vm.host, vm.starts, vm.matched = host, 1, self.now
        kind.alive[vm.name] = self.on_host[host][vm.name] = vm
        kind.in_queue += 1
        kind.used += kind.processors
        self.hosts.take(host, kind.processors)
        del self._idle_since[host][: kind.processors]
        del self._places_since[kind.index][0]
        self._phase(vm, STARTING, entering=True)
        for meter in (kind.meter, self.meter):
            meter.vm_starts += 1
        self._note_peaks(kind)
        for place, fault in self._on(kind):
            if fault.kind in _NO_NEW:
                key = place, kind.spec.name
                self._from_queue[key] = self._from_queue.get(key, 0) + 1
        self.at(vm.matched + kind.spec.limits.max_wallclock_seconds, self._wall_clock, vm, vm.starts)
        self._take(vm)

    def _on(self, kind: Kind) -> list[tuple[int, Fault]]:
        """The faults that were on for the machinetype whenever a VM that asks now was matched, with their places."""
        earliest, latest = self.now - self._longest, self.now - self._boot
        return [
            (place, fault)
            for place, fault in enumerate(self.scenario.faults)
            if fault.start <= earliest and latest < fault.end and fault.machinetype in (None, kind.spec.name)
        ]

    def _may_start(self, kind: Kind) -> bool:
        limits = kind.spec.limits
        for place, fault in self._on(kind):
            if fault.kind in _NO_STARTS and fault.share >= 1:
                return False
            if fault.kind in _NO_NEW and self._from_queue.get((place, kind.spec.name), 0) >= limits.max_idle:
                return False
        places = self._places_since[kind.index]
        return bool(places) and self._is_over(places[0] + self._boot)

    def _host_for(self, kind: Kind) -> int | None:
        """The host with the fewest free slots that are enough; VMs that only wait make room for others."""
        bad = frozenset(host for _number, fault in self._on(kind) if self._is_bad(fault) for host in fault.hosts)
        end = self.now + kind.tasks[0]
        while True:
            found = [
                host
                for host in self.hosts.with_room(kind.processors, bad)
                if self._is_ready(host, kind.processors) and not self._lost_before(host, end)
            ]
            if found:
                return min(found, key=lambda host: (self.hosts.free[host], self.hosts.order[host]))
            if not self._make_room(kind):
                return None

    def _is_ready(self, host: int, processors: int) -> bool:
        return self._is_over(self._idle_since[host][processors - 1] + self._boot)

    def _is_over(self, ready: float) -> bool:
        """Whether the boot that ends at ``ready`` is over; if not, it is tried again then."""
        if ready > self.now and (ready < self._wakes or self._wakes <= self.now):
            self._wakes = ready
            self.at(ready, self._serve)
        return ready <= self.now

    def _make_room(self, kind: Kind) -> bool:
        """End a VM of another machinetype that has waited for work for as long as a boot; whether there was one."""
        for other in self.kinds:
            while other is not kind and other.waiting:
                vm = other.waiting[0]
                if vm.phase == WAITING and not self._is_over(vm.task_start + vm.task + self._boot):
                    break
                other.waiting.popleft()
                if vm.phase == WAITING:
                    self._end(vm, WITHDRAWN)
                    return True
        return False

    def _lost_before(self, host: int, end: float) -> bool:
        return any(
            fault.kind == "hosts_lost" and self.now < fault.start < min(end, self.scenario.duration)
            for fault in self.scenario.faults
            if host in fault.hosts
        )

    @staticmethod
    def _is_bad(fault: Fault) -> bool:
        return fault.kind in _BAD_HOST and fault.share >= 1
