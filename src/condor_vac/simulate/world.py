# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual pool: VMs, the experiments' task queues, faults, and what a factory can see of all that.

An event loop over virtual time. VMs follow the README of the scenarios: matched in a negotiation cycle, up
after ``start_seconds``, then one task after another; an agent without a task waits ``idle_seconds`` (and
takes what arrives meanwhile) before it gives up. A VM whose wall clock ends loses its task, which goes back
to the queue; a VM on a lost host stays in the queue until its lease is over, as HTCondor does with a host
that no longer answers. What the factory sees of starts and ends is `STATUS_SECONDS` old.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from condor_vac.model import outcome
from condor_vac.policy.observation import HELD, IDLE, LOST, REFUSED, WITHDRAWN, Observation
from condor_vac.simulate import starts
from condor_vac.simulate.events import Events
from condor_vac.simulate.faults import Fault
from condor_vac.simulate.meter import Meter
from condor_vac.simulate.negotiator import Hosts, matches
from condor_vac.simulate.places import Places
from condor_vac.simulate.scenario import Scenario
from condor_vac.simulate.vm import GONE, STARTING, VM, WAITING, WORKING, Kind

STATUS_SECONDS = 10.0
LEASE_SECONDS = 1200.0
# The factory's rules for stuck jobs: condor_vac.factory.stuck_jobs, which the simulator must not import.
HELD_SECONDS = 3600.0
MAX_STARTS = 5
# HTCondor's defaults (param_info.in): seconds between a cycle and one that a submission asks for, and the age of a
# claim up to which the schedd puts its submitter's next job on it. What a request takes to arrive is assumed.
NEGOTIATOR_CYCLE_DELAY = 20.0
CLAIM_WORKLIFE = 1200.0
REQUEST_SECONDS = 2.0


class World(Events):
    """The pool of one scenario; the same seed gives the same tasks and VMs under every policy."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__()
        self.scenario = scenario
        nodes = scenario.nodes
        self.hosts = Hosts(nodes.slots, nodes.starts_per_cycle, scenario.seed)
        self.kinds = [Kind(spec, index) for index, spec in enumerate(scenario.machinetypes)]
        self.meter = Meter()
        self.on_host: list[dict[str, VM]] = [{} for _host in nodes.slots]
        self._places = Places(nodes.slots, {kind.processors for kind in self.kinds})
        self._waits_since = 0.0
        self._clock_error = 0.0
        self._cycle, self._next_cycle, self._last_cycle = 0, 0.0, float("-inf")
        self._schedule_scenario()

    def run(self) -> None:
        """Let the whole duration pass and close the books."""
        self.pass_until(self.scenario.duration)
        self._note_waits()
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
            elif fault.kind == "clock_step":
                self.at(fault.start, self._step_clock, fault.seconds)
            elif fault.kind == "queue_emptied":
                self.at(fault.start, self._empty_queue, fault.machinetype)
        self._plan_cycle(self.scenario.negotiation_interval / 2)
        self.every(60.0, self._sample)

    @property
    def stamp(self) -> float:
        """What the access point's clock has now: the time of all that a factory sees."""
        return self.now + self._clock_error

    def _step_clock(self, seconds: float) -> None:
        self._clock_error += seconds

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
            vm = VM(name, kind, kind.created, self.stamp, f"{self.scenario.seed}/{kind.spec.name}/{kind.created}")
            kind.alive[name] = kind.idle[name] = vm
            kind.view.idle(vm)
            kind.in_queue += 1
            self._phase(vm, IDLE, entering=True)
        if number:
            self._plan_cycle(max(self.now + REQUEST_SECONDS, self._last_cycle + NEGOTIATOR_CYCLE_DELAY))
        self._note_peaks(kind)
        limits = kind.spec.limits
        if number and (kind.in_queue > limits.max_machines or len(kind.idle) > limits.max_idle):
            kind.meter.cap_violations += 1
            self.meter.cap_violations += 1

    def remove(self, kind: Kind, name: str) -> None:
        """Remove a VM; one that is seen as idle goes only if it still is (condor_rm -constraint)."""
        vm, seen = kind.alive.get(name), kind.view.machines.get(name)
        if vm is None or (vm.phase != IDLE and seen is not None and seen.state == IDLE):
            return
        if vm.phase == WORKING:
            kind.meter.killed_working += 1
            self.meter.killed_working += 1
        self._end(vm, WITHDRAWN)

    def clean(self, kind: Kind) -> None:
        """Remove what the factory's rules for stuck jobs remove: held for an hour, or given back five times."""
        for vm in list(kind.stuck.values()):
            held_long = vm.phase == HELD and self.stamp - vm.entered >= HELD_SECONDS
            if held_long or (vm.phase == IDLE and vm.starts >= MAX_STARTS):
                self._end(vm, WITHDRAWN)

    def observe(self, kind: Kind, since_start: bool) -> Observation:
        """What the factory sees now; after its restart (``since_start``) with the history of a day."""
        return kind.view.observe(self.stamp, since_start)

    def avoid(self, kind: Kind, hosts: tuple[str, ...]) -> None:
        """Keep the machinetype's idle VMs off these hosts."""
        kind.avoid = frozenset(int(name.rpartition("-")[2]) for name in hosts)

    # -- a VM's life -----------------------------------------------------------------------------------

    def _phase(self, vm: VM, phase: str, *, entering: bool = False) -> None:
        kind, phases = vm.kind, vm.kind.phases
        if WORKING in (vm.phase, phase):
            self._note_waits()
            self._places.change(vm.host, kind.processors * ((vm.phase == WORKING) - (phase == WORKING)))
        if not entering:
            phases[vm.phase] -= 1
        vm.phase = phase
        vm.turn += 1
        if phase == GONE:
            return
        phases[phase] += 1
        if phase == WORKING:
            kind.meter.working(phases[WORKING] * kind.processors, self.now)
            self.meter.working(sum(k.phases[WORKING] * k.processors for k in self.kinds), self.now)

    def _plan_cycle(self, when: float) -> None:
        """Negotiate at ``when``, unless a cycle comes sooner."""
        if not self._cycle or when < self._next_cycle:
            self._cycle += 1
            self._next_cycle = when
            self.at(when, self._negotiate, self._cycle)

    def _negotiate(self, cycle: int) -> None:
        if cycle != self._cycle:
            return
        self._last_cycle = self.now
        self._next_cycle = float("inf")
        self._plan_cycle(self.now + self.scenario.negotiation_interval)
        if not self.active("schedd_unreachable"):
            matches([(kind, len(kind.idle)) for kind in self.kinds], self.hosts, self._match)

    def _match(self, index: int, host: int) -> None:
        self._start(self.kinds[index], host, self.now)

    def _start(self, kind: Kind, host: int, claimed: float) -> None:
        """The first idle VM gets a slot of the host, of which its submitter has had a claim since ``claimed``."""
        vm = kind.idle.pop(next(iter(kind.idle)))
        vm.host, vm.matched, vm.started, vm.claimed = host, self.now, self.stamp, claimed
        vm.starts += 1
        kind.used += kind.processors
        self.hosts.take(host, kind.processors)
        self.on_host[host][vm.name] = vm
        self._phase(vm, STARTING)
        kind.meter.vm_starts += 1
        self.meter.vm_starts += 1
        self.at(self.now + STATUS_SECONDS, self._show, vm, vm.starts)
        self.at(self.now + kind.spec.limits.max_wallclock_seconds, self._wall_clock, vm, vm.starts)
        fault = starts.strikes(self.scenario, vm, self.now)
        if fault is not None:
            self.at(self.now + fault.after, self._strike, vm, fault)
            return
        self.at(self.now + starts.boot_seconds(self.scenario, vm, self.now), self._ask, vm, vm.turn)

    def _strike(self, vm: VM, fault: Fault) -> None:
        if not vm.on_host:
            return
        if fault.kind == "refuse":
            self._come_back(vm)
        elif fault.kind == "hold":
            self._hold(vm)
        else:
            self._end_with(vm, fault.message)

    def _show(self, vm: VM, starts: int, works: bool = False) -> None:
        """The factory sees that the VM runs, unless that run is over."""
        if vm.starts == starts and vm.name in vm.kind.view.machines and vm.phase not in (IDLE, HELD):
            spec = vm.kind.spec
            visible = spec.watched or spec.evidence_seconds is not None
            measured = visible and not vm.is_one_of(spec.unmeasured_share, "unmeasured")
            vm.kind.view.running(vm, measured=measured, works=works and measured)

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
        self._note_waits()
        vm.task, vm.task_start = vm.kind.tasks.popleft(), self.now
        vm.tasks += 1
        self._phase(vm, WORKING)
        seen = starts.evidence_at(vm, self.now)
        if seen is not None:
            self.at(seen, self._show_work, vm, vm.turn)
        self.at(self.now + vm.task, self._finish, vm, vm.turn)

    def _show_work(self, vm: VM, turn: int) -> None:
        if vm.turn == turn or (vm.phase != GONE and not vm.kind.spec.watched):
            self._show(vm, vm.starts, works=True)

    def _finish(self, vm: VM, turn: int) -> None:
        if vm.turn == turn:
            self._credit(vm)
            if vm.tasks == vm.kind.spec.tasks_per_vm:
                self._phase(vm, WAITING)
                self._end_with(vm, None)
            else:
                self._ask(vm, turn)

    def _credit(self, vm: VM) -> None:
        seconds = (self.now - vm.task_start) * vm.kind.processors
        vm.kind.meter.work += seconds
        self.meter.work += seconds

    def _give_up(self, vm: VM, turn: int) -> None:
        if vm.turn == turn:
            self._end_with(vm, vm.kind.spec.no_work_message)

    def _wall_clock(self, vm: VM, starts: int) -> None:
        if vm.on_host and vm.starts == starts:
            self._end_with(vm, vm.kind.spec.no_work_message)

    def _arrive(self, kind: Kind, tasks: list[float]) -> None:
        self._note_waits()
        kind.tasks.extend(tasks)
        for meter in (kind.meter, self.meter):
            meter.tasks += len(tasks)
        self._hand_out(kind)

    def _empty_queue(self, machinetype: str | None) -> None:
        """The tasks that no VM has taken are withdrawn; those that run go on."""
        self._note_waits()
        for kind in self.kinds:
            if machinetype in (None, kind.spec.name):
                kind.tasks.clear()

    def _hand_out(self, kind: Kind) -> None:
        while kind.tasks and kind.waiting:
            vm = kind.waiting.popleft()
            if vm.phase == WAITING:
                self._take(vm)

    # -- its end ---------------------------------------------------------------------------------------

    def _end_with(self, vm: VM, message: str | None) -> None:
        message = vm.kind.spec.success_message if vm.tasks else message
        runtime = self.now - vm.matched
        data = None if message is None else message.encode()
        found = outcome.parse(data, runtime, vm.kind.spec.limits.fizzle_seconds)
        self._end(vm, found.kind, found.abort)

    def _settle(self, vm: VM) -> None:
        """Book the work or the waste of a VM that leaves its host, or is there when the scenario ends."""
        if vm.phase == WORKING and self.now >= self.scenario.duration:
            self._credit(vm)
        if vm.on_host and not vm.tasks:
            wasted = (self.now - vm.matched) * vm.kind.processors
            for meter in (vm.kind.meter, self.meter):
                meter.wasted += wasted
                meter.wasted_starts += 1

    def _leave(self, vm: VM) -> None:
        """Free the VM's slot."""
        self._settle(vm)
        vm.kind.used -= vm.kind.processors
        self.hosts.give(vm.host, vm.kind.processors)
        del self.on_host[vm.host][vm.name]

    def _come_back(self, vm: VM) -> None:
        """Its host gives the job back before the VM started: the job waits again, before those that came later."""
        self._leave(vm)
        kind = vm.kind
        self._phase(vm, IDLE)
        kind.stuck[vm.name] = kind.idle[vm.name] = vm
        kind.idle = dict(sorted(kind.idle.items(), key=lambda item: item[1].number))
        kind.view.came_back(vm, REFUSED, self.stamp)

    def _hold(self, vm: VM) -> None:
        self._leave(vm)
        self._phase(vm, HELD)
        vm.entered = self.stamp
        vm.kind.stuck[vm.name] = vm
        vm.kind.view.held(vm)

    def _end(self, vm: VM, how: str, abort: bool = False) -> None:
        kind, phase = vm.kind, vm.phase
        if vm.on_host:
            self._leave(vm)
        self._phase(vm, GONE)
        del kind.alive[vm.name]
        kind.idle.pop(vm.name, None)
        kind.stuck.pop(vm.name, None)
        if phase == WORKING:
            kind.tasks.appendleft(vm.task)
            self._hand_out(kind)
        if how == LOST:
            self.at(self.now + LEASE_SECONDS, self._record, vm, how, abort, self.stamp)
            return
        kind.in_queue -= 1
        delay = 0.0 if how == WITHDRAWN else STATUS_SECONDS
        self.at(self.now + delay, self._record, vm, how, abort, self.stamp)
        if how != WITHDRAWN:
            self._use_claim(vm)

    def _use_claim(self, vm: VM) -> None:
        """The schedd puts the submitter's next job on the claim of a VM that ended, without the negotiator."""
        kind = vm.kind
        young = self.now - vm.claimed <= CLAIM_WORKLIFE and vm.host not in kind.avoid
        if kind.idle and young and not self.active("schedd_unreachable"):
            self._start(kind, vm.host, vm.claimed)

    def _record(self, vm: VM, how: str, abort: bool, ended: float) -> None:
        if how == LOST:
            vm.kind.in_queue -= 1
        vm.kind.view.ended(vm, how, abort, ended)

    def _lose_hosts(self, hosts: Iterable[int]) -> None:
        for host in set(hosts) - self.hosts.lost:
            self.hosts.lost.add(host)
            for vm in list(self.on_host[host].values()):
                self._end(vm, LOST)
            self._note_waits()
            self._places.lose(host)

    def _find_hosts(self, hosts: Iterable[int]) -> None:
        self._note_waits()
        for host in set(hosts) & self.hosts.lost:
            self.hosts.lost.discard(host)
            self._places.find(host)

    # -- the record ------------------------------------------------------------------------------------

    def _note_waits(self) -> None:
        """Book what tasks have waited since the last change of tasks and of working VMs."""
        seconds, self._waits_since = self.now - self._waits_since, self.now
        for kind in self.kinds:
            if seconds and kind.tasks:
                limit = kind.spec.limits.max_machines - kind.phases[WORKING]
                waited = seconds * max(0, min(len(kind.tasks), self._places.of(kind.processors), limit))
                kind.meter.waited += waited
                self.meter.waited += waited

    def _note_peaks(self, kind: Kind) -> None:
        kind.meter.peaks(kind.in_queue, len(kind.idle))
        self.meter.peaks(sum(each.in_queue for each in self.kinds), sum(len(each.idle) for each in self.kinds))

    def _sample(self) -> None:
        total = [0] * 5
        for kind in self.kinds:
            phases = kind.phases
            row = [phases[IDLE], phases[STARTING], phases[WAITING] + phases[WORKING], phases[WORKING],
                   len(kind.tasks)]  # fmt: skip
            kind.meter.sample(self.now, row)
            total = [a + b for a, b in zip(total, row)]
        self.meter.sample(self.now, total)
