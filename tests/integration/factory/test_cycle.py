# SPDX-License-Identifier: GPL-3.0-or-later
"""Single cycles against a real schedd: caps, outcomes, rules, changes of the machinetype, both bindings."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

from tests.integration.chroot import OWNER, Pool
from tests.integration.factory.site import Site, job_id, wait_until

IDLE, RUNNING, REMOVED, COMPLETED, HELD = 1, 2, 3, 4, 5


def of(jobs: list[dict[str, Any]], state: int) -> list[str]:
    """The ids of the jobs in this state."""
    return sorted(job_id(ad) for ad in jobs if ad["JobStatus"] == state)


def bindings(pool: Pool) -> list[str]:
    """What Python bindings this suite's HTCondor has."""
    return ["htcondor2", "htcondor"] if pool.suite == "trixie" else ["htcondor2"]


def test_fills_to_its_caps_and_no_further_with_every_binding(site: Site) -> None:
    names = bindings(site.pool)
    for turn in range(2 * len(names)):
        done = site.once("--bindings", names[turn % len(names)])
        assert done.returncode == 0, done.stderr + site.log()
    jobs = site.jobs()
    assert len(of(jobs, IDLE)) == 5
    assert len({ad["VacBatch"] for ad in jobs}) == 1
    assert len({ad["Iwd"] for ad in jobs}) == 5
    for ad in jobs:
        assert site.pool.run("test", "-O", ad["Iwd"], user=OWNER).returncode == 0


def test_every_binding_removes_edits_and_asks_the_collector(site: Site) -> None:
    for number, name in enumerate(bindings(site.pool)):
        assert site.once("--bindings", name).returncode == 0, site.last()
        ended, *others = of(site.jobs(), IDLE)
        site.finish(ended, None, life=20, worked=False, host=f"wn{number}.test")
        assert site.once("--bindings", name).returncode == 0, site.last()
        recorded = {ad["VacAvoidHosts"] for ad in site.jobs() if job_id(ad) in others}
        assert [f"wn{number}.test" in hosts for hosts in recorded] == [True]
        site.write(memory_mb=3000 + number)
        assert site.once("--bindings", name).returncode == 0, site.last()
        assert not set(others) & set(of(site.jobs(), IDLE))
        assert site.once("--bindings", name).returncode == 0, site.last()
        assert "has HasVM" in site.run("explain", site.name, "--bindings", name).stdout


def test_running_vms_count_against_max_machines(site: Site) -> None:
    site.write(max_machines=6, max_idle=4, max_starting=6)
    site.once()
    for job in of(site.jobs(), IDLE):
        site.start(job)
    site.once()
    site.once()
    jobs = site.jobs()
    assert (len(of(jobs, RUNNING)), len(of(jobs, IDLE))) == (4, 2)
    assert site.last()["observed"]["works"] == 4


def test_outcomes_reach_the_decision_and_completed_jobs_leave_by_themselves(site: Site) -> None:
    site.once()
    first, *others = of(site.jobs(), IDLE)
    site.finish(first, 300, life=900, worked=False)
    site.once()
    assert site.last()["observed"]["ended"] == {"no_work": 1}
    assert of(site.jobs(), IDLE) != others, "there is room for another"
    shown = json.loads(site.run("status", "--json").stdout)["machinetypes"][site.name]
    assert shown["ended"] == {"300": 1}
    site.jobs(edits={first: {"EnteredCurrentStatus": str(int(time.time()) - 3700)}})
    wait_until(lambda: not of(site.jobs(), COMPLETED), "the completed job left the queue")


@pytest.mark.real_policy
def test_the_policy_in_force_stops_without_work(site: Site) -> None:
    site.once()
    asked = of(site.jobs(), IDLE)
    assert asked, site.last()
    for job in asked:
        site.finish(job, 300, life=900, worked=False)
    site.once()
    site.once()
    assert len(of(site.jobs(), IDLE)) <= 1
    assert "finds work: probing" in " ".join(site.last()["reasons"])


@pytest.mark.real_policy
def test_hosts_that_refuse_starts_are_named_and_avoided(site: Site) -> None:
    """One gives the jobs back, on the other the prepare hook fails, so that HTCondor holds them."""
    site.write(max_machines=20, max_idle=8, first_machines=8)
    site.once()
    working, others = of(site.jobs(), IDLE)[:4], of(site.jobs(), IDLE)[4:8]
    for number, job in enumerate(working):
        site.start(job, host=f"good{number}.test")
    assert site.once().returncode == 0, site.last()
    assert "Avoiding" not in " ".join(site.last()["reasons"])
    for job in others:
        site.refuse(job, "holds.test" if job in others[2:] else "returns.test")
    site.pool.run("condor_hold", *others[2:])
    site.jobs(edits={job: {"HoldReasonCode": "19", "HoldReasonSubCode": "1"} for job in others[2:]})
    assert site.once().returncode == 0, site.last()
    reasons = site.last()["reasons"]
    assert "Avoiding 2 hosts where every recent VM failed: holds.test, returns.test." in reasons
    assert {ad["VacAvoidHosts"] for ad in site.jobs() if ad["JobStatus"] == IDLE} == {"holds.test,returns.test"}
    assert of(site.jobs(), HELD) == others[2:], "their reason stays for an administrator to read"


@pytest.mark.real_policy
def test_starts_a_minute_are_counted_across_restarts(site: Site) -> None:
    site.write(max_starts_per_minute=2, first_machines=8)
    assert site.once().returncode == 0, site.last()
    assert len(of(site.jobs(), IDLE)) == 2
    assert "Submitting 2 (limited by max_starts_per_minute = 2)." in site.last()["reasons"]
    assert site.once().returncode == 0, site.last()
    assert len(of(site.jobs(), IDLE)) == 2
    assert "Submitting none (limited by max_starts_per_minute = 2)." in site.last()["reasons"]


def test_hosts_to_avoid_reach_idle_and_new_vms(site: Site) -> None:
    site.once()
    for number, job in enumerate(of(site.jobs(), IDLE)[:2]):
        site.finish(job, None, life=20, worked=False, host=f"wn{number}.test")
    site.once()
    jobs = [ad for ad in site.jobs() if ad["JobStatus"] == IDLE]
    assert {ad["VacAvoidHosts"] for ad in jobs} == {"wn0.test,wn1.test"}
    assert len({ad["VacBatch"] for ad in jobs}) == 2, "those that waited, and new ones"


def test_a_state_that_is_lost_is_had_again_from_queue_and_history(site: Site) -> None:
    site.once()
    site.finish(of(site.jobs(), IDLE)[0], 300, life=900, worked=False)
    site.once()
    before = of(site.jobs(), IDLE)
    (site.states / "state.json").write_text("{damaged")
    site.once()
    assert of(site.jobs(), IDLE) == before
    assert "renamed to" in site.log()
    assert site.last()["observed"]["ended"] == {"no_work": 1}


def test_held_by_a_person_stays_and_held_after_its_end_goes(site: Site) -> None:
    site.once()
    person, ended, *_ = of(site.jobs(), IDLE)
    site.pool.run("condor_hold", person, ended)
    now = str(int(time.time()))
    site.jobs(edits={ended: {"ShutdownCode": "200", "VacEnded": now, "HoldReasonCode": "12"}})
    site.once()
    assert of(site.jobs(), HELD) == [person]
    assert site.last()["observed"]["ended"] == {"success": 1}


def test_held_too_long_and_overtime_are_removed(site: Site) -> None:
    site.write(max_wallclock_seconds=1200)
    site.once()
    refused, overtime, fresh, *_ = of(site.jobs(), IDLE)
    site.pool.run("condor_hold", refused)
    old = str(int(time.time()) - 4000)
    site.jobs(edits={refused: {"HoldReasonCode": "19", "EnteredCurrentStatus": old}})
    site.start(overtime, life=1200 + 3600 + 5)
    site.start(fresh, life=1100)
    site.once()
    left = {job_id(ad) for ad in site.jobs("JobStatus != 3")}
    assert refused not in left
    assert overtime not in left
    assert fresh in left


def test_vanished_hosts_and_jobs_that_do_not_leave(site: Site) -> None:
    site.write(max_machines=12, max_idle=8, max_starting=12)
    site.once()
    vanished, silent, undead, stale, bounced, *_ = of(site.jobs(), IDLE)
    old = str(int(time.time()) - 20_000)
    site.start(vanished)
    site.start(silent)
    recently = str(int(time.time()) - 60)
    site.jobs(edits={vanished: {"JobDisconnectedDate": old}, silent: {"JobDisconnectedDate": recently}})
    # Removed, but its host does not answer: the schedd keeps such a job until it is forgotten (-forcex).
    site.start(undead)
    site.jobs(edits={undead: {"JobStatus": "3", "EnteredCurrentStatus": old}})
    site.finish(stale, 200)
    site.jobs(edits={stale: {"LeaveJobInQueue": "True", "EnteredCurrentStatus": old}})
    site.jobs(edits={bounced: {"NumShadowStarts": "5"}})
    site.once()
    printed = " ".join(site.last()["reasons"])
    assert "has not answered for" in printed
    # HTCondor 25 finds out by itself, sooner or later, that the removed job runs nowhere.
    for job in (vanished, stale, bounced):
        assert job in printed
    wait_until(lambda: not {undead, stale, bounced} & {job_id(ad) for ad in site.jobs()}, "they leave the queue")
    assert vanished not in of(site.jobs(), RUNNING)
    assert silent in of(site.jobs(), RUNNING)


def test_a_changed_machinetype_replaces_idle_vms_only(site: Site) -> None:
    site.once()
    running, *idle = of(site.jobs(), IDLE)
    site.start(running)
    site.write(memory_mb=3000)
    site.once()
    site.once()
    jobs = site.jobs()
    assert of(jobs, RUNNING) == [running]
    assert not set(of(jobs, IDLE)) & set(idle)
    assert len({ad["VacDigest"] for ad in jobs if ad["JobStatus"] == IDLE}) == 1


def test_a_broken_machinetype_is_reported_and_the_old_one_stays_in_use(site: Site) -> None:
    site.factory()
    wait_until(lambda: len(site.jobs()) == 5, "first submission")
    (site.outside / f"{site.name}.json").write_text('{"name": "x"')
    wait_until(lambda: "not valid JSON" in " ".join(site.last()["reasons"]), "the fault is among the reasons")
    for job in of(site.jobs(), IDLE)[:2]:
        site.start(job)
    wait_until(lambda: len(of(site.jobs(), IDLE)) == 5, "production goes on")


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("JobStatus", "77"), ("QDate", '"yesterday"'), ("VacKind", '"perfect"'), ("VacCpuFraction", "-3")],
)
def test_an_ad_that_is_wrong_is_named_and_the_others_are_served(site: Site, attribute: str, value: str) -> None:
    site.once()
    job, other, *_ = of(site.jobs(), IDLE)
    site.start(other)
    site.finish(job, 200) if attribute == "VacKind" else site.start(job)
    site.jobs(edits={job: {attribute: value}})
    assert site.once().returncode == 0
    last = site.last()
    assert (last["error"], last["submit"] > 0) == (None, True)
    (line,) = [line for line in site.log().splitlines() if job in line and attribute in line]
    assert "not known" in line
    assert site.once().returncode == 0
    assert site.log().count(line) == 1, "it is named once"


def test_dry_run_prints_and_changes_nothing(site: Site) -> None:
    done = site.once("--dry-run")
    plan = json.loads(done.stdout)
    assert plan["submit"] == 5
    assert plan["reasons"]
    assert not site.jobs()
    assert not os.listdir(site.states)


def test_ten_thousand_foreign_jobs_change_nothing(pool: Pool) -> None:
    """In a pool of its own: to remove so many jobs takes the schedd longer than all of this."""
    with Pool(pool.suite) as crowded:
        site = Site(crowded, "crowded")
        crowded.run("useradd", "-m", "somebody", check=False)
        text = (
            "universe = vanilla\nexecutable = /bin/true\nrequirements = False\n"
            f'+VacMachinetype = "{site.name}"\nqueue 10000\n'
        )
        crowded.run("sh", "-c", "cd /tmp; condor_submit -", user="somebody", input=text)
        for _ in range(2):
            assert site.once().returncode == 0
            assert len(site.jobs('JobUniverse == 13 && Owner == "vac"')) == 5


def test_a_sites_own_submit_file(site: Site) -> None:
    (site.outside / "vm-test.sub").write_text(
        "# as HTCondorVMs'\nuniverse = vm\nvm_type = kvm\nexecutable = VM-TEST\nlog = vm-test.log\n"
        "vm_memory = 1024\nvm_vcpus = 1\nvm_networking = true\nvm_networking_type = nat\n"
        "vm_disk = /images/test.iso:hda:r:raw\nshould_transfer_files = YES\nwhen_to_transfer_output = ON_EXIT\n"
        "transfer_input_files = user_data\nrequirements = (TARGET.Nowhere =?= True) && \\\n  True\n"
        '+UserData = "user_data"\n+HookKeyword = "VAC"\nqueue\n'
    )
    site.write(submit_file=f"{site.directory}/vm-test.sub")
    done = site.once()
    assert done.returncode == 0, site.last()
    shown = site.pool.run("condor_q", "-all", "-json", "-constraint", f'VacMachinetype =?= "{site.name}"').stdout
    ad = json.loads(shown)[0]
    assert ad["TransferInput"] == f"{site.directory}/user_data"
    assert ad["RequiresVac"] is True
    assert ad["WantIOProxy"] is True
    assert ad["JobVMMemory"] == 1024
    assert ad["Iwd"].startswith(f"{site.state}/vms/")
