# SPDX-License-Identifier: GPL-3.0-or-later
"""``trace``, ``machines --ended`` and ``keep_failed`` with a real schedd, its history files and condor_history."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

from tests.integration.chroot import OWNER
from tests.integration.factory.site import Site, job_id, wait_until

SECRET = "a-secret-of-the-experiment"
FIRST, SECOND, THIRD = (f"7b9d3b1e-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))


def send_back(site: Site, job: str) -> None:
    """What a hostile VM and its node leave in the VM's directory, which HTCondor gives to the job's user."""
    (iwd,) = (ad["Iwd"] for ad in site.jobs() if job_id(ad) == job)
    place = site.pool.local / iwd.removeprefix("/pool/")
    outputs = place / "joboutputs"
    (outputs / "nested/deep").mkdir(parents=True)
    (outputs / "nested/deep/file").write_text("x")
    (place / "console.log").write_text(f"boot\n{SECRET}\n\x1b[2Jlast words\n")
    (outputs / "agent.log").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\nfailed\n")
    (outputs / "shutdown_message").write_text("500 no disk\x1b[2J\n")
    (outputs / "stolen").symlink_to("/etc/passwd")
    (outputs / "big").write_bytes(b"x" * (9 << 20))
    os.mkfifo(outputs / "pipe")
    (place / "x509_proxy.pem").write_text("the proxy")
    site.pool.run("chown", "-R", OWNER, iwd)


def leave_queue(site: Site, job: str) -> dict[str, Any]:
    """The job's ad by condor_history, once it has left the queue."""
    site.jobs(edits={job: {"LeaveJobInQueue": "False"}})
    return past(site, job)


def past(site: Site, job: str) -> dict[str, Any]:
    """The job's ad by condor_history, once it is there."""

    def found() -> Any:
        done = site.pool.run("condor_history", job, "-json", "-limit", "1", check=False)
        return json.loads(done.stdout or "[]")

    return dict(wait_until(found, f"job {job} in the history")[0])


def traced(site: Site, *words: str) -> dict[str, Any]:
    done = site.run("trace", *words, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return dict(json.loads(done.stdout))


@pytest.fixture
def lives(site: Site) -> dict[str, str]:
    """A VM that worked, one that failed, and one that runs; the first two have left the queue."""
    site.write(keep_failed=1, max_machines=3, max_idle=3, user_data_options={"password": SECRET})
    assert site.once().returncode == 0, site.log()
    worked, failed, runs = sorted(job_id(ad) for ad in site.jobs())
    # What vac_watch publishes with a VM's first evidence, and libvirt's hook at its end.
    leased = str(int(time.time()) - 1000)
    known = {
        job: {"VacUUID": f'"{uuid}"', "VacLeased": leased}
        for job, uuid in zip((worked, failed, runs), (FIRST, SECOND, THIRD))
    }
    known[failed].update(VacKind='"site"', VacCause='"message"', ShutdownMessage='"no disk\x1b[2J"')
    site.jobs(edits=known)
    site.start(runs, life=500, host="wn1.vac.test")
    site.finish(worked, 200, life=1000, host="wn1.vac.test")
    send_back(site, failed)
    site.finish(failed, 500, life=900, worked=False, host="wn2.vac.test")
    assert site.once().returncode == 0, site.log()
    return {"worked": worked, "failed": failed, "runs": runs}


def test_three_vms_are_traced_from_the_decision_to_the_end(site: Site, lives: dict[str, str]) -> None:
    for name, uuid, code in (("worked", FIRST, 200), ("failed", SECOND, 500)):
        job = lives[name]
        ad = leave_queue(site, job)
        found = traced(site, job)
        # By each of its names it is the same.
        schedd = ad["GlobalJobId"].partition("#")[0]
        for word in (uuid.upper(), f"{schedd}#{job}" if code == 200 else ad["GlobalJobId"]):
            assert traced(site, word) == found, word
        vm = found["vm"]
        assert (vm["id"], vm["uuid"], vm["state"], vm["code"]) == (job, uuid, "ended", code)
        assert (vm["life"], vm["ended"]) == (ad["VacRuntime"], ad["VacEnded"])
        assert vm["host"] == ad["LastRemoteHost"].rpartition("@")[2]
        assert found["global_job_id"] == ad["GlobalJobId"]
        steps = [step["step"] for step in found["steps"]]
        assert sorted(step for step in steps if step in {"submitted", "ended"}) == ["ended", "submitted"]
        decision, *_ = (step["text"] for step in found["steps"] if step["step"] == "factory")
        assert f"(batch {ad['VacBatch']})" in decision
        assert {"lease", "matched", "evidence" if name == "worked" else "message"} <= set(steps)
        times = [step["time"] for step in found["steps"]]
        assert times == sorted(times)
    running = traced(site, lives["runs"])
    assert (running["vm"]["state"], running["vm"]["ended"], running["vm"]["host"]) == ("running", None, "wn1.vac.test")
    # Another access point's, and one that never was.
    for word in (f"elsewhere#{lives['worked']}", "99999.0", FIRST.replace("7b", "8b")):
        done = site.run("trace", word)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"condor_vac trace: {word}: no such VM in the queue or HTCondor's history\n"


def test_a_failed_vm_is_kept_without_secrets_and_trace_points_to_it(site: Site, lives: dict[str, str]) -> None:
    failed = lives["failed"]
    found = traced(site, failed)
    place = site.pool.local / found["kept"].removeprefix("/pool/")
    files = {str(path.relative_to(place)): path for path in place.rglob("*") if not path.is_dir()}
    assert set(files) == {
        *("console.log", "vm.log", "context.json", "joboutputs/agent.log", "joboutputs/shutdown_message"),
        "joboutputs/big",
    }
    assert not any(path.is_symlink() for path in files.values())
    everything = b"".join(path.read_bytes() for path in files.values())
    for secret in (SECRET, "AAAA", "the proxy", "root:x:0"):
        assert secret.encode() not in everything
    assert b"last words" in everything
    assert files["joboutputs/big"].stat().st_size == 8 << 20, "of a long file the end"
    context = json.loads(files["context.json"].read_text())
    assert (context["job"], context["ad"]["VacUUID"]) == (failed, SECOND)
    assert context["machinetype"]["user_data_options"] == ["password"]
    text = site.run("trace", failed).stdout
    assert f"kept for its failure: {found['kept']}" in text.splitlines()
    assert text.replace("\n", "").isprintable(), "the guest's message and names are text"
    assert traced(site, lives["worked"])["kept"] is None
    # A factory that starts again keeps it, once; and the last one alone.
    assert site.once().returncode == 0
    assert [path.name for path in place.parent.iterdir()] == [place.name]
    newer = next(job_id(ad) for ad in site.jobs() if ad["JobStatus"] == 1)
    time.sleep(1)
    site.finish(newer, 600, worked=False)
    assert site.once().returncode == 0
    assert [path.name.partition("-")[2] for path in place.parent.iterdir()] == [newer]
    site.write(keep_failed=0, max_machines=3, max_idle=3)
    assert site.once().returncode == 0
    assert list(place.parent.iterdir()) == []


def test_ended_and_hosts_agree_with_condor_history(site: Site, lives: dict[str, str]) -> None:
    leave_queue(site, lives["worked"])
    # The failed one is still in the queue; of another user's job that names the machinetype nothing is shown.
    text = (
        "universe = vm\nvm_type = kvm\nvm_memory = 10\nvm_disk = /x.iso:hda:r:raw\nexecutable = x\n"
        f'requirements = False\n+VacMachinetype = "{site.name}"\n+VacUUID = "{FIRST}"\n'
        "+JobCurrentStartDate = 1\nqueue\n"
    )
    site.pool.run("useradd", "-m", "somebody", check=False)
    theirs = site.pool.run("sh", "-c", "cd /tmp; condor_submit -terse -", user="somebody", input=text).stdout.split()[0]
    site.pool.run("condor_rm", theirs)
    wait_until(lambda: theirs in site.pool.run("condor_history", "-af:j", "Owner").stdout, "their job in the history")
    done = site.run("machines", site.name, "--ended", "24h", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    shown = {vm["id"]: (vm["code"], vm["kind"], vm["host"], vm["life"], vm["cause"]) for vm in json.loads(done.stdout)}
    assert shown == {
        lives["worked"]: (200, "success", "wn1.vac.test", 1000, None),
        lives["failed"]: (500, "site", "wn2.vac.test", 900, "message"),
    }
    assert traced(site, FIRST)["vm"]["owner"] == OWNER
    for host, wanted in (("wn1", ["worked", "runs"]), ("wn1.vac.test", ["worked", "runs"]), ("wn2", ["failed"])):
        vms = [vm for vm in traced(site, host)["vms"] if vm["machinetype"] == site.name]
        assert [vm["id"] for vm in vms] == [lives[name] for name in wanted]
    # What ended before is not shown, and reading ends there; its job leaves the queue by itself. In the history the VM
    # that worked is behind it, which is so only where the times of ends are made up.
    old = int(time.time()) - 10 * 86400
    site.jobs(edits={lives["failed"]: {"VacEnded": str(old), "EnteredCurrentStatus": str(old)}})
    past(site, lives["failed"])
    site.finish(lives["runs"], 200, host="wn1.vac.test")
    leave_queue(site, lives["runs"])
    recent = [vm["id"] for vm in json.loads(site.run("machines", site.name, "--ended", "7d", "--json").stdout)]
    assert recent == [lives["runs"]]
    every = [vm["id"] for vm in json.loads(site.run("machines", site.name, "--ended", "30d", "--json").stdout)]
    assert sorted(every) == sorted(lives.values())
    done = site.run("trace", "wn9")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("condor_vac trace: wn9: this access point has had no VM on it since ")
