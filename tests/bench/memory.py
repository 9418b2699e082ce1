# SPDX-License-Identifier: GPL-3.0-or-later
"""What VMs cost in memory on an access point: shadows, the schedd's queue, a factory. ``python -m tests.bench.memory``.

A native pool without any VM: shadows and starters are those of vanilla jobs, which have the same programs, and the
queue is filled with idle VM jobs as a factory describes them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from tests.bench.factory.__main__ import Bench
from tests.integration import chroot
from tests.integration.chroot import OWNER, Pool

CONFIG = """
DAEMON_LIST = MASTER COLLECTOR NEGOTIATOR SCHEDD STARTD
NUM_CPUS = {jobs}
MEMORY = {memory}
NEGOTIATOR_INTERVAL = 5
START = True
ALLOW_ADVERTISE_STARTD = *
RunBenchmarks = False
"""
VANILLA = """executable = /bin/sleep
arguments = 100000
request_memory = 64
request_disk = 1
should_transfer_files = YES
transfer_executable = false
queue {jobs}
"""
# A factory's cycles, and the resident memory (kB) of the process after them.
FACTORY = """
import json, sys
sys.path.insert(0, "/checkout/src")
from condor_vac.condor.pool import Pool
from condor_vac.factory.cycle import Cycle
from condor_vac.model import machinetype
m = machinetype.load("/pool/vac/bench.json")
cycle = Cycle(Pool(), "/pool/vac", log=lambda _: None)
cycle.load()
errors = [cycle.run(m)["error"] for _ in range(2)]
with open("/proc/self/status") as stream:
    resident = next(int(line.split()[1]) for line in stream if line.startswith("VmRSS:"))
json.dump({"error": errors[-1], "resident": resident}, sys.stdout)
"""
# For what hangs.
PATIENCE_SECONDS = 300
NAMES = ("condor_schedd", "condor_shadow", "condor_starter")


def memory(pool: Pool, name: str) -> list[dict[str, int]]:
    """Rss and Pss (kB) of each process of that name in the pool."""
    text = f'for pid in $(pgrep -x {name}); do cat "/proc/$pid/smaps_rollup"; echo end; done'
    parts = pool.run("sh", "-c", text).stdout.split("end\n")[:-1]
    rows = [[line.split() for line in part.splitlines()[1:]] for part in parts]
    return [{row[0].rstrip(":"): int(row[1]) for row in one if row[0] in {"Rss:", "Pss:"}} for one in rows]


def running(pool: Pool, jobs: int) -> dict[str, Any]:
    """Mean memory (kB) of the processes while so many vanilla jobs run. Raises ChrootError if they do not start."""
    pool.run("sh", "-c", "cd /tmp; condor_submit -", user=OWNER, input=VANILLA.format(jobs=jobs))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(memory(pool, "condor_starter")) < jobs:
        if time.monotonic() > deadline:
            raise chroot.ChrootError(f"fewer than {jobs} jobs run after {PATIENCE_SECONDS} s")
        time.sleep(1)
    found = {name: memory(pool, name) for name in NAMES}
    return {name: {key: _mean([row[key] for row in rows]) for key in ("Rss", "Pss")} for name, rows in found.items()}


def queue(bench: Bench, vms: int) -> dict[str, float]:
    """The schedd's and a factory's resident memory (kB) with so many VM jobs in the queue."""
    print(f"{vms} VMs …", file=sys.stderr, flush=True)
    if vms:
        bench.ask("our_submit", count=vms - bench.own, batch="kept")
        bench.own = vms
    bench.machinetype(max_machines=max(vms, 1))
    factory = json.loads(bench.pool.run("python3", "-c", FACTORY, user=OWNER).stdout)
    if factory["error"]:
        raise chroot.ChrootError(f"the factory's cycle: {factory['error']}")
    return {"vms": vms, "schedd": memory(bench.pool, "condor_schedd")[0]["Rss"], "factory": factory["resident"]}


def _mean(values: list[int]) -> float:
    return sum(values) / len(values)


def main() -> int:
    """Measure and print as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=__doc__.splitlines()[0])
    parser.add_argument("--suite", default="trixie", choices=("trixie", "sid"), help="whose HTCondor")
    parser.add_argument("--jobs", type=int, default=40, help="vanilla jobs that run")
    parser.add_argument("--vms", type=int, nargs="+", default=[1000, 10_000], help="VM jobs in the queue")
    args = parser.parse_args()
    reason = chroot.missing()
    if reason:
        print(reason, file=sys.stderr)
        return 2
    with Pool(args.suite, CONFIG.format(jobs=args.jobs, memory=128 * args.jobs)) as pool:
        result: dict[str, Any] = {"condor": pool.run("condor_version").stdout.split()[1]}
        result["running"] = running(pool, args.jobs)
        bench = Bench(pool)
        result["queue"] = [queue(bench, vms) for vms in sorted({0, *args.vms})]
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
