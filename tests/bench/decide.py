# SPDX-License-Identifier: GPL-3.0-or-later
"""What one decision of the policy costs: ``python -m tests.bench.decide [--vms N]``.

A pool of N VMs and of a tenth of them: four of five run and show work, the others are new, wait or are held, and in
each cycle one of a hundred ends, in each of the ways that a VM can end. Seconds of CPU of one `Policy.decide`, the
median of the cycles; the first one, which sees all of them for the first time, is shown by itself.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

from condor_vac.policy.control_law import Policy
from condor_vac.policy.observation import (
    HELD,
    IDLE,
    KINDS,
    LOST,
    REFUSED,
    RUNNING,
    WITHDRAWN,
    Ended,
    Limits,
    Machine,
    Observation,
)

BEGIN = 1_800_000_000.0
CYCLE, CYCLES, SLOTS = 60.0, 7, 20
SHARE_ENDED = 100
NO_ABORT = frozenset({"success", "host_request", "none", LOST, REFUSED, WITHDRAWN})


def machine(number: int, now: float) -> Machine:
    """The VM of that number; what it is depends on nothing else."""
    name, host = f"{number}.0", f"node{number // SLOTS}.example.org"
    kind = number % 50
    if kind == 0:
        return Machine(name, IDLE, now - 100)
    if kind == 1:
        return Machine(name, HELD, now - 5000)
    works = kind >= 10
    started = BEGIN - 7200 - number % 3600 if works else now - 30 * kind
    return Machine(name, RUNNING, started - 60, started, host, works, works or kind % 2 == 0)


def end(number: int, now: float) -> Ended:
    """A VM's end within the last cycle."""
    kind = KINDS[number % len(KINDS)]
    started = now - 4000 if kind == "success" else now - 90
    host = f"node{number // SLOTS}.example.org"
    aborts = kind not in NO_ABORT
    return Ended(f"{number}.1", started - 60, now - 10, kind, aborts, host, started, kind == "success", True)


def observation(vms: int, cycle: int) -> Observation:
    """What the factory sees in that cycle."""
    now = BEGIN + cycle * CYCLE
    ended = range(cycle * vms // SHARE_ENDED, (cycle + 1) * vms // SHARE_ENDED)
    return Observation(now, tuple(machine(number, now) for number in range(vms)), tuple(end(n, now) for n in ended))


def measure(vms: int) -> dict[str, float]:
    """Seconds of CPU: the first decision, and the median of the others."""
    policy = Policy(Limits(max_machines=2 * vms, max_idle=vms))
    seconds = []
    for cycle in range(CYCLES):
        seen = observation(vms, cycle)
        began = time.process_time()
        policy.decide(seen)
        seconds.append(time.process_time() - began)
    return {"vms": vms, "first": seconds[0], "median": statistics.median(seconds[1:])}


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vms", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    small, large = measure(max(1, args.vms // 10)), measure(args.vms)
    ratio = large["median"] / small["median"]
    if args.json:
        print(json.dumps({"small": small, "large": large, "ratio": ratio}))
        return 0
    for each in (small, large):
        print(
            f"{each['vms']:.0f} VMs: first decision {each['first']:.3f} s, later ones {each['median']:.3f} s (median)"
        )
    print(f"ten times the VMs take {ratio:.1f} times as long")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
