# SPDX-License-Identifier: GPL-3.0-or-later
"""A machinetype in a running pool: its files, its factory as a process or a job, and hands on its VM jobs."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from typing import Any

from tests.integration.chroot import OWNER, Pool

ENTRY = """#!/usr/bin/python3
# Where a site has /usr/local/libexec/vac_factory.
import sys
sys.path.insert(0, "/checkout/src")
sys.dont_write_bytecode = True
POLICY
from condor_vac.cli.factory import main
sys.exit(main())
"""

GREEDY = """
sys.path.insert(0, "/checkout")
sys.modules["condor_vac.policy.control_law"] = __import__("tests.integration.factory.greedy", fromlist=["Policy"])
"""

DYING = """
import os, signal
from condor_vac.condor.pool import Pool
submit = Pool.submit
def dies(*words):
    if WHERE == "after":
        submit(*words)
    os.kill(os.getpid(), signal.SIGKILL)
Pool.submit = dies
"""

# Runs a JSON list of [attribute, expression] edits and answers a query, as root, by the bindings.
HANDS = """
import json, sys
import htcondor2
order = json.load(sys.stdin)
schedd = htcondor2.Schedd()
for job, changes in order["edits"].items():
    for name, value in changes.items():
        schedd.edit([job], name, value)
ads = schedd.query(order["constraint"], order["projection"])
print(json.dumps([{k: v for k, v in ad.items() if isinstance(v, (int, float, str))} for ad in ads]))
"""

PROJECTION = [
    "ClusterId", "ProcId", "JobStatus", "VacBatch", "VacDigest", "VacAvoidHosts", "QDate", "Iwd", "HoldReason",
]  # fmt: skip


class Site:
    """Everything is under ``/pool/sites/NAME`` inside, on the host ``pool.local/sites/NAME``.

    Machinetypes of one ``place`` share its directory, as those of an access point do.
    """

    def __init__(self, pool: Pool, test: str, real_policy: bool = False, place: str = "") -> None:
        self.pool = pool
        self.name = re.sub(r"[^a-z0-9]+", "-", test.lower()).strip("-")[-60:].strip("-")
        self.directory = f"/pool/sites/{place or self.name}"
        self.outside = pool.local / "sites" / (place or self.name)
        self.state = f"{self.directory}/states/{self.name}"
        self.machinetype = f"{self.directory}/{self.name}.json"
        self._processes: list[subprocess.Popen[str]] = []
        self.states = self.outside / "states" / self.name
        self.states.mkdir(parents=True)
        self.outside.joinpath("user_data").write_text("#!/bin/sh\n")
        self._policy = "" if real_policy else GREEDY
        self.entry()
        self.pool.run("chown", "-R", OWNER, self.state)
        self.write()

    def entry(self, dies: str = "") -> None:
        """Write the factory's program; one that ``dies`` does so "before" or "after" its first submission."""
        path = self.outside / "vac_factory"
        more = DYING.replace("WHERE", repr(dies)) if dies else ""
        path.write_text(ENTRY.replace("POLICY", self._policy + more))
        path.chmod(0o755)

    def write(self, **keys: Any) -> None:
        """Write the machinetype's file; ``keys`` go over the defaults of these tests."""
        data = {
            "name": self.name,
            "owner": OWNER,
            "kind": "cernvm",
            "image": "/images/test.iso",
            "user_data": f"{self.directory}/user_data",
            "cycle_seconds": 1,
            "max_machines": 10,
            "max_idle": 5,
            # No slot of this pool has it, and there is none.
            "requirements": "TARGET.Nowhere =?= True",
            **keys,
        }
        self.outside.joinpath(f"{self.name}.json").write_text(json.dumps(data))

    def command(self, *words: str) -> list[str]:
        """The argument list of the factory as a plain process of the owner."""
        return self.pool.inside(
            f"{self.directory}/vac_factory", self.machinetype, "--state", self.state, *words, user=OWNER
        )

    def factory(self, *words: str) -> subprocess.Popen[str]:
        """The factory as a process; ended by ``clear``."""
        process = subprocess.Popen(self.command(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._processes.append(process)
        return process

    def once(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One cycle."""
        return subprocess.run(self.command("--once", *words), capture_output=True, text=True, check=False)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A ``condor_vac`` command of the owner, with the paths of this test's files."""
        code = "import sys; sys.path.insert(0, '/checkout/src'); sys.dont_write_bytecode = True; "
        code += "from condor_vac.cli.dispatch import main; sys.exit(main(sys.argv[1:]))"
        places = ("--machinetypes", self.directory, "--state", f"{self.directory}/states")
        return subprocess.run(
            self.pool.inside("python3", "-c", code, *words, *places, user=OWNER),
            capture_output=True,
            text=True,
            check=False,
        )

    def pids(self) -> list[int]:
        """Process ids, inside the pool, of this machinetype's factories."""
        found = self.pool.run("pgrep", "-f", f"^/usr/bin/python3 .*{self.machinetype}", check=False)
        # 1: none. Any other code, and a pool that is gone, shows nothing about them.
        assert found.returncode in {0, 1}, found.stderr
        assert found.returncode == 0 or not found.stderr, found.stderr
        return [int(word) for word in found.stdout.split()]

    def submit_factory(self) -> str:
        """Submit the factory as a scheduler-universe job; its id."""
        code = (
            "import sys; sys.path.insert(0, '/checkout/src'); sys.dont_write_bytecode = True\n"
            "from condor_vac.factory import scheduler_job; from condor_vac.condor.pool import Pool\n"
            "commands = scheduler_job.describe(sys.argv[1], sys.argv[2], sys.argv[3], '/pool/condor_config')\n"
            "print(Pool().submit(commands, 1))"
        )
        entry = f"{self.directory}/vac_factory"
        done = self.pool.run("python3", "-c", code, self.machinetype, entry, self.state, user=OWNER)
        return f"{done.stdout.strip()}.0"

    def jobs(self, constraint: str = "True", edits: dict[str, dict[str, str]] | None = None) -> list[dict[str, Any]]:
        """This machinetype's VM jobs, after ``edits`` ({job: {attribute: expression}})."""
        mine = f'VacMachinetype =?= "{self.name}" && ({constraint})'
        return self._hands(mine, edits or {})

    def factory_jobs(self) -> list[dict[str, Any]]:
        """This machinetype's factory jobs."""
        return self._hands(f'VacFactory =?= "{self.name}"', {})

    def _hands(self, constraint: str, edits: dict[str, dict[str, str]]) -> list[dict[str, Any]]:
        order = json.dumps({"edits": edits, "constraint": constraint, "projection": PROJECTION})
        return list(json.loads(self.pool.run("python3", "-c", HANDS, input=order).stdout))

    def state_file(self) -> dict[str, Any]:
        """What the factory keeps."""
        return dict(json.loads(self.states.joinpath("state.json").read_text()))

    def last(self) -> dict[str, Any]:
        """The factory's last cycle; empty before the first."""
        path = self.states / "state.json"
        return dict(self.state_file()["last"]) if path.exists() else {}

    def log(self) -> str:
        """The factory's log."""
        path = self.states / "factory.log"
        return path.read_text() if path.exists() else ""

    def finish(self, job: str, code: int | None, life: int = 1000, worked: bool = True, host: str = "wn1") -> None:
        """End a VM as its worker would: run attributes, outcome, evidence, then the job's completion."""
        self.jobs(edits={job: ended(code, life, worked, host)})

    def start(self, job: str, life: int = 1000, fraction: float = 0.9, host: str = "wn1") -> None:
        """Let a VM run, as the schedd and its worker would show it."""
        self.jobs(edits={job: running(life, fraction, host)})

    def refuse(self, job: str, host: str, starts: int = 1) -> None:
        """Let a host take an idle VM's job and release it before its VM could start, as the schedd shows that."""
        now = int(time.time())
        changes = {
            "JobCurrentStartDate": str(now - 5),
            "NumShadowStarts": str(starts),
            "LastRemoteHost": f'"slot1_1@{host}"',
        }
        self.jobs(edits={job: changes})

    def clear(self) -> None:
        """End this test's processes and jobs."""
        self.pool.run("condor_rm", "-constraint", f'VacFactory =?= "{self.name}"', check=False)
        for process in self._processes:
            for pid in self.pids():
                self.pool.run("kill", "-9", str(pid), check=False)
            process.wait(timeout=20)
        mine = f'VacMachinetype =?= "{self.name}" || VacFactory =?= "{self.name}"'
        self.pool.run("condor_rm", "-constraint", mine, check=False)
        self.pool.run("condor_rm", "-forcex", "-constraint", mine, check=False)


def running(life: int, fraction: float, host: str) -> dict[str, str]:
    """The edits of a VM's job by which it runs, as the schedd and its worker show that."""
    now = int(time.time())
    return {
        "JobCurrentStartDate": str(now - life),
        "NumShadowStarts": "1",
        "RemoteHost": f'"slot1_1@{host}"',
        "VacEvidenceTime": str(now),
        "VacCpuFraction": str(fraction),
        "JobStatus": "2",
    }


def ended(code: int | None, life: int, worked: bool, host: str) -> dict[str, str]:
    """The edits by which it has ended: run attributes, outcome, evidence, then the job's completion."""
    now = int(time.time())
    changes = {
        "JobCurrentStartDate": str(now - life),
        "NumShadowStarts": "1",
        "LastRemoteHost": f'"slot1_1@{host}"',
        "ShutdownCode": "undefined" if code is None else str(code),
        "VacEnded": str(now),
        "VacRuntime": str(life),
    }
    if worked:
        changes.update(VacEvidenceTime=str(now - 1), VacCpuFraction="0.9")
    return {**changes, "JobStatus": "4"}


def job_id(ad: dict[str, Any]) -> str:
    """CLUSTER.PROC of a job's ad."""
    return f"{ad['ClusterId']}.{ad['ProcId']}"


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 90) -> Any:
    """The first true value of ``condition``; fails with ``what`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"not in {seconds} s: {what}")
