# SPDX-License-Identifier: GPL-3.0-or-later
"""An upgrade that ends half-way, its second run, and a rollback, with VMs and a batch job at work; the tests are steps.

=====  ==========================================================================================
node   what becomes of it
=====  ==========================================================================================
node1  the canary: upgraded, with smoke VMs; later rolled back; does not answer the last run but one
node2  has a drop-in with a typing error, so that the role fails after the programs are installed
node3  unchanged by the first run, upgraded by the second
=====  ==========================================================================================
"""

from __future__ import annotations

import re
from subprocess import CompletedProcess
from typing import Any

import pytest
from boxes import COMPLETED, RUNNING, job_of, working
from pool import until, vms
from releases import version
from sites import HEAD, QUEUE, WORKERS, Lives, Site

TIMER = "vac_images.timer"
DROP_IN = f"/etc/systemd/system/{TIMER}.d/site.conf"
UPGRADE = ("upgrade", "-e", "vacuum_upgrade_serial=1", "-e", "vacuum_upgrade_canary=node1")
Done = CompletedProcess[str]


def fatal(done: Done) -> list[str]:
    """The results of tasks that failed, a line each."""
    return re.findall(r"^fatal: (.*)$", done.stdout, re.MULTILINE)


def changed(done: Done) -> list[str]:
    """The results of tasks that changed something."""
    return re.findall(r"^changed: .*$", done.stdout, re.MULTILINE)


def succeeded(done: Done) -> Done:
    """The run, which must have succeeded."""
    assert done.returncode == 0, done.stdout[-6000:]
    return done


@pytest.fixture(scope="session")
def lives(site: Site) -> Lives:
    """The older release makes the pool; a VM works on each node, and a batch job on one."""
    succeeded(site.play("site", collections=site.older))
    return site.fill()


def test_all_nodes_have_the_older_release(site: Site, lives: Lives) -> None:
    trees = site.trees()
    assert len(set(trees.values())) == 1
    assert trees[HEAD].startswith(f"{version(site.older)}-")
    assert site.factory_version() == version(site.older)
    site.all_live(lives)


@pytest.mark.usefixtures("lives")
@pytest.mark.parametrize(
    ("setting", "refusal"),
    [
        ("vacuum_upgrade_canary=head", "vacuum_upgrade_canary: 'head' must be a worker node of this run that answers"),
        ("vacuum_upgrade_serial=0", "vacuum_upgrade_serial: '0' must be a number of nodes from 1, or a percentage "),
    ],
)
def test_a_wrong_value_is_refused_in_one_line_before_anything_changes(site: Site, setting: str, refusal: str) -> None:
    before = site.trees()
    done = site.play("upgrade", "-e", setting)
    assert done.returncode != 0
    (line,) = fatal(done)
    assert refusal in line
    assert not changed(done)
    assert site.trees() == before


@pytest.fixture(scope="module")
def older(site: Site, lives: Lives) -> str:
    """The tree of the older release, with node2 broken by its administrator since."""
    assert lives.batch
    node2 = site.boxes["node2"]
    node2.put(DROP_IN, b"[Timer]\nOnCalendar=\nOnCalendar=dayly\n")
    node2.run("systemctl daemon-reload")
    return site.trees()["node3"]


@pytest.fixture(scope="module")
def half(site: Site, older: str) -> Done:
    """The first run of the upgrade."""
    assert older
    return site.play(*UPGRADE)


def test_the_first_run_ends_at_the_broken_node_and_names_every_node(half: Done) -> None:
    assert half.returncode != 0
    end = half.stdout[half.stdout.rindex("TASK [Show how far the upgrade came]") :]
    lines = [line.strip(' ",') for line in end.splitlines()]
    (halfway,) = (line for line in lines if line.startswith("half-way: "))
    assert halfway.startswith(f"half-way: node2: {TIMER} is bad-setting: ")
    assert "upgraded: node1" in lines
    assert "unchanged: node3, access points, central manager" in lines
    (last,) = fatal(half)[-1:]
    assert last.startswith("[node2]")
    assert "vacuum.htcondor.rollback --limit node2" in last
    assert len(end.splitlines()) < 40
    assert re.search(r"^ +\"node1 +ok [0-9]+ s +ok [0-9]+ s\",?$", half.stdout, re.MULTILINE), half.stdout[-6000:]


@pytest.mark.usefixtures("half")
def test_nodes_after_the_broken_one_are_unchanged(site: Site, older: str) -> None:
    trees = site.trees()
    assert trees["node1"].startswith(f"{version(site.newer)}-")
    # It has the programs; what comes after them is missing.
    assert trees["node2"] == trees["node1"]
    assert [trees["node3"], trees[HEAD]] == [older, older]
    assert site.factory_version() == version(site.older)


@pytest.mark.usefixtures("half")
def test_all_vms_and_the_batch_job_live_after_the_first_run(site: Site, lives: Lives) -> None:
    site.all_live(lives)


@pytest.fixture(scope="module")
def whole(site: Site, half: Done) -> Done:
    """The same command, when the fault is corrected."""
    assert half.returncode != 0
    site.boxes["node2"].run(f"rm {DROP_IN} && systemctl daemon-reload")
    return site.play(*UPGRADE)


def test_the_second_run_upgrades_the_whole_site(site: Site, whole: Done, older: str) -> None:
    succeeded(whole)
    trees = site.trees()
    assert len(set(trees.values())) == 1
    assert trees[HEAD] != older
    assert f"{older} -> {trees['node3']}" in whole.stdout
    assert site.boxes["node2"].run(f"systemctl is-active {TIMER}") == "active"


@pytest.mark.usefixtures("whole")
def test_all_vms_and_the_batch_job_live_after_the_second_run(site: Site, lives: Lives) -> None:
    site.all_live(lives)


@pytest.fixture(scope="module")
def ended(site: Site, lives: Lives, whole: Done) -> str:
    """A VM that started under the older release has done its task under the newer one; its node."""
    succeeded(whole)
    until("the newer factory runs", lambda: site.factory_version() == version(site.newer))
    site.head.add_task(QUEUE, 1)
    jobs = {job_of(one): name for name in WORKERS for one in lives.leases[name]}

    def done() -> list[dict[str, Any]]:
        ads = vms(site.head, f"JobStatus == {COMPLETED}")
        return [ad for ad in ads if f"{ad['ClusterId']}.{ad['ProcId']}" in jobs]

    (ad,) = until("a VM does its task", done)
    assert (ad["ShutdownCode"], ad["NumJobStarts"]) == (200, 1)
    return jobs[f"{ad['ClusterId']}.{ad['ProcId']}"]


def test_the_newer_factory_replaces_a_vm_that_has_ended(site: Site, lives: Lives, ended: str) -> None:
    old = {one["uuid"] for one in lives.leases[ended]}

    def replaced(now: dict[str, Any]) -> bool:
        return [working(one, now) and one["uuid"] not in old for one in now["leases"]] == [True]

    site.boxes[ended].until(f"{ended} has another VM at work", replaced, 1200)
    site.all_live(lives, ended)


@pytest.mark.usefixtures("ended")
def test_a_rollback_without_a_limit_is_refused(site: Site) -> None:
    before = site.trees()
    done = site.play("rollback")
    assert done.returncode != 0
    (line,) = fatal(done)
    assert "name the machines with --limit, or set vacuum_rollback_all=true" in line
    assert not changed(done)
    assert site.trees() == before


def test_a_rollback_makes_the_older_programs_current_once(site: Site, lives: Lives, ended: str, older: str) -> None:
    before = site.trees()
    first = succeeded(site.play("rollback", "--limit", "node1"))
    assert changed(first)
    assert site.trees() == {**before, "node1": older}
    second = succeeded(site.play("rollback", "--limit", "node1"))
    assert not changed(second)
    assert f"{older} is current already" in " ".join(second.stdout.split())
    assert site.trees() == {**before, "node1": older}
    site.all_live(lives, ended)


def test_a_rollback_of_the_access_point_has_its_factory_start_anew(
    site: Site, lives: Lives, ended: str, older: str
) -> None:
    succeeded(site.play("rollback", "--limit", HEAD))
    assert site.trees()[HEAD] == older
    until("the older factory runs", lambda: site.factory_version() == version(site.older))
    until(
        "its job runs",
        lambda: site.head.run(
            f"condor_q -allusers -constraint 'JobUniverse == 7 && JobStatus == {RUNNING}' -af ClusterId"
        ),
    )
    site.all_live(lives, ended)


def test_a_node_that_does_not_answer_is_left_out(site: Site, lives: Lives, ended: str, older: str) -> None:
    before = site.trees()
    assert before["node1"] == before[HEAD] == older != before["node2"]
    lost = site.desk.inventory["all"]["hosts"]["node1"]
    address, lost["ansible_host"] = lost["ansible_host"], "node1.invalid"
    done = site.play("upgrade")
    assert done.returncode == 4, done.stdout[-6000:]
    assert re.findall(r"^fatal: \[(\w+)\]: UNREACHABLE!", done.stdout, re.MULTILINE) == ["node1"]
    assert "TASK [Show the programs before and after]" in done.stdout
    assert site.trees() == {**before, HEAD: before["node2"]}
    site.all_live(lives, ended)
    lost["ansible_host"] = address
    succeeded(site.play("upgrade"))
    assert set(site.trees().values()) == {before["node2"]}
    site.all_live(lives, ended)
