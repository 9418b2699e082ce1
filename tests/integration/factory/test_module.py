# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``factory`` against a real schedd: its own code, with HTCondor's tools and our programs in the pool."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.modules import factory

from tests.integration.chroot import OWNER, Pool
from tests.integration.factory.site import wait_until
from tests.unit.plugins.harness import Answer, Plugin, Tools, four_calls, no_tools, run

NAME = "module-test"
MACHINETYPE = f"/etc/condor_vac/machinetypes/{NAME}.json"
FACTORIES = f'VacFactory =?= "{NAME}"'
VMS = f'VacMachinetype =?= "{NAME}" && JobUniverse == 13'


class Inside(Tools):
    """The programs of the pool instead of recorded ones."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(no_tools)
        self.pool = pool
        self.plugin = Plugin(factory, poll_seconds=0.2, exists=self.exists, users=lambda: {NAME: {OWNER}})

    def exists(self, path: str) -> bool:
        """Whether the pool has the file."""
        return self.pool.run("test", "-e", path, check=False).returncode == 0

    def run_command(self, argv: list[str], data: str | None = None, **_options: Any) -> Answer:
        done = self.pool.run(*argv, input=data, check=False)
        return done.returncode, done.stdout, done.stderr

    def get_bin_path(self, name: str, required: bool = False, **_options: Any) -> str | None:
        found = self.pool.run("sh", "-c", f"command -v {name}", check=False).stdout.strip()
        return found or None


@pytest.fixture
def tools(pool: Pool) -> Iterator[Inside]:
    """An access point with one machinetype and no factory; everything is gone afterwards."""
    write(pool)
    pool.run("install", "-d", "-o", OWNER, f"/var/lib/condor_vac/{NAME}")
    yield Inside(pool)
    for constraint in (FACTORIES, VMS):
        pool.run("condor_rm", "-constraint", constraint, check=False)
        pool.run("condor_rm", "-forcex", "-constraint", constraint, check=False)
    pool.run("rm", "-rf", MACHINETYPE, f"/var/lib/condor_vac/{NAME}")


def write(pool: Pool, **keys: Any) -> None:
    """The machinetype, with the real policy: it opens with as many as max_idle lets wait."""
    data = {
        "name": NAME, "owner": OWNER, "kind": "cernvm", "image": "/images/test.iso", "user_data": "/pool/hosts",
        "cycle_seconds": 1, "max_machines": 8, "max_idle": 3, "requirements": "TARGET.Nowhere =?= True", **keys,
    }  # fmt: skip
    (pool.local / "etc/machinetypes" / f"{NAME}.json").write_text(json.dumps(data))


def queue(pool: Pool, constraint: str) -> list[dict[str, Any]]:
    """The jobs that match."""
    words = ("-attributes", "ClusterId,ProcId,JobStatus", "-json")
    text = pool.run("condor_q", "-allusers", "-constraint", constraint, *words).stdout
    return list(json.loads(text)) if text.strip() else []


def let_one_run(pool: Pool) -> int:
    """Make one waiting VM look like one that runs; its cluster."""
    wait_until(lambda: queue(pool, f"{VMS} && JobStatus == 1"), "the factory makes VMs")
    job = queue(pool, f"{VMS} && JobStatus == 1")[0]
    words = f"{job['ClusterId']}.{job['ProcId']}"
    pool.run("condor_qedit", words, "JobCurrentStartDate", "time()", "NumShadowStarts", "1", "JobStatus", "2")
    return int(job["ClusterId"])


def running(pool: Pool) -> int:
    """How many VMs run."""
    return len(queue(pool, f"{VMS} && JobStatus == 2"))


def test_present_shows_the_job_and_submits_it_once(tools: Inside) -> None:
    results = four_calls(tools.plugin, {"machinetype": MACHINETYPE}, tools)
    assert results[0]["actions"] == ["submit"]
    assert results[0]["job"] is None
    assert "executable = /usr/local/libexec/vac_factory" in results[0]["diff"]["after"]
    assert results[1]["diff"]["before"] == "factory: none\n"
    wait_until(lambda: [job["JobStatus"] for job in queue(tools.pool, FACTORIES)] == [2], "it runs")
    wait_until(lambda: queue(tools.pool, VMS), "it makes VMs")
    again = run(tools.plugin, {"machinetype": MACHINETYPE}, tools=tools)
    assert (again["changed"], again["status"]) == (False, "running")


def test_a_changed_machinetype_or_submit_file_needs_no_restart_a_changed_program_does(tools: Inside) -> None:
    pool = tools.pool
    run(tools.plugin, {"machinetype": MACHINETYPE}, tools=tools)
    let_one_run(pool)
    write(pool, memory_mb=3000)
    assert not run(tools.plugin, {"machinetype": MACHINETYPE}, tools=tools)["changed"]
    wait_until(lambda: queue(pool, f"{VMS} && JobStatus == 1 && JobVMMemory == 3000"), "the factory noticed")
    current = pool.local / "usr_local/lib/condor_vac/current"
    current.unlink()
    current.symlink_to("tree-2")
    try:
        results = four_calls(tools.plugin, {"machinetype": MACHINETYPE}, tools)
        assert [action.split(": ")[-1] for action in results[1]["actions"]] == [
            "its program or description changed",
            "submit",
        ]
        assert "tree-1" in results[0]["diff"]["before"]
        assert "tree-2" in results[0]["diff"]["after"]
        assert running(pool) == 1
    finally:
        current.unlink()
        current.symlink_to("tree-1")


def test_held_restarted_and_absent_leave_running_vms_alone(tools: Inside) -> None:
    pool = tools.pool
    run(tools.plugin, {"machinetype": MACHINETYPE}, tools=tools)
    let_one_run(pool)
    four_calls(tools.plugin, {"machinetype": MACHINETYPE, "state": "held"}, tools)
    wait_until(lambda: not queue(pool, f"{VMS} && JobStatus == 1"), "held: idle VMs are removed")
    first = run(tools.plugin, {"machinetype": MACHINETYPE, "state": "restarted"}, tools=tools)
    second = run(tools.plugin, {"machinetype": MACHINETYPE, "state": "restarted"}, tools=tools)
    assert first["changed"]
    assert second["changed"]
    assert first["job"] != second["job"]
    wait_until(lambda: queue(pool, f"{VMS} && JobStatus == 1"), "the new factory makes VMs")
    four_calls(tools.plugin, {"name": NAME, "state": "absent"}, tools)
    assert not queue(pool, FACTORIES)
    assert not queue(pool, f"{VMS} && JobStatus == 1")
    assert running(pool) == 1


def test_what_is_not_in_the_inventory_is_drained(tools: Inside) -> None:
    pool = tools.pool
    run(tools.plugin, {"machinetype": MACHINETYPE}, tools=tools)
    let_one_run(pool)
    assert not run(tools.plugin, {"names": [NAME], "exclusive": True}, tools=tools)["changed"]
    results = four_calls(tools.plugin, {"names": ["another"], "exclusive": True}, tools)
    assert results[1]["actions"][0].startswith("remove ")
    assert not queue(pool, FACTORIES)
    assert [job["JobStatus"] for job in queue(pool, VMS)] == [2]


def test_vms_without_a_factory_are_drained_too(tools: Inside) -> None:
    pool = tools.pool
    run(tools.plugin, {"machinetype": MACHINETYPE}, tools=tools)
    cluster = let_one_run(pool)
    pool.run("condor_hold", str(cluster))
    pool.run("sh", "-c", f"condor_rm -constraint '{FACTORIES}'; pkill -9 -f '[v]ac_factory {MACHINETYPE}'", check=False)
    wait_until(lambda: not queue(pool, FACTORIES), "the factory is gone without having tidied up")
    four_calls(tools.plugin, {"names": [], "exclusive": True}, tools)
    assert not queue(pool, f"{VMS} && JobStatus != 2 && JobStatus != 3")
