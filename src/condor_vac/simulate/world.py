# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual pool: VMs, the experiments' task queues, faults, and what a factory can see of all that.

An event loop over virtual time. VMs follow the README of the scenarios: matched in a negotiation cycle, up
after ``start_seconds``, then one task after another; an agent without a task waits ``idle_seconds`` (and
takes what arrives meanwhile) before it gives up. A VM whose wall clock ends loses its task, which goes back
to the queue; a VM on a lost host stays in the queue until its lease is over, as HTCondor does with a host
that no longer answers. What the factory sees of starts and ends is `STATUS_SECONDS` old.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from condor_vac.model import outcome
from condor_vac.policy.observation import IDLE, LOST, RUNNING, WITHDRAWN, Ended, Machine, Observation
from condor_vac.simulate.meter import Meter
from condor_vac.simulate.negotiator import Hosts, matches
from condor_vac.simulate.scenario import Fault, MachineType, Scenario

STATUS_SECONDS = 10.0
LEASE_SECONDS = 1200.0
HISTORY_SECONDS = 86400.0
STARTING, WAITING, WORKING, GONE = "starting", "waiting", "working", "gone"


class VM:
    """One virtual machine; ``turn`` rises whenever a scheduled end of a state no longer holds."""

    __slots__ = (
        "evidence_draw",
        "host",
        "kind",
        "matched",
        "name",
        "phase",
        "rng",
        "start_draw",
        "submitted",
        "task",
        "task_start",
        "tasks",
        "turn",
    )

    def __init__(self, name: str, kind: Kind, now: float, seed: str) -> None:
        self.name, self.kind, self.submitted = name, kind, now
        self.rng = random.Random(seed)  # noqa: S311 - a simulation must be repeatable
        self.phase, self.turn, self.tasks = IDLE, 0, 0
        self.host: int = -1
        self.matched = self.task = self.task_start = 0.0
        self.start_draw = self.rng.random()
        self.evidence_draw = self.rng.random()


class Kind:
    """A machinetype at run time: its queue of tasks, its VMs by phase, and what its factory sees."""

    def __init__(self, spec: MachineType, index: int) -> None:
        self.spec, self.index = spec, index
        self.share, self.processors = spec.share, spec.processors
        self.used = 0
        self.avoid: frozenset[int] = frozenset()
        self.tasks: deque[float] = deque()
        self.idle: dict[str, VM] = {}
        self.alive: dict[str, VM] = {}
        self.waiting: deque[VM] = deque()
        self.phases = {IDLE: 0, STARTING: 0, WAITING: 0, WORKING: 0}
        self.in_queue = 0
        self.created = 0
        self.view: dict[str, Machine] = {}
        self.news: list[Ended] = []
        self.history: deque[Ended] = deque()
        self.meter = Meter()


class World:
    """The pool of one scenario; the same seed gives the same tasks and VMs under every policy."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario, self.now = scenario, 0.0
        self.hosts = Hosts(scenario.slots, [scenario.slots] * scenario.hosts)
        self.kinds = [Kind(spec, index) for index, spec in enumerate(scenario.machinetypes)]
        self.meter = Meter()
        self.on_host: list[dict[str, VM]] = [{} for _host in range(scenario.hosts)]
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._schedule_scenario()

    # -- the clock -------------------------------------------------------------------------------------

    def at(self, when: float, action: Callable[..., None], *args: Any) -> None:
        """Have ``action(*args)`` happen at ``when``; what is due together happens in the order it was set."""
        self._count += 1
        heapq.heappush(self._events, (when, self._count, action, args))

    def every(self, seconds: float, action: Callable[[], None]) -> None:
        """Have ``action()`` happen now and then each ``seconds``."""
        action()
        self.at(self.now + seconds, self.every, seconds, action)

    def run(self) -> None:
        """Let the whole duration pass and close the books."""
        events, end = self._events, self.scenario.duration
        while events and events[0][0] <= end:
            self.now, _count, action, args = heapq.heappop(events)
            action(*args)
        self.now = end
        for kind in self.kinds:
            for vm in kind.alive.values():
                self._settle(vm)

    def _schedule_scenario(self) -> None:
        for kind in self.kinds:
            rng = random.Random(f"{self.scenario.seed}/{kind.spec.name}/tasks")  # noqa: S311
            for batch in sorted(kind.spec.queue, key=lambda each: each.at):
                tasks = [rng.uniform(*batch.seconds) for _task in range(batch.tasks)]
                self.at(batch.at, self._arrive, kind, tasks)
        for fault in self.scenario.faults:
            if fault.kind == "hosts_lost":
                self.at(fault.start, self._lose_hosts, fault.hosts)
                self.at(fault.end, self._find_hosts, fault.hosts)
        self.at(self.scenario.negotiation_interval / 2, self._negotiate)
        self.at(0.0, self._sample)

    def active(self, kind: str, machinetype: str | None = None) -> Fault | None:
        """A fault of this kind that is on now (for this machinetype or for all), or None."""
        for fault in self.scenario.faults:
            if fault.kind == kind and fault.covers(self.now) and fault.machinetype in (None, machinetype):
                return fault
        return None

    # -- what a factory may do and see -------------------------------------------------------------------

    def submit(self, kind: Kind, number: int) -> None:
        """Put so many VMs into the queue."""
        for _vm in range(number):
            kind.created += 1
            name = f"{kind.index + 1}.{kind.created}"
            vm = VM(name, kind, self.now, f"{self.scenario.seed}/{kind.spec.name}/{kind.created}")
            kind.alive[name] = kind.idle[name] = vm
            kind.view[name] = Machine(name, IDLE, self.now)
            kind.in_queue += 1
            self._phase(vm, IDLE, entering=True)
        limits = kind.spec.limits
        for meter in (kind.meter, self.meter):
            meter.peaks(sum(each.in_queue for each in self._of(meter, kind)),
                        sum(len(each.idle) for each in self._of(meter, kind)))  # fmt: skip
        if number and (kind.in_queue > limits.max_machines or len(kind.idle) > limits.max_idle):
            kind.meter.cap_violations += 1
            self.meter.cap_violations += 1

    def _of(self, meter: Meter, kind: Kind) -> list[Kind]:
        return self.kinds if meter is self.meter else [kind]

    def remove(self, kind: Kind, name: str) -> None:
        """Remove a VM; one that is seen as idle goes only if it still is (condor_rm -constraint)."""
        vm, seen = kind.alive.get(name), kind.view.get(name)
        if vm is None or (vm.phase != IDLE and seen is not None and seen.state == IDLE):
            return
        if vm.phase == WORKING:
            kind.meter.killed_working += 1
            self.meter.killed_working += 1
        self._end(vm, WITHDRAWN)

    def observe(self, kind: Kind, since_start: bool) -> Observation:
        """What the factory sees now; after its restart (``since_start``) with the history of a day."""
        news, kind.news = kind.news, []
        while kind.history and kind.history[0].ended < self.now - HISTORY_SECONDS:
            kind.history.popleft()
        ended = tuple(kind.history) if since_start else tuple(news)
        return Observation(self.now, tuple(kind.view.values()), ended)

    def avoid(self, kind: Kind, hosts: tuple[str, ...]) -> None:
        """Keep the machinetype's idle VMs off these hosts."""
        kind.avoid = frozenset(int(name.rpartition("-")[2]) for name in hosts)

    # -- a VM's life -----------------------------------------------------------------------------------

    def _phase(self, vm: VM, phase: str, *, entering: bool = False) -> None:
        if not entering:
            vm.kind.phases[vm.phase] -= 1
        vm.phase = phase
        vm.turn += 1
        if phase == GONE:
            return
        phases = vm.kind.phases
        phases[phase] += 1
        if phase == WORKING:
            processors = vm.kind.processors
            vm.kind.meter.working(phases[WORKING] * processors, self.now)
            self.meter.working(sum(k.phases[WORKING] * k.processors for k in self.kinds), self.now)

    def _negotiate(self) -> None:
        self.at(self.now + self.scenario.negotiation_interval, self._negotiate)
        if self.active("schedd_unreachable"):
            return
        groups = [(kind, len(kind.idle)) for kind in self.kinds]
        matches(groups, self.hosts, self._draws, self._match)

    def _draws(self, index: int) -> random.Random:
        idle = self.kinds[index].idle
        return idle[next(iter(idle))].rng

    def _match(self, index: int, host: int) -> None:
        kind = self.kinds[index]
        vm = kind.idle.pop(next(iter(kind.idle)))
        vm.host, vm.matched = host, self.now
        kind.used += kind.processors
        self.hosts.take(host, kind.processors)
        self.on_host[host][vm.name] = vm
        self._phase(vm, STARTING)
        kind.meter.vm_starts += 1
        self.meter.vm_starts += 1
        self.at(self.now + STATUS_SECONDS, self._show, vm)
        self.at(self.now + kind.spec.limits.max_wallclock_seconds, self._wall_clock, vm)
        fault = self._strikes(vm)
        if fault is not None:
            self.at(self.now + fault.after, self._strike, vm, fault.message)
            return
        low, high = self.scenario.start_seconds
        self.at(self.now + low + (high - low) * vm.start_draw, self._ask, vm, vm.turn)

    def _strikes(self, vm: VM) -> Fault | None:
        for fault in self.scenario.faults:
            if not fault.covers(self.now):
                continue
            if fault.kind == "error" and fault.machinetype in (None, vm.kind.spec.name):
                return fault
            if fault.kind == "black_hole" and vm.host in fault.hosts:
                return fault
        return None

    def _strike(self, vm: VM, message: str | None) -> None:
        if vm.phase != GONE:
            self._end_with(vm, message)

    def _show(self, vm: VM, works: bool = False) -> None:
        if vm.name in vm.kind.view:
            measured = vm.kind.spec.evidence_seconds is not None
            seen = vm.kind.view[vm.name]
            vm.kind.view[vm.name] = Machine(
                vm.name, RUNNING, vm.submitted, vm.matched, f"wn-{vm.host}", seen.works or works, measured
            )

    def _ask(self, vm: VM, turn: int) -> None:
        if vm.turn != turn:
            return
        if vm.kind.tasks:
            self._take(vm)
            return
        self._phase(vm, WAITING)
        vm.kind.waiting.append(vm)
        self.at(self.now + vm.rng.uniform(*vm.kind.spec.idle_seconds), self._give_up, vm, vm.turn)

    def _take(self, vm: VM) -> None:
        vm.task, vm.task_start = vm.kind.tasks.popleft(), self.now
        vm.tasks += 1
        self._phase(vm, WORKING)
        evidence = vm.kind.spec.evidence_seconds
        if vm.tasks == 1 and evidence is not None:
            low, high = evidence
            self.at(self.now + low + (high - low) * vm.evidence_draw, self._show_work, vm)
        self.at(self.now + vm.task, self._finish, vm, vm.turn)

    def _show_work(self, vm: VM) -> None:
        if vm.phase != GONE:
            self._show(vm, works=True)

    def _finish(self, vm: VM, turn: int) -> None:
        if vm.turn == turn:
            self._credit(vm)
            self._ask(vm, turn)

    def _credit(self, vm: VM) -> None:
        seconds = (self.now - vm.task_start) * vm.kind.processors
        vm.kind.meter.work += seconds
        self.meter.work += seconds

    def _give_up(self, vm: VM, turn: int) -> None:
        if vm.turn == turn:
            self._end_with(vm, vm.kind.spec.no_work_message)

    def _wall_clock(self, vm: VM) -> None:
        if vm.phase != GONE:
            self._end_with(vm, vm.kind.spec.no_work_message)

    def _arrive(self, kind: Kind, tasks: list[float]) -> None:
        kind.tasks.extend(tasks)
        while kind.tasks and kind.waiting:
            vm = kind.waiting.popleft()
            if vm.phase == WAITING:
                self._take(vm)

    # -- its end ---------------------------------------------------------------------------------------

    def _end_with(self, vm: VM, message: str | None) -> None:
        message = "200 Success" if vm.tasks else message
        runtime = self.now - vm.matched
        data = None if message is None else message.encode()
        found = outcome.parse(data, runtime, vm.kind.spec.limits.fizzle_seconds)
        self._end(vm, found.kind, found.abort)

    def _settle(self, vm: VM) -> None:
        """Book the work or the waste of a VM that ends, or is still there when the scenario does."""
        if vm.phase == WORKING and self.now >= self.scenario.duration:
            self._credit(vm)
        if vm.phase != IDLE and not vm.tasks:
            wasted = (self.now - vm.matched) * vm.kind.processors
            for meter in (vm.kind.meter, self.meter):
                meter.wasted += wasted
                meter.wasted_starts += 1

    def _end(self, vm: VM, how: str, abort: bool = False) -> None:
        self._settle(vm)
        kind, phase = vm.kind, vm.phase
        self._phase(vm, GONE)
        del kind.alive[vm.name]
        if phase == IDLE:
            del kind.idle[vm.name]
        else:
            kind.used -= kind.processors
            self.hosts.give(vm.host, kind.processors)
            del self.on_host[vm.host][vm.name]
        if phase == WORKING:
            kind.tasks.appendleft(vm.task)
            self._arrive(kind, [])
        if how == LOST:
            self.at(self.now + LEASE_SECONDS, self._record, vm, how, abort, self.now)
            return
        kind.in_queue -= 1
        delay = 0.0 if how == WITHDRAWN else STATUS_SECONDS
        self.at(self.now + delay, self._record, vm, how, abort, self.now)

    def _record(self, vm: VM, how: str, abort: bool, ended: float) -> None:
        kind = vm.kind
        if how == LOST:
            kind.in_queue -= 1
        seen = kind.view.pop(vm.name)
        started = None if vm.host < 0 else vm.matched
        host = None if vm.host < 0 else f"wn-{vm.host}"
        report = Ended(vm.name, vm.submitted, ended, how, abort, host, started, seen.works, seen.measured)
        kind.news.append(report)
        kind.history.append(report)

    def _lose_hosts(self, hosts: tuple[int, ...]) -> None:
        self.hosts.lost.update(hosts)
        for host in hosts:
            for vm in list(self.on_host[host].values()):
                self._end(vm, LOST)

    def _find_hosts(self, hosts: tuple[int, ...]) -> None:
        self.hosts.lost.difference_update(hosts)

    # -- the record ------------------------------------------------------------------------------------

    def _sample(self) -> None:
        self.at(self.now + 60.0, self._sample)
        total = [0] * 5
        for kind in self.kinds:
            phases = kind.phases
            row = [phases[IDLE], phases[STARTING], phases[WAITING] + phases[WORKING], phases[WORKING],
                   len(kind.tasks)]  # fmt: skip
            kind.meter.sample(self.now, row)
            total = [a + b for a, b in zip(total, row)]
        self.meter.sample(self.now, total)
