# SPDX-License-Identifier: GPL-3.0-or-later
"""What ran came from the built artifact, and the packages from Debian by apt."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import ansible
import pytest
from boxes import Box

ROOT = Path(__file__).resolve().parents[3]
COLLECTION = ROOT / ".cache/artifact/collections/ansible_collections/vacuum/htcondor"
# As callback_plugins/origins.py writes it.
ORIGINS = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "origins.jsonl")


@pytest.fixture(scope="module")
def converged() -> list[set[Path]]:
    """For each run of the site, the files of its plays, tasks and modules."""
    runs = [json.loads(line) for line in ORIGINS.read_text("utf-8").splitlines()]
    return [{Path(name) for name in run["files"]} for run in runs if run["playbook"] == "converge.yml"]


def test_playbooks_roles_and_modules_came_from_the_artifact(converged: list[set[Path]]) -> None:
    assert len(converged) == 2, "converge and idempotence"
    ansibles_own = Path(ansible.__file__).parent
    for files in converged:
        ours = {path for path in files if ansibles_own not in path.parents}
        assert {path for path in ours if COLLECTION not in path.parents} == set()
        for name in ("playbooks/site.yml", "roles/worker/tasks/nfs.yml", "plugins/modules/nfs_server.py"):
            assert COLLECTION / name in ours


def test_the_node_runs_the_artifacts_programs(box: Box) -> None:
    entries = json.loads((COLLECTION / "FILES.json").read_text("utf-8"))["files"]
    built = {entry["name"]: entry["chksum_sha256"] for entry in entries if entry["name"].endswith(".py")}
    listing = box.run("cd /usr/local/lib/condor_vac/current && find . -name '*.py' -exec sha256sum {} +")
    there = {name.removeprefix("./"): digest for digest, name in map(str.split, listing.splitlines())}
    assert "condor_vac/worker/lease/grant.py" in there
    assert {name: digest for name, digest in there.items() if built.get(f"src/{name}") != digest} == {}


def test_apt_installed_the_packages(box: Box) -> None:
    log = box.run("cat /var/log/apt/history.log")
    installed = set(re.findall(r"(?:^Install:|,) ([a-z0-9.+-]+):(?:amd64|all)", log, re.MULTILINE))
    wanted = {"condor", "condor-vm-gahp", "libvirt-daemon-system", "nfs-kernel-server", "nginx", "qemu-system-x86"}
    assert wanted <= installed
