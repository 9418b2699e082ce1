# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual pool that notes when VMs are submitted, to see whether they run away where there is no work."""

from __future__ import annotations

from condor_vac.policy.control_law import PROBE_WINDOW_SECONDS
from condor_vac.policy.observation import LOST, REFUSED, WITHDRAWN, Ended, Observation
from condor_vac.simulate.play import OURS, Factory
from condor_vac.simulate.scenario import Scenario
from condor_vac.simulate.vm import Kind
from condor_vac.simulate.world import World

# VMs that may start as probes in `PROBE_WINDOW_SECONDS`, at the least.
PROBES = 2
NO_ANSWER = frozenset({LOST, REFUSED, WITHDRAWN})


class Watched(World):
    """The world; times in seconds on its own clock, which no fault changes, by the machinetypes' indices."""

    def __init__(self, scenario: Scenario) -> None:
        self.submissions: list[list[float]] = [[] for _kind in scenario.machinetypes]
        self.gave_up: dict[int, float] = {}  # when the factory first saw a VM that had asked and given up
        super().__init__(scenario)

    def submit(self, kind: Kind, number: int) -> None:
        """Put so many VMs into the queue."""
        self.submissions[kind.index].extend([self.now] * number)
        super().submit(kind, number)

    def observe(self, kind: Kind, since_start: bool) -> Observation:
        """What the factory sees now."""
        seen = super().observe(kind, since_start)
        if kind.index not in self.gave_up and any(self._gave_up(kind, end) for end in seen.ended):
            self.gave_up[kind.index] = self.now
        return seen

    def _gave_up(self, kind: Kind, end: Ended) -> bool:
        """Whether the VM lived long enough to have asked until it gave up."""
        return end.kind not in NO_ANSWER and end.life >= self.scenario.start_seconds[0] + kind.spec.idle_seconds[0]

    def runaway(self, kind: Kind) -> int:
        """VMs of a machinetype without any work that are more than its probes may be, once the first found none.

        One that has work has no runaways. The first VMs are those that may have been submitted before one of them had
        given up; a start and a question later they all have. Windows in which the clock steps do not count, since the
        factory cannot know how long they are.
        """
        if kind.index not in self.gave_up or any(batch.tasks for batch in kind.spec.queue):
            return 0
        over = self.gave_up[kind.index] + self._slowest(kind)
        times = [at for at in self.submissions[kind.index] if at > over]
        most = max(PROBES, kind.spec.limits.probe_machines)
        return sum(self._in_one_window(*pair) for pair in zip(times, times[most:]))

    def _slowest(self, kind: Kind) -> float:
        """From a submission to the moment at which the factory sees that the VM has given up."""
        scenario = self.scenario
        boot = scenario.start_seconds[1] + scenario.nodes.first_start_seconds[1]
        return scenario.negotiation_interval + boot + kind.spec.idle_seconds[1] + 2 * scenario.cycle_seconds

    def _in_one_window(self, first: float, last: float) -> bool:
        steps = [fault.start for fault in self.scenario.faults if fault.kind == "clock_step"]
        return last - first < PROBE_WINDOW_SECONDS and not any(first <= at <= last for at in steps)


def play_ours(scenario: Scenario) -> Watched:
    """The world after the scenario was played with our policy."""
    world = Watched(scenario)
    for kind in world.kinds:
        Factory(world, kind, OURS)
    world.run()
    return world
