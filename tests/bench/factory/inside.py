# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside the pool, as the VMs' owner: our factory's cycles or HTCondorVMs', as a JSON object on stdin requests.

Answers ``{"wall": s, "client": s of CPU}`` for all the repetitions together. Our factory is one long-lived
process, so its start is not in the figure of a cycle; HTCondorVMs' processes begin with each query.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from condor_vac.condor.pool import Pool
from condor_vac.factory import submit_description
from condor_vac.factory.cycle import Cycle
from condor_vac.model import machinetype

# Four queries a cycle, as HTCondorVMs' factory has them: what waits, what runs, what has run for long, what failed.
SEED_CYCLE = """
mine="RequiresVac && VacMachinetype == \\"$1\\""
count() { condor_q -constraint "$mine && $1" -af ClusterId ProcId | wc -l; }
idle=$(count 'JobStatus == 1')
running=$(count 'JobStatus == 2')
old=$(count 'JobStatus == 2 && time() - JobCurrentStartDate > 1800')
failed=$(count 'JobStatus == 4 && ShutdownCode =!= 200')
echo "$idle $running $old $failed"
"""
# One process a VM.
SEED_SUBMIT = 'n=0; while [ $n -lt "$1" ]; do condor_submit -terse "$2" >/dev/null || exit 1; n=$((n + 1)); done'


def main() -> None:
    """One order, one answer."""
    order = json.load(sys.stdin)
    work = {"ours": ours, "seed": seed, "our_submit": our_submit, "seed_submit": seed_submit}[order["what"]](order)
    before, start = _cpu(), time.perf_counter()
    for _ in range(order["repeat"]):
        work()
    json.dump({"wall": time.perf_counter() - start, "client": _cpu() - before}, sys.stdout)


def ours(order: dict[str, Any]) -> Callable[[], object]:
    """Whole cycles: query, check, decide, rules, state file. The machinetype's caps are full."""
    m = machinetype.load(order["machinetype"])
    cycle = Cycle(Pool(), order["directory"], log=lambda _: None)
    cycle.load()
    _good(cycle.run(m))
    return lambda: _good(cycle.run(m))


def our_submit(order: dict[str, Any]) -> Callable[[], object]:
    """``count`` VMs in one submission, with their directories, as a cycle does it."""
    m = machinetype.load(order["machinetype"])
    pool = Pool()

    def work() -> int:
        batch = f"{order['directory']}/vms/bench-{time.time_ns()}"
        for number in range(order["count"]):
            os.makedirs(f"{batch}/{number}")
        return pool.submit(
            submit_description.for_batch(submit_description.describe(m), order["batch"], batch, []), order["count"]
        )

    return work


def seed(order: dict[str, Any]) -> Callable[[], object]:
    """HTCondorVMs' four queries; its decision is as good as free."""

    def work() -> None:
        done = subprocess.run(["sh", "-c", SEED_CYCLE, "sh", order["name"]], check=True, capture_output=True, text=True)
        if int(done.stdout.split()[1]) != order["jobs"]:
            sys.exit(f"HTCondorVMs' queries do not see the VMs: {done.stdout} {done.stderr}")

    return work


def seed_submit(order: dict[str, Any]) -> Callable[[], object]:
    """HTCondorVMs' one condor_submit for each VM."""
    words = ["sh", "-c", SEED_SUBMIT, "sh", str(order["count"]), order["submit_file"]]
    return lambda: subprocess.run(words, check=True, capture_output=True)


def _good(last: Any) -> None:
    if last["error"]:
        sys.exit(f"a cycle failed: {last['error']}")


def _cpu() -> float:
    """Seconds of CPU of this process and the children it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
