#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the worker node inside a job of the VMs' owner, with a real starter, sudo and exportfs.

``inside.py VMS IMAGE`` prepares, describes and ends so many VMs by HTCondorVMs' scripts and by ours, in turns and
without starting them, and prints one JSON object: for each side a list of {prepare, xml, exit (seconds),
written, image (bytes)}.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

LIBEXEC = "/usr/local/libexec"


def run(argv: list[str], stdin: str) -> tuple[float, str]:
    """Seconds that a program took, and what it printed; it must succeed."""
    environment = {**os.environ, "HOSTNAME": os.uname().nodename, **TOOLS}
    began = time.perf_counter()
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, env=environment)
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        raise SystemExit(f"{argv[0]}: exit code {done.returncode}: {done.stdout} {done.stderr}")
    return seconds, done.stdout


def found(*names: str) -> str:
    """The first of these programs that is there."""
    places = "/usr/lib/condor/libexec:/usr/libexec/condor:/usr/bin:/usr/sbin"
    return next(path for name in names if (path := shutil.which(name, path=places)))


TOOLS = {"CHIRP": found("condor_chirp"), "MKISO": found("genisoimage", "mkisofs", "xorrisofs")}


def ad(values: dict[str, object]) -> str:
    """The ad in old syntax, sorted as HTCondor writes it."""
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in sorted(values.items()))


def job(sandbox: str, number: int, disk: str, **more: object) -> dict[str, object]:
    """A VM job's ad: the running job's own with what makes it a VM's."""
    return {
        "ClusterId": 900,
        "ProcId": number,
        "User": "vac@lab",
        "Owner": "vac",
        "Cmd": "vac-lab",
        "Iwd": sandbox,
        "JobUniverse": 13,
        "JobVMType": "kvm",
        "JobVMMemory": 256,
        "JobVM_VCPUS": 1,
        "JobVMNetworking": True,
        "JobVMNetworkingType": "nat",
        "VMPARAM_vm_Disk": disk,
        "UserData": "user_data",
        "PublicKey": "root.pub",
        "VacSpace": "lab.example.org",
        "WantIOProxy": True,
        "RequiresVac": True,
        **more,
    }


def blocks(sandbox: str) -> int:
    """Bytes of the sandbox that are on disk."""
    total = 0
    for path in (Path(sandbox), *Path(sandbox).rglob("*")):
        # The starter writes files of its own and renames them.
        with contextlib.suppress(FileNotFoundError):
            total += path.lstat().st_blocks * 512
    return total


def life(sandbox: str, number: int, image: str, programs: dict[str, list[str]], outputs: str) -> dict[str, float]:
    """One VM by one side's programs; leaves the sandbox unchanged."""
    seed = outputs == "machineoutputs"
    before = set(os.listdir(sandbox))
    copied = 0
    if seed:
        # What HTCondor transfers for each VM; over a network it would take longer.
        shutil.copyfile(image, f"{sandbox}/image.iso")
        copied = os.path.getsize(image)
    start = blocks(sandbox) - copied
    disk = "image.iso:hda:r:raw" if seed else f"{image}:hda:r:raw"
    more = {} if seed else {"VacMachinetypeFile": "lab.json"}
    text = ad(job(sandbox, number, disk, **more))
    prepare, printed = run(programs["prepare"], text)
    disk = json.loads(printed.partition(" = ")[2])
    written = blocks(sandbox) - start
    more.update(VM_WORKING_DIR=sandbox, VMPARAM_VM_NAME=f"vac_lab_900.{number}")
    xml, described = run(programs["xml"], ad(job(sandbox, number, disk, **more)))
    if "</domain>" not in described or "refused" in described:
        raise SystemExit(f"no domain: {described}")
    Path(sandbox, outputs, "shutdown_message").write_text("200 Success\n", "utf-8")
    Path(sandbox, outputs, "vm-pilot.log").write_text("log\n" * 1000, "utf-8")
    seconds, _ = run(programs["exit"], text)
    for name in set(os.listdir(sandbox)) - before:
        path = Path(sandbox, name)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return {"prepare": prepare, "xml": xml, "exit": seconds, "written": written, "image": copied}


def main() -> None:
    """Both sides in turns, so that whatever else the machine does meets both."""
    vms, image = int(sys.argv[1]), sys.argv[2]
    sandbox = os.environ["_CONDOR_SCRATCH_DIR"]
    sides = {
        "seed": ({name: [f"{sandbox}/seed_{name}"] for name in ("prepare", "xml", "exit")}, "machineoutputs"),
        "ours": (
            {
                "prepare": [f"{LIBEXEC}/vac_prepare_hook"],
                "xml": [f"{LIBEXEC}/libvirt_cernvm_script"],
                "exit": [f"{LIBEXEC}/vac_exit_hook", "exit"],
            },
            "joboutputs",
        ),
    }
    result: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for number in range(vms):
        for name, (programs, outputs) in sides.items():
            result[name].append(life(sandbox, number, image, programs, outputs))
    print(json.dumps(result))


main()
