# SPDX-License-Identifier: GPL-3.0-or-later
"""vac_watch on a node whose VMs are its backfill: who is told to leave, who is stopped, and who stays."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from condor_vac.worker.libvirt import Domain
from tests.unit.condor_vac.worker.conftest import Node, Time, lease_files
from tests.unit.condor_vac.worker.watched import actions, feature, look, running


@pytest.fixture
def backfill(node: Node) -> Node:
    """A node whose VMs have ten minutes to go when another job gets their slot."""
    node.settings = node.settings._replace(backfill_notice=600)
    return node


def retires(node: Node, *slots: tuple[str, str], drains: bool = False) -> None:
    """The slots of these VM jobs (owner, job) retire, as the startd shows them: for other jobs, or as it drains."""
    ads = [{"Name": "slot1_1@node1", "RemoteOwner": owner, "JobId": job, "JobUniverse": 13} for owner, job in slots]
    waits = {} if drains else {"PreemptingRank": 0.0, "PreemptingOwner": "batch@lab"}
    (node.base / "slots").write_text(json.dumps([{**ad, **waits} for ad in ads]))


@pytest.mark.parametrize("owner", ["vac_lab@example.org", "vac@lab"])
def test_a_vm_in_the_way_is_told_has_its_time_and_is_stopped(backfill: Node, clock: Time, owner: str) -> None:
    lease = running(backfill, clock, max_wallclock_seconds=0)
    other = running(backfill, clock, sandbox=backfill.sandbox(2), domain="vac_lab_8.0", max_wallclock_seconds=0)
    backfill.run_domains(Domain(lease.domain, 1, 1.0, 1), Domain(other.domain, 1, 1.0, 1))
    retires(backfill)
    assert look(backfill) == []
    assert feature(lease, "shutdowntime_job") is None
    retires(backfill, (owner, "7.0"), (owner, "9.0"))
    for seconds in (0, 300, 299):
        clock.now += seconds
        assert look(backfill) == []
        assert actions(backfill) == []
    told = feature(lease, "shutdowntime_job")
    assert told is not None
    assert abs(told - time.time() - 600) < 60
    assert feature(lease, "shutdowntime") == told
    clock.now += 2
    look(backfill)
    assert actions(backfill) == ["shutdown"]
    stopping = {one["domain"]: one["stopping"] for one in lease_files(backfill)}
    assert stopping["vac_lab_8.0"] is None
    assert (stopping["vac_lab_7.0"]["cause"], stopping["vac_lab_7.0"]["message"][:4]) == ("backfill", "100 ")
    assert feature(other, "shutdowntime_job") is None


def test_a_vm_that_is_in_nobodys_way_any_more_stays(backfill: Node, clock: Time) -> None:
    lease = running(backfill, clock, max_wallclock_seconds=86400)
    Path(lease.jobfeatures, "jobstart_secs").write_text(str(int(time.time())))
    retires(backfill)
    look(backfill)
    limit = feature(lease, "shutdowntime_job")
    retires(backfill, ("vac@lab", "7.0"))
    look(backfill)
    assert feature(lease, "shutdowntime_job") != limit
    retires(backfill)
    look(backfill)
    clock.now += 10000
    look(backfill)
    assert feature(lease, "shutdowntime_job") == limit
    assert actions(backfill) == []


def test_a_node_that_drains_or_restarts_takes_no_slot_from_its_vms(backfill: Node, clock: Time) -> None:
    lease = running(backfill, clock, max_wallclock_seconds=0)
    for _look in range(2):
        retires(backfill, ("vac@lab", "7.0"), drains=True)
        look(backfill)
        clock.now += 10000
    assert feature(lease, "shutdowntime_job") is None
    assert actions(backfill) == []
    retires(backfill, ("vac@lab", "7.0"))
    look(backfill)
    assert feature(lease, "shutdowntime_job") is not None


def test_a_startd_that_does_not_answer_changes_nothing(backfill: Node, clock: Time) -> None:
    lease = running(backfill, clock, max_wallclock_seconds=0)
    retires(backfill, ("vac@lab", "7.0"))
    look(backfill)
    told = feature(lease, "shutdowntime_job")
    (backfill.base / "slots").write_text("no JSON")
    assert any("condor_status" in error for error in look(backfill))
    assert feature(lease, "shutdowntime_job") == told
    assert told is not None


def test_a_node_whose_vms_are_no_backfill_does_not_ask(node: Node, clock: Time) -> None:
    running(node, clock, max_wallclock_seconds=0)
    retires(node, ("vac@lab", "7.0"))
    look(node)
    clock.now += 10**6
    look(node)
    assert actions(node) == []
