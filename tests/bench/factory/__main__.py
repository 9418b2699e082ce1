# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cycle of the factory costs in a queue of any size, beside HTCondorVMs' loop, in one run.

``python -m tests.bench.factory [--json] [--suite trixie]`` makes a pool (a native schedd in a chroot), fills its
queue step by step, first with somebody else's jobs and then with our own VMs, and measures at each step:

* a cycle: wall clock, CPU of the client (factory, or condor_q processes) and CPU of the schedd with the
  processes it forks for queries;
* a submission of VMs: our one transaction beside one condor_submit process for each.

HTCondorVMs' loop is written anew from its description (four condor_q queries, one condor_submit for each VM).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Any

from tests.bench.factory.report import show
from tests.integration import chroot
from tests.integration.chroot import OWNER, Pool

# A queue without anything of its own to do: what is measured is the answer to our questions.
QUIET = """
DAEMON_LIST = MASTER COLLECTOR SCHEDD
SCHEDD_INTERVAL = 3600
PERIODIC_EXPR_INTERVAL = 36000
MAX_PERIODIC_EXPR_INTERVAL = 36000
QUEUE_CLEAN_INTERVAL = 360000
MAX_JOBS_PER_OWNER = 10000000
MAX_JOBS_PER_SUBMISSION = 10000000
"""
SEED_SUBMIT_FILE = """
universe = vm
vm_type = kvm
executable = vac-bench
log = /pool/vac/seed.log
vm_memory = 2048
vm_vcpus = 1
vm_networking = true
vm_networking_type = nat
vm_disk = /images/test.iso:hda:r:raw
should_transfer_files = YES
when_to_transfer_output = ON_EXIT
transfer_input_files = /pool/vac/user_data
transfer_output_files = joboutputs
requirements = TARGET.Nowhere =?= True
+RequiresVac = True
+HookKeyword = "VAC"
+UserData = "user_data"
queue
"""
# Our VMs run and work, as the schedd and their hosts would show it, so that a cycle finds them as they should be.
LET_RUN = """
import time, htcondor2
now = int(time.time())
which, schedd = 'VacBatch == "kept" && JobStatus == 1', htcondor2.Schedd()
for name, value in (("JobCurrentStartDate", now - 3600), ("NumShadowStarts", 1), ("RemoteHost", '"slot1_1@wn1.test"'),
                    ("VacEvidenceTime", now), ("VacCpuFraction", 0.9), ("JobStatus", 2)):
    schedd.edit(which, name, str(value))
"""
# What a worker node may have written wrongly, one attribute for each VM.
DAMAGE = """
import sys, htcondor2
ads = htcondor2.Schedd().query('VacBatch == "kept"', ["ClusterId", "ProcId"], limit=int(sys.argv[1]))
values = [("VacCpuFraction", '"x"'), ("VacEvidenceTime", "-1"), ("VacStarted", "4000000000"), ("VacOutcome", '"x"'),
          ("RemoteHost", '"slot1@a,b"'), ("VacDigest", 'strcat("a", "b")'), ("NumShadowStarts", "{1}"),
          ("QDate", "1e300")]
schedd = htcondor2.Schedd()
for number, ad in enumerate(ads):
    schedd.edit([f"{ad['ClusterId']}.{ad['ProcId']}"], *values[number % len(values)])
"""
OWN_JOBS = 50
SUBMITTED = 100
TICK = os.sysconf("SC_CLK_TCK")


class Bench:
    """A pool whose queue grows, and what was measured in it."""

    def __init__(self, pool: Pool, damaged: int = 0) -> None:
        self.pool = pool
        self.damaged = damaged
        self.foreign = 0
        self.own = 0
        (pool.local / "vac" / "user_data").write_text("#!/bin/sh\n")
        (pool.local / "vac" / "seed.sub").write_text(SEED_SUBMIT_FILE)
        self.machinetype(max_machines=1)
        pool.run("useradd", "-m", "somebody", check=False)

    def machinetype(self, max_machines: int) -> None:
        """Write the machinetype with this cap, which its VMs fill."""
        data = {
            "name": "bench",
            "owner": OWNER,
            "kind": "cernvm",
            "image": "/images/test.iso",
            "user_data": "/pool/vac/user_data",
            "requirements": "TARGET.Nowhere =?= True",
            "max_machines": max_machines,
        }
        (self.pool.local / "vac" / "bench.json").write_text(json.dumps(data))

    def fill(self, foreign: int, own: int) -> None:
        """Bring the queue to so many jobs of somebody else and so many VMs."""
        if foreign > self.foreign:
            text = "universe = vanilla\nexecutable = /bin/true\nrequirements = False\nrequest_disk = 1\n"
            text += f"queue {foreign - self.foreign}\n"
            self.pool.run("sh", "-c", "cd /tmp; condor_submit -", user="somebody", input=text)
            self.foreign = foreign
        if own > self.own:
            self.ask("our_submit", count=own - self.own, batch="kept")
            self.own = own
            self.machinetype(max_machines=own)
            self.pool.run("python3", "-c", LET_RUN)
            if self.damaged:
                self.pool.run("python3", "-c", DAMAGE, str(self.damaged))

    def ask(self, what: str, repeat: int = 1, **order: Any) -> dict[str, float]:
        """Let the pool's side do something; seconds of wall clock, client and schedd for all repetitions."""
        given = {"what": what, "repeat": repeat, "machinetype": "/pool/vac/bench.json", "directory": "/pool/vac"}
        given |= {"name": "bench", "jobs": self.own, "submit_file": "/pool/vac/seed.sub", "batch": "new", **order}
        before = self.schedd_cpu()
        text = "cd /checkout; PYTHONPATH=/checkout:/checkout/src python3 -B -m tests.bench.factory.inside"
        done = self.pool.run("sh", "-c", text, user=OWNER, input=json.dumps(given))
        time.sleep(0.3)  # The schedd reaps the last process it forked.
        return {**json.loads(done.stdout), "schedd": self.schedd_cpu() - before}

    def schedd_cpu(self) -> float:
        """Seconds of CPU of the schedd and of its children that have ended."""
        pid = int(self.pool.run("pgrep", "-x", "condor_schedd").stdout.split()[0])
        fields = self.pool.run("cat", f"/proc/{pid}/stat").stdout.rsplit(")", 1)[1].split()
        return sum(int(field) for field in fields[11:15]) / TICK

    def cycle(self, what: str) -> dict[str, float]:
        """One cycle's cost, from as many repetitions as make the clock's ticks small."""
        first = self.ask(what)
        repeat = max(3, min(200, int(3 / max(first["wall"], 0.01))))
        return {key: value / repeat for key, value in self.ask(what, repeat).items()}

    def step(self, foreign: int, own: int) -> dict[str, Any]:
        """Fill the queue and measure there. Submitted VMs are removed again."""
        print(f"{foreign} foreign jobs, {own} VMs …", file=sys.stderr, flush=True)
        self.fill(foreign, own)
        cycles = {what: self.cycle(what) for what in ("ours", "seed")}
        submits = {
            "ours": self.ask("our_submit", count=SUBMITTED),
            "seed": self.ask("seed_submit", count=SUBMITTED),
        }
        self.pool.run("condor_rm", "-constraint", f'Owner == "{OWNER}" && VacBatch =!= "kept"')
        return {"foreign": foreign, "own": own, "cycle": cycles, "submit": submits, "submitted": SUBMITTED}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.factory", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the measurements as JSON")
    parser.add_argument("--suite", default="trixie", choices=("trixie", "sid"), help="whose HTCondor")
    parser.add_argument("--jobs", type=int, nargs="+", default=[100, 1000, 10_000, 100_000], help="foreign jobs")
    parser.add_argument("--damaged", type=int, default=0, help="how many of our own VMs have a damaged ad")
    parser.add_argument("--own", type=int, nargs="+", default=[100, 1000, 10_000], help="VMs of our own")
    args = parser.parse_args()
    reason = chroot.missing()
    if reason:
        print(reason, file=sys.stderr)
        return 2
    result: dict[str, Any] = {"suite": args.suite, "cpus": os.cpu_count(), "damaged": args.damaged}
    with Pool(args.suite, QUIET) as pool:
        result["condor"] = pool.run("condor_version").stdout.split()[1]
        bench = Bench(pool)
        result["foreign"] = [bench.step(jobs, OWN_JOBS) for jobs in sorted(args.jobs)]
    with Pool(args.suite, QUIET) as pool:
        bench = Bench(pool, args.damaged)
        result["own"] = [bench.step(0, jobs) for jobs in sorted(args.own)]
    print(json.dumps(result, indent=1) if args.json else show(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
