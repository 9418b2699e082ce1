# SPDX-License-Identifier: GPL-3.0-or-later
"""A real schedd with another user's jobs, and with ads that a worker node has damaged."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.integration.chroot import Pool
from tests.integration.factory.site import Site, job_id

MALLORY = "mallory"
# Submitted before the test's factory, and so the older of the two.
SLEEP = "universe = scheduler\nexecutable = /bin/sleep\narguments = 3600\n{more}queue\n"


@pytest.fixture
def mallory(pool: Pool) -> Iterator[Pool]:
    """The pool, which has another user; that user's jobs are removed afterwards."""
    pool.run("useradd", "-m", MALLORY, check=False)
    yield pool
    pool.run("condor_rm", MALLORY, check=False)


def sleeping(pool: Pool, more: str = "") -> str:
    """The id of a job of that user in the scheduler universe."""
    done = pool.run("condor_submit", "-terse", "-", user=MALLORY, input=SLEEP.format(more=more))
    return done.stdout.split()[0]


def edit(pool: Pool, job: str, attribute: str, value: str, user: str = MALLORY) -> None:
    """Change a job as its user may."""
    assert "Set attribute" in pool.run("condor_qedit", job, attribute, value, user=user).stdout


def test_another_users_job_does_not_stop_a_factory(site: Site, mallory: Pool) -> None:
    job = sleeping(mallory)
    assert site.once().returncode == 0, "before"
    edit(mallory, job, "VacFactory", f'"{site.name}"')
    own = site.submit_factory()
    site.pool.run("condor_hold", own)
    before = len(site.jobs())
    command = [
        "env",
        f"VAC_FACTORY_JOB={own}",
        f"{site.directory}/vac_factory",
        site.machinetype,
        "--state",
        site.state,
    ]
    site.write(max_idle=before + 2, max_machines=before + 4)
    done = site.pool.run(*command, "--once", user="vac", check=False)
    assert (done.returncode, site.last()["error"], site.last()["submit"]) == (0, None, 2)
    # The same claim by the owner does: an older factory of its own is to act alone.
    older = site.pool.run("condor_submit", "-terse", "-", user="vac", input=SLEEP.format(more="")).stdout.split()[0]
    younger = site.submit_factory()
    edit(mallory, older, "VacFactory", f'"{site.name}"', user="vac")
    command[1] = f"VAC_FACTORY_JOB={younger}"
    site.pool.run(*command, "--once", user="vac", check=False)
    site.pool.run("condor_rm", older)
    assert f"job {older} is an older factory of this machinetype" in site.last()["error"]


def test_names_that_another_user_chose_are_not_shown(site: Site, mallory: Pool) -> None:
    site.once()
    for value in ('"x\\033]0;owned\\007"', '"../../../tmp/evil"', '"mine"', f'"{site.name}"', '{"list"}', '"\xff"'):
        edit(mallory, sleeping(mallory), "VacFactory", value)
    sleeping(mallory, '+VacFactory = strcat("a", base64Decode("G1sybQ=="), "b")\n')
    sleeping(mallory, '+VacFactory = "esc\x1b[31mred"\n')
    report = json.loads(site.run("status", "--json").stdout)["machinetypes"]
    assert list(report) == [site.name]
    assert (report[site.name]["factory"], report[site.name]["factory_job"]) == ("none", None)
    for command in ("status", "machines"):
        text = site.run(command).stdout
        assert text.replace("\n", "").isprintable()
        assert site.name in text


DAMAGED = {
    "VacCpuFraction": "-1.0", "VacEvidenceTime": '"x"', "VacStarted": "-5", "VacBatch": '"a b"',
    "NumShadowStarts": "-1", "RemoteHost": '"slot1@$(X),good.site"', "QDate": "99999999999",
    "EnteredCurrentStatus": '"then"', "JobVMCpuUtilization": "{1, 2}", "VacDigest": 'strcat("a", "b")',
    "VacOutcome": '"\xff"',
    "JobStatus": "77",
    # Of itself; it is not evaluated.
    "VacKind": "strcat(VacKind, VacKind)",
}  # fmt: skip


def test_one_damaged_ad_of_each_kind_stops_nothing(site: Site) -> None:
    site.write(max_machines=30, max_idle=20)
    assert site.once().returncode == 0
    jobs = [job_id(ad) for ad in site.jobs()]
    site.finish(jobs[-1], 200)
    for job, (attribute, value) in zip(jobs, DAMAGED.items()):
        site.start(job)
        site.pool.run("condor_qedit", job, attribute, value, user="vac")
    overdue = jobs[-2]
    site.start(overdue, life=10 * 86400)
    assert site.once().returncode == 0
    last = site.last()
    assert last["error"] is None
    assert last["submit"] > 0
    assert any(overdue in reason and "max_wallclock_seconds" in reason for reason in last["reasons"])
    assert overdue not in [job_id(ad) for ad in site.jobs("JobStatus != 3")]
    assert last["observed"]["ended"]["success"] == 1
    done = site.run("status", "--json")
    problems = json.loads(done.stdout)["machinetypes"][site.name]["problems"]
    assert done.returncode == 1
    assert any("condor_rm" in problem and "counted as not known" in problem for problem in problems)
    assert site.log().count("VacCpuFraction is -1.0") == 1, "named"
    assert done.stderr == ""
