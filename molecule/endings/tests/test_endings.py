# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs of every ending beside each other: the watch finds those that it has to stop once they all run."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection
from typing import Any

import pytest
from boxes import COMPLETED, PLACE, Box, leaks, nothing_leaked, of_clusters
from endings import BY_THEMSELVES, DESTROYED, ENDINGS, STOPPED_AS_PLANNED, STOPPED_FOR_A_LIMIT, TAKEN_AWAY, Ending

from condor_vac.factory import vm_jobs
from condor_vac.model.machinetype import Machinetype
from condor_vac.policy.judgement import Judgement
from condor_vac.policy.observation import Limits, Observation

# A limit of what never takes so long.
SECONDS = 1800


def word(name: str) -> str:
    """The ending's name as that of its machinetype and its directory."""
    return re.sub("[^a-z]+", "-", name)


@pytest.fixture(scope="module")
def clusters(box: Box) -> dict[str, str]:
    """Name of an ending to the cluster of its one VM; all have begun, and those for the watch wait for it."""
    queue = box.queue("endings")
    found = {
        name: box.submit(
            word(name), options={"queue_url": queue, **ending.options}, machinetype=dict(ending.machinetype)
        )
        for name, ending in ENDINGS.items()
    }
    waiting = {found[name]: ending for name, ending in ENDINGS.items() if ending.ready}
    box.until(
        "those that the watch will stop run",
        lambda now: all(is_ready(box, now, cluster, ending) for cluster, ending in waiting.items()),
        SECONDS,
    )
    return found


def is_ready(box: Box, now: dict[str, Any], cluster: str, ending: Ending) -> bool:
    """Whether the VM has come so far that its ending can begin; it must not have ended."""
    assert now["jobs"][f"{cluster}.0"]["JobStatus"] != COMPLETED, (ending, now["jobs"][f"{cluster}.0"])
    lease = next(iter(of_clusters(now, cluster)), None)
    if lease is None or (ending.options.get("heartbeat_interval") and lease["heartbeat"] is None):
        return False
    return bool(box.host.run(f"grep -Eq '{ending.ready}' {lease['joboutputs']}/vm-pilot.log").rc == 0)


def over(now: dict[str, Any], clusters: Collection[str]) -> bool:
    """Whether the jobs have completed and nothing of their VMs is left."""
    completed = all(now["jobs"][f"{cluster}.0"]["JobStatus"] == COMPLETED for cluster in clusters)
    return completed and not of_clusters(now, *clusters) and nothing_leaked(now)


@pytest.fixture(scope="module")
def ads(box: Box, clusters: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Name of an ending to its job's ad, once all are over."""
    for lease in of_clusters(box.state(), *(clusters[name] for name in DESTROYED)):
        box.run(f"virsh destroy {lease['domain']}")
    often = "[Timer]\nOnBootSec=\nOnUnitActiveSec=\nOnActiveSec=1\nOnUnitActiveSec=10\n"
    box.put("/etc/systemd/system/vac_watch.timer.d/often.conf", often.encode())
    box.run("systemctl daemon-reload && systemctl start vac_watch.timer")
    limited = [clusters[name] for name in STOPPED_FOR_A_LIMIT]
    box.until(
        "those over a limit are being stopped",
        lambda now: all(one["stopping"] for one in of_clusters(now, *limited)),
        SECONDS,
    )
    box.until(
        "those that end by themselves are over",
        lambda now: over(now, [clusters[name] for name in BY_THEMSELVES]),
        SECONDS,
    )
    plan_shutdown(box, [clusters[name] for name in STOPPED_AS_PLANNED])
    state = box.until("all are over", lambda now: over(now, clusters.values()), SECONDS)
    box.run("condor_vac shutdowntime cancel")
    assert (leaks(state), state["leases"], state["domains"]) == ([], [], {})
    return {name: state["jobs"][f"{cluster}.0"] for name, cluster in clusters.items()}


def plan_shutdown(box: Box, clusters: Collection[str]) -> None:
    """Plan the node's shutdown, see that it is announced to the VMs and that they continue, and then have it come."""
    plan = json.loads(box.run("condor_vac shutdowntime --json set +3600"))
    leases = of_clusters(box.state(), *clusters)
    assert len(leases) == len(clusters)
    files = [f"{one['machinefeatures']}/shutdowntime {one['jobfeatures']}/shutdowntime_job" for one in leases]
    wanted = {str(plan["shutdowntime"])}
    box.until(
        "the VMs' features hold the planned time",
        lambda _: set(box.run(f"for file in {' '.join(files)}; do cat $file; echo; done").split()) == wanted,
        SECONDS,
    )
    assert not any(one["stopping"] for one in of_clusters(box.state(), *clusters))
    box.run("condor_vac shutdowntime set +1")


def expected(box: Box, ad: dict[str, Any], name: str) -> Ending:
    """The ending, as HTCondor let it be.

    It has a domain destroyed whose guest powers off by itself if it asks for its state at that moment (docs/faults.md);
    libvirt's log of the domain says so. A message would still count.
    """
    ending = ENDINGS[name]
    if name not in BY_THEMSELVES or ending.code is not None:
        return ending
    log = box.run(f"cat /var/log/libvirt/qemu/*_{ad['ClusterId']}.{ad['ProcId']}.log")
    return TAKEN_AWAY if "reason=destroyed" in log else ending


@pytest.mark.parametrize("name", ENDINGS)
def test_what_the_ad_has(box: Box, ads: dict[str, dict[str, Any]], name: str) -> None:
    ad = ads[name]
    ending = expected(box, ad, name)
    found = (ad["VacCause"], ad.get("ShutdownCode"), ad["ShutdownMessage"], ad["VacKind"], ad["VacAbort"])
    assert found == (ending.cause, ending.code, ending.message, ending.kind, ending.abort)
    assert ad["NumJobStarts"] == 1
    assert ad["VacRuntime"] > 0


@pytest.mark.parametrize("name", ENDINGS)
def test_what_the_factory_makes_of_it(box: Box, ads: dict[str, dict[str, Any]], name: str) -> None:
    ending = expected(box, ads[name], name)
    described = json.loads(box.run(f"cat {PLACE}/{word(name)}/{word(name)}.json"))
    machinetype = Machinetype.from_mapping(described, name)
    now = float(ads[name]["EnteredCurrentStatus"])
    jobs = vm_jobs.queue([ads[name]], machinetype, now).jobs
    seen = vm_jobs.observation(jobs, machinetype, now, ())
    assert [(end.kind, end.abort) for end in seen.ended] == [(ending.kind, ending.abort)]
    judgement = Judgement(Limits())
    judgement.take_in(Observation(now, (), seen.ended))
    if ending.verdict is not None:
        assert judgement.verdict() == ending.verdict


def test_a_panic_is_on_the_console_that_came_back(box: Box, ads: dict[str, dict[str, Any]]) -> None:
    assert "kernel panic" in ads
    assert "Kernel panic" in box.run(f"cat {PLACE}/{word('kernel panic')}/0/console.log")


def test_what_they_used_is_what_the_history_has(box: Box, ads: dict[str, dict[str, Any]]) -> None:
    names = "VacMachinetype,LastMatchTime,CompletionDate,RemoteUserCpu"
    words = " ".join(str(ad["ClusterId"]) for ad in ads.values())
    history = json.loads(box.run(f"condor_history {words} -json -attributes {names}"))
    assert sorted(ad["VacMachinetype"] for ad in history) == sorted(word(name) for name in ENDINGS)
    wall = {ad["VacMachinetype"]: ad["CompletionDate"] - ad["LastMatchTime"] for ad in history}
    used = {ad["VacMachinetype"]: int(ad.get("RemoteUserCpu", 0)) for ad in history}
    months = {time.strftime("%Y-%m", time.gmtime(ad["CompletionDate"])) for ad in history}
    reports = [json.loads(box.run(f"condor_vac usage --owner vac --json --month {month}")) for month in months]
    rows = [row for report in reports for row in report["rows"] if row["machinetype"] in wall]
    assert {row["machinetype"]: row["wall_seconds"] for row in rows} == wall
    assert {row["machinetype"]: row["cpu_seconds"] for row in rows} == used
    assert all(row["vms"] == 1 for row in rows)
    # Those for the watch live for longer than HTCondor takes to ask libvirt.
    assert any(used[word(name)] > 0 for name in (*STOPPED_FOR_A_LIMIT, *STOPPED_AS_PLANNED)), used
    print(f"processor seconds of one start each: {used}, of {wall}")
