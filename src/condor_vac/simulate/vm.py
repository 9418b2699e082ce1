# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual machines of a simulated machinetype, and what its factory sees of them."""

from __future__ import annotations

import random
from collections import deque

from condor_vac.policy.observation import HELD, IDLE, RUNNING, Ended, Machine, Observation
from condor_vac.simulate.meter import Meter
from condor_vac.simulate.scenario import MachineType

# Phases of a VM, beside IDLE and HELD of the policy.
STARTING, WAITING, WORKING, GONE = "starting", "waiting", "working", "gone"
HISTORY_SECONDS = 86400.0


class VM:
    """One virtual machine; ``turn`` rises whenever a scheduled end of a state no longer holds.

    ``submitted``, ``started`` and ``entered`` (its hold) are stamps of the access point's clock, ``matched`` and
    ``task_start`` are virtual time, as is ``claimed``: since when its submitter has had the claim that it runs on.
    ``starts`` counts the matches of its job.
    """

    __slots__ = (
        "claimed",
        "entered",
        "evidence_draw",
        "host",
        "kind",
        "matched",
        "name",
        "number",
        "phase",
        "rng",
        "seed",
        "start_draw",
        "started",
        "starts",
        "submitted",
        "task",
        "task_start",
        "tasks",
        "turn",
    )

    def __init__(self, name: str, kind: Kind, number: int, submitted: float, seed: str) -> None:
        self.name, self.kind, self.number, self.submitted, self.seed = name, kind, number, submitted, seed
        self.rng = random.Random(seed)  # noqa: S311 - a simulation must be repeatable
        self.phase, self.turn, self.tasks, self.starts = IDLE, 0, 0, 0
        self.host: int = -1
        self.started = self.entered = self.matched = self.claimed = self.task = self.task_start = 0.0
        self.start_draw = self.rng.random()
        self.evidence_draw = self.rng.random()

    def is_one_of(self, share: float, what: str) -> bool:
        """Whether it is one of this ``share`` of its machinetype's VMs; the same under every policy."""
        if share in (0.0, 1.0):
            return bool(share)
        return random.Random(f"{self.seed}/{what}").random() < share  # noqa: S311

    @property
    def on_host(self) -> bool:
        """Whether it has a slot now."""
        return self.phase in (STARTING, WAITING, WORKING)


class View:
    """What one machinetype's factory sees: the VMs in the queue, and how others ended."""

    def __init__(self) -> None:
        self.machines: dict[str, Machine] = {}
        self._news: list[Ended] = []
        self._history: deque[Ended] = deque()

    def idle(self, vm: VM) -> None:
        """The VM's job waits in the queue: it is new, or its host gave it back."""
        host = _host(vm) if vm.starts else None
        self.machines[vm.name] = Machine(vm.name, IDLE, vm.submitted, host=host)

    def held(self, vm: VM) -> None:
        """HTCondor holds the VM's job."""
        self.machines[vm.name] = Machine(vm.name, HELD, vm.submitted, vm.started, _host(vm))

    def running(self, vm: VM, *, measured: bool, works: bool) -> None:
        """The VM runs; that it worked once is not forgotten."""
        works = works or self.machines[vm.name].works
        self.machines[vm.name] = Machine(vm.name, RUNNING, vm.submitted, vm.started, _host(vm), works, measured)

    def has_seen_work(self, vm: VM) -> bool:
        """Whether nothing is to be seen any more of the VM's work."""
        return vm.name not in self.machines or self.machines[vm.name].works

    def ended(self, vm: VM, how: str, abort: bool, when: float) -> None:
        """The VM has left the queue; ``when`` is a stamp, as are all times here."""
        seen = self.machines.pop(vm.name)
        started = vm.started if vm.starts else None
        host = _host(vm) if vm.starts else None
        self._report(Ended(vm.name, vm.submitted, when, how, abort, host, started, seen.works, seen.measured))

    def came_back(self, vm: VM, how: str, when: float) -> None:
        """A run of the VM's job is over without a VM, and the job waits again."""
        run = f"{vm.name}:{vm.starts}"
        self._report(Ended(run, vm.submitted, when, how, False, _host(vm), vm.started))
        self.idle(vm)

    def observe(self, now: float, since_start: bool) -> Observation:
        """What there is to see; after the factory's start (``since_start``) with the history of a day."""
        news, self._news = self._news, []
        while self._history and self._history[0].ended < now - HISTORY_SECONDS:
            self._history.popleft()
        ended = tuple(self._history) if since_start else tuple(news)
        return Observation(now, tuple(self.machines.values()), ended)

    def _report(self, ended: Ended) -> None:
        self._news.append(ended)
        self._history.append(ended)


def _host(vm: VM) -> str:
    return f"wn-{vm.host}"


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
        # Those that are held, or were given back by a host.
        self.stuck: dict[str, VM] = {}
        self.waiting: deque[VM] = deque()
        self.phases = {IDLE: 0, HELD: 0, STARTING: 0, WAITING: 0, WORKING: 0}
        self.in_queue = 0
        self.created = 0
        self.view = View()
        self.meter = Meter()
        # When its image is, or will be, on a host that has had one of its VMs.
        self.image_at: dict[int, float] = {}
