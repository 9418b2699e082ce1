# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m tests.bench.vm_start [MACHINE] [--vms N] [--json]``: measure on a worker node of the lab.

The machine must be a converged pool in a box that shares by NFS. Everything runs inside one real job of the VMs' owner;
for that long the owner may run exportfs by sudo, as HTCondorVMs wants it, and open /dev/kvm.
"""

from __future__ import annotations

import argparse
import base64
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
PLACE = "/var/lib/condor_vac/bench"
RULE = "/etc/sudoers.d/condor_vac_bench"
POLICY = "/etc/condor/config.d/99-condor_vac_bench.config"
PROGRAMS = ("seed_prepare", "seed_xml", "seed_exit", "inside.py")
WAIT_SECONDS = 900
SUBMIT = """\
universe = vanilla
executable = inside.py
arguments = {vms} {image}
should_transfer_files = YES
when_to_transfer_output = ON_EXIT
transfer_input_files = seed_prepare, seed_xml, seed_exit, root.pub, user_data, lab.json
output = out
error = err
log = log
request_cpus = 1
request_memory = 64
+RequiresVac = True
+WantIOProxy = True
queue
"""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGq+bench root@bench\n"


class Machine:
    """A machine of the lab."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, script: str, stdin: str = "") -> str:
        """Output of a shell script on the machine. Exits with its words if it fails."""
        argv = [sys.executable, "-m", "tests.lab", "ssh", self.name, script]
        done = subprocess.run(argv, cwd=ROOT, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{self.name}: {script}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def put(self, path: str, data: bytes, mode: str = "644") -> None:
        """Write a file."""
        self.run(f"base64 -d > {path} && chmod {mode} {path}", base64.b64encode(data).decode())


def prepare(machine: Machine, vms: int) -> None:
    """Put the programs, the inputs and the rule in place."""
    image = machine.run("ls /var/lib/condor_vac/images/* | head -n 1").strip()
    machine.run(f"rm -rf {PLACE} && mkdir -p {PLACE}")
    for name in PROGRAMS:
        machine.put(f"{PLACE}/{name}", (HERE / name).read_bytes(), "755")
    kind = {
        "name": "lab",
        "owner": "vac",
        "kind": "cernvm",
        "image": image,
        "image_format": "iso",
        "user_data": f"{PLACE}/user_data",
        "root_public_key": f"{PLACE}/root.pub",
    }
    inputs = {
        "root.pub": KEY.encode(),
        "user_data": (ROOT / "tests/experiment/guest/agent.user_data").read_bytes(),
        "lab.json": json.dumps(kind).encode(),
        "submit": SUBMIT.format(vms=vms, image=image).encode(),
    }
    for name, data in inputs.items():
        machine.put(f"{PLACE}/{name}", data)
    machine.run(f"chown -R vac: {PLACE}")
    # vm-gahp describes a VM as root, this as the owner.
    machine.run("[ ! -c /dev/kvm ] || chmod o+rw /dev/kvm")
    # The measurement is a batch job of an owner of VMs, which a worker node does not start.
    machine.put(POLICY, b"START = True\n")
    machine.run("condor_reconfig -startd")
    machine.put(RULE, b"vac ALL=(root) NOPASSWD: /usr/sbin/exportfs\n", "440")


def measure(machine: Machine) -> dict[str, list[dict[str, float]]]:
    """Run the job to its end and return what it printed."""
    cluster = machine.run(f"cd {PLACE} && runuser -u vac -- condor_submit -terse submit").split(".")[0]
    deadline = time.monotonic() + WAIT_SECONDS
    while machine.run(f"condor_q {cluster} -allusers -af JobStatus").strip() in {"1", "2"}:
        if time.monotonic() > deadline:
            raise SystemExit(f"job {cluster} has not ended within {WAIT_SECONDS} s")
        time.sleep(5)
    text = machine.run(f"cat {PLACE}/out")
    if not text.startswith("{"):
        raise SystemExit(f"job {cluster} failed: {text} {machine.run(f'cat {PLACE}/err; condor_q -hold {cluster}')}")
    result: dict[str, list[dict[str, float]]] = json.loads(text)
    return result


def clean(machine: Machine) -> None:
    """Leave the machine unchanged."""
    machine.run(f"rm -rf {RULE} {POLICY} {PLACE}; condor_reconfig -startd; exportfs -f")
    machine.run("[ ! -c /dev/kvm ] || chmod o-rw /dev/kvm")


def table(result: dict[str, list[dict[str, float]]]) -> str:
    """The comparison as a Markdown table."""
    last = len(result["ours"])
    lines = [
        f"| | HTCondorVMs, 1st | ours, 1st | HTCondorVMs, {last}th | ours, {last}th | ours/HTCondorVMs, median |",
        "|---|---|---|---|---|---|",
    ]
    for name, unit in (
        ("prepare", "s"),
        ("xml", "s"),
        ("exit", "s"),
        ("sum", "s"),
        ("written", "KiB"),
        ("image", "KiB"),
    ):
        cells = [_cell(result[side][which], name) for which in (0, -1) for side in ("seed", "ours")]
        medians = {side: statistics.median(_value(one, name) for one in result[side]) for side in result}
        ratio = f"{medians['ours'] / medians['seed']:.2f}" if medians["seed"] else ""
        lines.append(f"| {name}, {unit} | {' | '.join(cells)} | {ratio} |")
    return "\n".join(lines)


def _value(one: dict[str, float], name: str) -> float:
    return one["prepare"] + one["xml"] + one["exit"] if name == "sum" else one[name]


def _cell(one: dict[str, float], name: str) -> str:
    value = _value(one, name)
    return f"{value / 1024:.0f}" if name in {"written", "image"} else f"{value:.2f}"


def main() -> int:
    """Measure, print, and return whether ours takes no longer."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.vm_start", description="What a VM costs a node.")
    parser.add_argument("machine", nargs="?", default="box")
    parser.add_argument("--vms", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    machine = Machine(args.machine)
    try:
        prepare(machine, args.vms)
        result: dict[str, Any] = measure(machine)
    finally:
        clean(machine)
    print(json.dumps(result) if args.json else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
