# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook `smoke`: a first VM by each way of sharing, and a node that refuses them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import plays

SMOKE = "vacuum.htcondor.smoke"
SETTINGS = "/etc/condor_vac/worker.json"
REFUSES = "/etc/condor/config.d/99-smoke-test.config"


def rows(play: plays.Play) -> dict[str, list[str]]:
    """The lines of the table, by their first word: cells two blanks apart."""
    found = (re.split(r"  +", line.strip()) for line in re.findall(r"^ +- (.*)$", play.output, re.MULTILINE))
    return {words[0].strip("'\""): words[1:] for words in found}


@pytest.fixture
def checks(worker: Any) -> list[str]:
    """The columns of the table: each way that the node offers, with each code."""
    offered = json.loads(worker.check_output(f"cat {SETTINGS}"))["sharing"]
    return [f"{way} {code}" for way in ("http", "nfs") if way in offered for code in (200, 300)]


def nothing_is_left(worker: Any, access_point: Any) -> None:
    """Neither image nor file nor job of the run is left."""
    assert "smoke" not in worker.check_output("ls -R /var/lib/condor_vac/images /var/tmp")
    assert access_point.check_output("ls -d /var/lib/condor_vac/smoke* 2> /dev/null || true") == ""
    constraint = """-constraint 'regexp("^smoke-", VacMachinetype)' -af ClusterId"""
    assert access_point.check_output(f"condor_q -allusers {constraint}") == ""


def test_check_mode_says_what_it_would_do(worker: Any, access_point: Any, checks: list[str]) -> None:
    play = plays.run_in_scenario(SMOKE, None, "--check")
    assert play.status == 0, play.output
    assert f"run {len(checks)} VMs from head: node1.lab by " in " ".join(play.output.split()), play.output
    assert not play.changed()
    nothing_is_left(worker, access_point)


@pytest.fixture(params=["{", "[]", '{"subnet": "192.168.86.0/24"}'])
def damaged(request: pytest.FixtureRequest, access_point: Any, tmp_path: Path) -> Iterator[Path]:
    """An inventory in which the access point is a worker node too, whose settings are damaged."""
    access_point.check_output(f"mkdir -p /etc/condor_vac && echo {shlex.quote(request.param)} > {SETTINGS}")
    inventory = tmp_path / "more.yml"
    inventory.write_text("worker_node: {hosts: {head: {}}}\n")
    yield inventory
    access_point.check_output(f"rm {SETTINGS}")


def test_a_node_with_damaged_settings_is_named_and_the_others_are_served(damaged: Path, checks: list[str]) -> None:
    play = plays.run_in_scenario(SMOKE, None, "--check", "-i", str(damaged))
    assert play.status != 0, play.output
    assert play.failures()[-1].startswith(f"{SETTINGS}: is no JSON, or lacks subnet or sharing"), play.output
    assert f"run {len(checks)} VMs from head: node1.lab by " in " ".join(play.output.split()), play.output


def test_a_vm_runs_by_each_way_and_ends_with_each_code(worker: Any, access_point: Any, checks: list[str]) -> None:
    packages = worker.check_output("dpkg-query -W")
    play = plays.run_in_scenario(SMOKE, None, "--limit", "node1")
    assert play.status == 0, play.output
    found = rows(play)
    assert found["NODE"] == checks, play.output
    assert len(found["node1"]) == len(checks), play.output
    assert all(re.fullmatch(r"ok \d+ s", cell) for cell in found["node1"]), play.output
    assert f"{len(checks)} VMs, {len(checks)} good, 0 failed" in play.output
    assert worker.check_output("dpkg-query -W") == packages
    nothing_is_left(worker, access_point)


@pytest.fixture
def refusing(worker: Any) -> Iterator[None]:
    """The node's START is false for a while."""
    worker.check_output(f"echo 'START = False' > {REFUSES} && condor_reconfig")
    yield
    worker.check_output(f"rm {REFUSES} && condor_reconfig")


@pytest.mark.usefixtures("refusing")
def test_a_node_that_refuses_is_named_with_its_cause(worker: Any, access_point: Any, checks: list[str]) -> None:
    play = plays.run_in_scenario(SMOKE, {"vacuum_smoke_start_timeout": 20})
    assert play.status != 0, play.output
    found = rows(play)
    assert found["node1"] == ["failed" for _ in checks], play.output
    assert re.search(r"did not start within 20 s: .*START accepts it on none", " ".join(play.output.split()))
    assert f"{len(checks)} VMs, 0 good, {len(checks)} failed" in play.output
    nothing_is_left(worker, access_point)
