# SPDX-License-Identifier: GPL-3.0-or-later
"""The factory as a scheduler-universe job: hold, release, remove, restart, and a schedd that does not answer."""

from __future__ import annotations

import json
import time

from tests.integration.factory.site import Site, job_id, wait_until


def waiting(site: Site) -> list[str]:
    """The VM jobs that wait for a slot."""
    return [job_id(ad) for ad in site.jobs("JobStatus == 1")]


def starts(site: Site) -> int:
    """How often the factory has begun; HTCondor empties its output each time, but not its log."""
    return site.log().count("factory of ")


def test_hold_release_remove(site: Site) -> None:
    job = site.submit_factory()
    wait_until(lambda: len(waiting(site)) == 5, "the factory runs and fills its idle cap")
    site.start(waiting(site)[0])
    wait_until(lambda: len(waiting(site)) == 5, "it grows")
    site.pool.run("condor_hold", job, user="vac")
    wait_until(lambda: not waiting(site), "held: VMs that have not started are removed")
    wait_until(lambda: not site.pids(), "its process has ended")
    assert [ad["JobStatus"] for ad in site.factory_jobs()] == [5]
    assert len(site.jobs("JobStatus == 2")) == 1
    site.pool.run("condor_release", job, user="vac")
    wait_until(lambda: len(waiting(site)) == 5, "released: it goes on", 60)
    site.pool.run("condor_rm", job, user="vac")
    wait_until(lambda: not site.factory_jobs() and not waiting(site), "removed: it leaves, and takes them back")
    assert len(site.jobs("JobStatus == 2")) == 1, "a VM that runs is left alone"


def test_killed_or_vacated_it_is_started_again(site: Site) -> None:
    job = site.submit_factory()
    wait_until(lambda: starts(site) == 1, "the factory runs", 60)
    site.pool.run("kill", "-9", *(str(pid) for pid in site.pids()))
    wait_until(lambda: starts(site) == 2, "it is started again, and the log goes on", 60)
    site.pool.run("condor_vacate_job", job, user="vac")
    wait_until(lambda: starts(site) == 3, "it is started again", 60)
    wait_until(lambda: len(waiting(site)) == 5, "it fills its idle cap", 60)


def switch_off(site: Site, daemon: str) -> None:
    """Stop a daemon, and wait until its process (of whose name the kernel keeps 15 characters) has ended."""
    running = ("pgrep", "-x", f"condor_{daemon}"[:15])
    assert site.pool.run(*running).stdout
    site.pool.run("condor_off", "-fast", "-daemon", daemon)
    wait_until(lambda: site.pool.run(*running, check=False).returncode == 1, f"the {daemon} is down")


def switch_on(site: Site, *daemons: str) -> None:
    """Start daemons that were switched off; a busy master may have to be asked again."""
    for daemon in daemons:
        command = ("condor_on", "-daemon", daemon)
        wait_until(lambda: site.pool.run(*command, check=False).returncode == 0, f"{daemon} is on")  # noqa: B023
    site.pool.wait_for_schedd()


def test_exit_code_and_environment(site: Site) -> None:
    job = site.submit_factory()
    pid = wait_until(site.pids, "the factory runs")[0]
    given = site.pool.run("cat", f"/proc/{pid}/environ").stdout.split("\0")
    ours = sorted(
        word for word in given if word and not word.upper().startswith(("_CONDOR_", "CONDOR_", "TMP", "TEMP"))
    )
    assert [word.split("=")[0] for word in ours] == ["PATH", "VAC_FACTORY_JOB"]
    assert f"VAC_FACTORY_JOB={job}" in ours
    wait_until(lambda: len(waiting(site)) == 5, "it makes VMs all the same")
    site.pool.run("kill", "-USR2", str(pid))
    wait_until(lambda: not site.factory_jobs(), "exit code 42 lets it leave the queue")
    ended = site.pool.run("condor_history", job, "-af", "JobStatus", "ExitCode", "-limit", "1").stdout.split()
    assert ended == ["4", "42"]
    assert not waiting(site)


def test_unreachable_collector(site: Site) -> None:
    """The queue is known without it, so the factory keeps its caps and continues; explain names what is wrong."""
    site.once()
    site.submit_factory()
    try:
        switch_off(site, "collector")
        assert site.last()["error"] is None
        assert len(waiting(site)) == 5
        assert "collector query failed" in explain(site)
        switch_off(site, "schedd")
        # With the schedd its factory job ends as well, and with it the lock on its state.
        wait_until(lambda: not site.pids(), "the factory has ended")
        done = site.once()
        assert done.returncode == 1, done.stderr
        assert "schedd" in site.last()["error"]
        assert site.run("explain", site.name).returncode == 1
        assert "schedd query failed" in site.run("status").stderr
    finally:
        switch_on(site, "collector", "schedd")
    wait_until(lambda: site.pool.run("condor_status", check=False).returncode == 0, "the collector is back")
    assert len(waiting(site)) == 5


def test_unreachable_schedd(site: Site) -> None:
    site.once()
    try:
        switch_off(site, "schedd")
        assert site.once().returncode == 1
        last = site.last()
        assert last["submit"] == 0
        assert "schedd" in last["error"]
    finally:
        switch_on(site, "schedd")
    assert site.once().returncode == 0
    assert len(waiting(site)) == 5


def test_explain_follows_the_cause(site: Site) -> None:
    assert site.run("explain", "no-such-machinetype").returncode == 2
    shown = explain(site)
    assert "no factory of this machinetype is in the queue" in shown
    job = site.submit_factory()
    wait_until(lambda: len(waiting(site)) == 5, "the factory runs")
    assert "none of 0 slots has HasVM" in explain(site)
    site.pool.advertise("wn1", HasVM="False", VMOfflineReason='"Error in virDomainCreateXML"')
    site.pool.advertise("wn2", HasVM="True", VM_Type='"kvm"', VM_AvailNum="0", VM_Memory="65536")
    shown = wait_until(lambda: "wn1" in (text := explain(site)) and text, "the slots are known")
    assert "virDomainCreateXML" in shown
    assert "meets the requirements" in shown
    assert "VM_AvailNum" in shown
    site.pool.run("condor_hold", job, user="vac")
    wait_until(lambda: f"condor_release {job}" in explain(site), "the factory is held")
    forget_slots(site)


VM_SLOT = {
    "HasVM": "True", "VM_Type": '"kvm"', "VM_AvailNum": "10", "VM_Memory": "65536", "VM_Networking": "True",
    "VM_Networking_Types": '"nat"', "OpSys": '"LINUX"',
}  # fmt: skip


def test_a_vm_suits_no_node_that_shuts_down_too_soon(site: Site) -> None:
    """As the collector's slots and the job's requirements in the queue have it."""
    site.write(min_wallclock_seconds=7200, requirements="True")
    assert site.once().returncode == 0
    now = int(time.time())
    plans = {"wn1": None, "wn2": now + 3600, "wn3": now + 4 * 3600, "wn4": now - 60, "wn5": '"soon"'}
    for host, plan in plans.items():
        site.pool.advertise(
            host, **VM_SLOT, Requirements="False", **({} if plan is None else {"VacShutdownTime": str(plan)})
        )
    wait_until(lambda: "3 slots would suit" in explain(site), "wn1, wn3 and wn5 suit it")
    note = "2 nodes with a planned shutdown in less than min_wallclock_seconds (7200 s): no VM starts there: wn2, wn4"
    assert note in explain(site)
    forget_slots(site)


# Values of a slot's START that take time, memory or the stack, and what they refer to.
BOMBS = {
    "text": [
        "size(S40) > 0",
        *('S0 = "0123456789abcdef"', *(f"S{n} = strcat(S{n - 1}, S{n - 1})" for n in range(1, 41))),
    ],
    "steps": ["B30", *("B0 = 1", *(f"B{n} = B{n - 1} + B{n - 1}" for n in range(1, 31)))],
    "depth": ["C20000", *("C0 = 1", *(f"C{n} = C{n - 1}" for n in range(1, 20_001)))],
}


def test_slots_whose_start_does_not_end_hide_no_other(site: Site) -> None:
    site.write(requirements="True")
    assert site.once().returncode == 0
    for host, start in {"wn1": "True", "wn5": "False", "wn9": "True"}.items():
        site.pool.advertise(host, **VM_SLOT, Requirements=start)
    wait_until(lambda: "2 slots would accept" in explain(site), "the good ones suit it")
    for host, (start, *others) in zip(("wn2", "wn3", "wn7"), BOMBS.values()):
        site.pool.advertise(host, **VM_SLOT, Requirements=start, **dict(line.split(" = ", 1) for line in others))
    wait_until(lambda: "cannot be judged" in explain(site), "they are known")
    shown = explain(site)
    assert "cannot be judged for wn2, wn3, wn7: an expression of its ad" in shown
    assert "2 slots would accept" in shown
    forget_slots(site)


def forget_slots(site: Site) -> None:
    """Take all slots out of the collector."""
    site.pool.run(
        "condor_advertise",
        "INVALIDATE_STARTD_ADS",
        input='MyType = "Query"\nTargetType = "Machine"\nRequirements = True\n',
    )


def explain(site: Site) -> str:
    """All sentences of condor_vac explain, which has found something."""
    done = site.run("explain", site.name, "--json")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    return "\n".join([*(f"{each['what']} {each['remedy']}" for each in report["findings"]), *report["notes"]])
