# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's NFS server drifts, is named by `verify` and repaired by one run; and its module's calls."""

from __future__ import annotations

import json
import os
from pathlib import Path

from boxes import Box

from tests.lab import plays
from tests.module_calls import assert_four, four, play

LISTEN = {"listen": ["192.168.86.1"]}


def served(box: Box) -> set[str]:
    """The versions of NFS that the kernel serves."""
    words = box.run("cat /proc/fs/nfsd/versions").split()
    return {word[1:] for word in words if word.startswith("+")} & {"3", "4"}


def test_the_nfs_server_serves_fewer_versions_and_again_all(box: Box, tmp_path: Path) -> None:
    assert served(box) == {"3", "4"}
    inventory = os.environ["MOLECULE_INVENTORY_FILE"]
    assert_four(play(inventory, "box", tmp_path, four("nfs_server", {"versions": ["4"], **LISTEN})))
    assert served(box) == {"4"}
    assert_four(play(inventory, "box", tmp_path, four("nfs_server", {"versions": ["3", "4"], **LISTEN})))
    assert served(box) == {"3", "4"}


def test_a_stopped_nfs_server_is_named_and_one_run_repairs_it(box: Box, tmp_path: Path) -> None:
    report = tmp_path / "report.json"

    def verify() -> dict[str, str]:
        """The findings of `verify`, in one text for each check that has any."""
        plays.run_in_scenario(plays.VERIFY, {"vacuum_verify_json": str(report)})
        (node,) = json.loads(report.read_text()).values()
        found = {entry["check"]: "; ".join(item["what"] for item in entry["findings"]) for entry in node["checks"]}
        # A check that a busy host had no time for is not a finding about the NFS server.
        return {check: text for check, text in found.items() if text and "no answer within" not in text}

    box.run("systemctl disable --now nfs-server.service")
    found = verify()
    assert "nfs-server.service is inactive" in found["NFS server"], found
    assert found.keys() <= {"NFS server", "what is served"}, found
    repair = plays.run_in_scenario(plays.SITE)
    assert repair.status == 0, repair.output
    assert repair.changed() == {
        "Run the NFS server on the VMs' network (/etc/nfs.conf.d/condor_vac.conf and a drop-in of nfs-server.service)"
    }, repair.output
    assert verify() == {}
