# SPDX-License-Identifier: GPL-3.0-or-later
"""Play a scenario with one policy or several, and put their figures side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from condor_vac.base.errors import UsageError
from condor_vac.policy.control_law import Policy
from condor_vac.policy.observation import Decision
from condor_vac.simulate.ideal import Ideal
from condor_vac.simulate.peers import PEERS, Player, Seat
from condor_vac.simulate.scenario import Scenario
from condor_vac.simulate.vm import Kind
from condor_vac.simulate.world import World

OURS, ORACLE = "vacuum", "oracle"
POLICIES = (OURS, *PEERS, ORACLE)
# Names of earlier releases, in scripts of sites.
OLD_NAMES = {"seed": "htcondorvms"}
PROGRESS_SECONDS = 900.0

Progress = Callable[[str, float], None]


class Factory:
    """One machinetype's factory process: runs its player each cycle, unless a fault stops it."""

    def __init__(self, world: World, kind: Kind, policy: str) -> None:
        self.world, self.kind, self.policy = world, kind, policy
        self.seat = Seat(kind, world)
        self.player = self._make()
        self.fresh = True
        self.sleeps_until = 0.0
        self.was_down = False
        world.at(0.0, self.cycle)
        for fault in world.scenario.faults:
            if fault.kind == "factory_killed" and fault.machinetype in (None, kind.spec.name):
                world.at(fault.start, self.kill)

    def _make(self) -> Player:
        return (
            Policy(self.seat.limits)
            if self.policy == OURS
            else PEERS[OLD_NAMES.get(self.policy, self.policy)](self.seat)
        )

    def kill(self) -> None:
        """All memory is lost; the next cycle but one is the first of the new process."""
        if self.policy in {OURS, "cobald"}:
            self.player = self._make()
        self.fresh = True
        self.sleeps_until = self.world.now + self.world.scenario.cycle_seconds

    def cycle(self) -> None:
        """Observe, decide, act; while the schedd does not answer, nothing is decided."""
        self.world.at(self.world.now + self.world.scenario.cycle_seconds, self.cycle)
        if self.world.active("factory_down", self.kind.spec.name):
            self.was_down = True
            return
        if self.world.now < self.sleeps_until or self.world.active("schedd_unreachable"):
            return
        if self.was_down:
            self._resume()
        seen = self.world.observe(self.kind, self.fresh)
        self.fresh = False
        cannot_submit = self.world.active("no_submissions", self.kind.spec.name)
        before = self.player.state() if cannot_submit and isinstance(self.player, Policy) else None
        self._act(self.player.decide(seen), before, can_submit=cannot_submit is None)

    def _resume(self) -> None:
        """A factory that was stopped in good order finds its state in its file and the rest in the history."""
        self.was_down, self.fresh = False, True
        if isinstance(self.player, Policy):
            self.player = Policy.restore(self.seat.limits, json.loads(json.dumps(self.player.state())))

    def _act(self, decision: Decision, before: Mapping[str, Any] | None, *, can_submit: bool) -> None:
        """Carry out the decision; one whose submission fails is as if it had not been made (cycle.py, ``_judge``)."""
        self.world.clean(self.kind)
        for name in decision.remove:
            self.world.remove(self.kind, name)
        self.world.avoid(self.kind, decision.avoid_hosts)
        # A proxy is made for new VMs and renewed for those that wait.
        needed = decision.submit or self.kind.idle
        if can_submit or not needed:
            self.world.submit(self.kind, decision.submit)
        elif before is not None:
            self.player, self.fresh = Policy.restore(self.seat.limits, before), True


def play(scenario: Scenario, policy: str, progress: Progress | None = None) -> World:
    """The world after the scenario was played with ``policy``. Raises UsageError for an unknown name.

    ``progress`` is called with the policy and the virtual time every `PROGRESS_SECONDS` of it.
    """
    if policy not in {*POLICIES, *OLD_NAMES}:
        raise UsageError(f"--policy: {policy!r} is unknown; give one of {', '.join(POLICIES)}")
    world = Ideal(scenario) if policy == ORACLE else World(scenario)
    for kind in world.kinds if policy != ORACLE else ():
        Factory(world, kind, policy)
    if progress is not None:
        world.every(PROGRESS_SECONDS, lambda: progress(policy, world.now))
    world.run()
    return world


def _most_work(scenario: Scenario, fair: World) -> World:
    """The division of a shared pool with the most work: a policy is above the shares' where it is late for one
    machinetype, and another loses less work with its wall clocks.
    """
    worlds = [fair]
    for first in range(len(fair.kinds) if len(fair.kinds) > 1 else 0):
        worlds.append(Ideal(scenario, first))
        worlds[-1].run()
    return max(worlds, key=lambda world: world.meter.work)


def compare(
    scenario: Scenario, policies: Iterable[str], *, timeline: bool = True, progress: Progress | None = None
) -> dict[str, Any]:
    """``{"scenario": name, "policies": {policy: figures}}`` as the README of the scenarios has it."""
    fair = play(scenario, ORACLE, progress)
    oracle = _most_work(scenario, fair)
    found: dict[str, Any] = {}
    for policy in policies:
        world = oracle if policy == ORACLE else play(scenario, policy, progress)
        figures = world.meter.result(oracle.meter, timeline=timeline)
        figures["per_machinetype"] = {
            kind.spec.name: kind.meter.result(best.meter, timeline=timeline)
            for kind, best in zip((fair if policy == ORACLE else world).kinds, fair.kinds)
        }
        found[policy] = figures
    return {"scenario": scenario.name, "policies": found}
