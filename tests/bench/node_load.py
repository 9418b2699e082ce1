# SPDX-License-Identifier: GPL-3.0-or-later
"""What many VMs on one node's books cost: a lease, a run of vac_watch. ``python -m tests.bench.node_load``, as root.

The programs are real processes with real files, leases, locks and users; virsh, exportfs and the starters are
stand-ins, so that what is measured is ours. Seconds are wall clock and CPU, with the processes that were started.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.integration.hostile.conftest import Hostile
from tests.unit.condor_vac.worker.conftest import Node, pretended

WATCH = "condor_vac.worker.programs.watch"


def _measured(work: Callable[[], Any]) -> tuple[float, float]:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = work()
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(done.stderr.decode())
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _run_all(node: Node, cpu: float) -> None:
    leases = node.store.all()
    blocks = [
        f"Domain: '{one.domain}'\n  state.state=1\n  vcpu.current=1\n  vcpu.0.time={int(cpu * 1e9)}\n" for one in leases
    ]
    (node.base / "domstats").write_text("".join(blocks))


def measure(node: Node, steps: list[int]) -> list[dict[str, float]]:
    """For each number of VMs: the median lease of those up to it, and the second of two runs of vac_watch."""
    hostile = Hostile(node)
    result, number = [], 0
    for step in steps:
        leases = []
        while number < step:
            number += 1
            asked = node.request(sandbox=node.sandbox(number), domain=f"vac_lab_{number}.0", heartbeat_file="heartbeat")
            leases.append(_measured(partial(hostile.lease, "acquire", asked)))
        runs = []
        for look in range(3):
            _run_all(node, cpu=10.0 * look)
            runs.append(_measured(partial(hostile.run, WATCH)))
        wall, cpu = (statistics.median(column) for column in zip(*leases))
        result.append(
            {
                "vms": step,
                "lease": round(wall, 3),
                "lease_cpu": round(cpu, 3),
                "first_watch": round(runs[0][0], 3),
                "watch": round(runs[-1][0], 3),
                "watch_cpu": round(runs[-1][1], 3),
            }
        )
    return result


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--vms", type=int, nargs="+", default=[1, 10, 20, 40], help="how many VMs, in steps")
    args = parser.parse_args()
    if os.getuid() != 0:
        raise SystemExit("run this as root: it acts as several users")
    with pytest.MonkeyPatch.context() as patch, pretended(patch) as node:
        found = measure(node, sorted(args.vms))
    if args.json:
        print(json.dumps(found))
        return 0
    print("| VMs | a lease: s | CPU s | first run of vac_watch: s | a run: s | CPU s |\n|--:|--:|--:|--:|--:|--:|")
    for row in found:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
