# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a VM that was matched: which fault strikes it, how long it takes to ask, when its work is seen."""

from __future__ import annotations

import math
import random

from condor_vac.model.machinetype_keys import BY_NAME
from condor_vac.simulate.faults import STRIKING, Fault
from condor_vac.simulate.scenario import Scenario
from condor_vac.simulate.vm import VM

# The period of vac_watch (worker_watch_interval of the role).
WATCH_SECONDS = 30.0
# A machinetype's own: the age from which its VM's CPU use counts, and the use that does.
EVIDENCE_AGE = float(BY_NAME["evidence_seconds"].default)
EVIDENCE_FRACTION = float(BY_NAME["evidence_cpu_fraction"].default)


def strikes(scenario: Scenario, vm: VM, now: float) -> Fault | None:
    """The fault that strikes a VM that was matched now."""
    for place, fault in enumerate(scenario.faults):
        if (
            fault.kind in STRIKING
            and fault.covers(now)
            and fault.concerns(vm.kind.spec.name, vm.host)
            and vm.is_one_of(fault.share, f"fault {place}")
        ):
            return fault
    return None


def boot_seconds(scenario: Scenario, vm: VM, now: float) -> float:
    """From match to the first question; VMs that start before the host has their image wait for it as well."""
    low, high = scenario.start_seconds
    boot = low + (high - low) * vm.start_draw
    fetch = scenario.nodes.first_start_seconds
    if not fetch[1]:
        return boot
    image_at = vm.kind.image_at
    if vm.host not in image_at:
        rng = random.Random(f"{scenario.seed}/{vm.kind.spec.name}/image/{vm.host}")  # noqa: S311
        image_at[vm.host] = now + rng.uniform(*fetch)
    return boot + max(0.0, image_at[vm.host] - now)


def evidence_at(vm: VM, now: float) -> float | None:
    """When it is seen that a VM works which takes a task now, if that task runs for so long; None: it is not.

    Without ``evidence_seconds`` in the scenario, as production sees it: at the first pass of vac_watch in whose
    interval the VM has worked for `EVIDENCE_FRACTION`, but not before it is `EVIDENCE_AGE` old (vm_jobs.py, ``works``).
    """
    spec = vm.kind.spec
    if not vm.is_one_of(spec.evidence_share, "evidence") or vm.kind.view.has_seen_work(vm):
        return None
    if spec.watched:
        busy = now + EVIDENCE_FRACTION * WATCH_SECONDS
        first = vm.matched + vm.evidence_draw * WATCH_SECONDS
        passes = max(0, math.ceil((busy - first) / WATCH_SECONDS))
        return max(vm.matched + EVIDENCE_AGE, first + passes * WATCH_SECONDS)
    if spec.evidence_seconds is None or vm.tasks != 1:
        return None
    low, high = spec.evidence_seconds
    return now + low + (high - low) * vm.evidence_draw
