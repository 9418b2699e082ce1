# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``condor_vac metrics`` costs beside ``condor_vac status``: ``python -m tests.bench.metrics [--vms N]``.

A factory's files are made by real cycles over N VMs, half of them ended. Both commands are processes of their own, the
pool of ``status`` being a stand-in, so that what its query costs is left out: the true ratio is smaller.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from condor_vac.factory.cycle import Cycle
from tests.unit.condor_vac.standins import COMPLETED, NOW, RUNNING, StandInPool, ad, machinetype

ROOT = Path(__file__).resolve().parents[2]
# One run a minute.
INTERVAL = 60.0
STATUS = """
import sys
from condor_vac.cli import dispatch, status
from tests.bench.metrics import pool
status.Pool = lambda _bindings: pool(int(sys.argv[1]))
dispatch.main(["status", *sys.argv[2:]])
"""


def pool(vms: int) -> StandInPool:
    """Half of the VMs run, half have ended."""
    over = {"VacEnded": int(NOW) - 100, "VacRuntime": 3900, "ShutdownCode": 200}
    running = [ad(f"50.{number}", RUNNING) for number in range(vms // 2)]
    return StandInPool([*running, *(ad(f"51.{number}", COMPLETED, **over) for number in range(vms - vms // 2))])


def measure(vms: int) -> dict[str, float]:
    """Seconds of CPU of one run of each command."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        types, state = place / "types", place / "states" / "gridpp"
        types.mkdir()
        state.mkdir(parents=True)
        m = machinetype(max_machines=0)
        (types / "gridpp.json").write_text(json.dumps(m.to_mapping()))
        for _ in range(2):
            cycle = Cycle(pool(vms), str(state), clock=lambda: NOW)  # type: ignore[arg-type]
            cycle.load()
            if cycle.run(m)["error"]:
                raise SystemExit(str(cycle.state.last["error"]))
        places = ("--machinetypes", str(types), "--state", str(state.parent))
        command = [sys.executable, "-m", "condor_vac", "metrics", "--textfile", str(place), *places]
        metrics = _cpu(command)
        status = _cpu([sys.executable, "-c", STATUS, str(vms), *places])
    percent = 100 * metrics / INTERVAL
    return {"vms": vms, "metrics": metrics, "status": status, "ratio": metrics / status, "percent": percent}


def _cpu(argv: list[str]) -> float:
    """Seconds of CPU of the process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    # status: 1, because no factory's job is in the queue.
    if done.returncode not in {0, 1} or done.stderr:
        raise SystemExit(f"{argv}: exit {done.returncode}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vms", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args.vms)
    if args.json:
        print(json.dumps(found))
    else:
        print(
            f"{args.vms} VMs: metrics {found['metrics']:.2f} s of CPU, status {found['status']:.2f} s, ratio "
            f"{found['ratio']:.2f}; {found['percent']:.2f} % of a processor at one run a minute"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
