# SPDX-License-Identifier: GPL-3.0-or-later
"""vac_watch on a pretended node: limits, evidence, and what others left behind."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import VacError
from condor_vac.factory import vm_jobs
from condor_vac.worker import shutdown_plan
from condor_vac.worker.lease.store import Lease
from condor_vac.worker.libvirt import Domain
from condor_vac.worker.programs import watch
from condor_vac.worker.vm import outputs
from tests.unit.condor_vac.standins import NOW, RUNNING, ad, machinetype
from tests.unit.condor_vac.worker.conftest import Node, Time, lease_files
from tests.unit.condor_vac.worker.watched import actions, domain, feature, look, running


def test_a_working_vm_is_published_and_not_touched(node: Node, clock: Time) -> None:
    lease = running(node, clock, heartbeat_file="heartbeat", heartbeat_seconds=600)
    for step in range(40):
        clock.now += 30
        domain(node, lease, cpu=27.0 * step)
        node.output(lease, "heartbeat", str(step).encode())
        assert look(node) == []
    assert actions(node) == []
    recorded = node.recorded()
    assert recorded["VacCpuFraction"] == "0.9"
    # Updated since the look before.
    assert 0 <= int(recorded["VacEvidenceTime"]) - int(recorded["VacHeartbeat"]) <= 1
    assert recorded["VacStarted"] == "1"
    updates = [name for name, _ in node.starter.asked].count("VacEvidenceTime")
    assert 2 <= updates <= 5
    # What never changes is published once.
    assert [name for name, _ in node.starter.asked].count("VacUUID") == 1
    assert (recorded["VacUUID"], recorded["VacLeased"]) == (f'"{lease.uuid}"', str(lease.created))


@pytest.mark.parametrize(
    ("busy", "wanted", "fraction", "works"),
    [(1, 0.1, 0.125, True), (1, 0.3, 0.125, False), (3, 0.3, 0.375, True), (0.5, 0.1, 0.062, False)],
)
def test_one_busy_processor_of_eight_reaches_the_factory_as_an_eighth(
    node: Node, clock: Time, busy: float, wanted: float, fraction: float, works: bool
) -> None:
    """From libvirt to what the factory makes of the job's ad; the lease has the machinetype's own measure."""
    lease = running(node, clock, evidence_cpu_fraction=wanted)
    assert lease.evidence_cpu_fraction == wanted
    for step in range(12):
        clock.now += 30
        # It boots with all of them, and then works with some.
        cpu = 30.0 * (8 * min(step, 2) + busy * max(step - 2, 0))
        node.run_domains(Domain(lease.domain, 1, cpu, 8))
        assert look(node) == []
    recorded = node.recorded()
    assert float(recorded["VacCpuFraction"]) == fraction
    kind = machinetype(processors=8, evidence_cpu_fraction=wanted)
    evidence = {"VacEvidenceTime": int(NOW) - 10, "VacCpuFraction": float(recorded["VacCpuFraction"])}
    (job,) = vm_jobs.queue([ad("50.0", RUNNING, **evidence)], kind, NOW).jobs
    assert vm_jobs.works(job, kind, NOW) is works


@pytest.mark.parametrize("own", [0, 1, 10**9, 4 * 10**9, 10**10])
def test_a_heartbeats_time_is_when_it_was_seen_and_not_the_files(node: Node, clock: Time, own: int) -> None:
    """A VM can give its file any time: of one that is not updated any more none is published but the last seen."""
    lease = running(node, clock, heartbeat_file="heartbeat", heartbeat_seconds=0)
    path = Path(lease.joboutputs, "heartbeat")
    for step in range(40):
        clock.now += 30
        domain(node, lease, cpu=float(step))
        if step < 11:
            node.output(lease, "heartbeat", str(step).encode())
            os.utime(path, (own + step, own + step))
        assert look(node) == []
    published = [
        (int(text), int(node.starter.asked[place - 1][1]))
        for place, (name, text) in enumerate(node.starter.asked)
        if name == "VacHeartbeat"
    ]
    ages = [evidence - heartbeat for heartbeat, evidence in published]
    # The clock of the pretended node stands still for time(), so that what grows is the age alone.
    assert len(ages) >= 3
    # Whole seconds: the two may be read on either side of one.
    assert abs(ages[0]) <= 1
    assert ages == sorted(ages)
    assert ages[-1] >= 300


def test_a_heartbeat_file_that_is_only_there_is_published_as_none(node: Node, clock: Time) -> None:
    lease = running(node, clock, heartbeat_file="heartbeat", heartbeat_seconds=0)
    node.output(lease, "heartbeat", b"started")
    for step in range(20):
        clock.now += 30
        domain(node, lease, cpu=float(step))
        assert look(node) == []
    recorded = node.recorded()
    assert "VacEvidenceTime" in recorded
    assert "VacHeartbeat" not in recorded


@pytest.mark.parametrize(
    ("changes", "after", "message"),
    [
        ({"max_wallclock_seconds": 900}, 900, "700 Exceeded max_wallclock_seconds"),
        ({"heartbeat_file": "heartbeat"}, 600, "700 Heartbeat file not created"),
    ],
)
def test_power_button_then_grace_then_destroy(
    node: Node, clock: Time, changes: dict[str, Any], after: float, message: str
) -> None:
    lease = running(node, clock, **changes)
    began = clock.now
    while not actions(node):
        clock.now += 30
        assert look(node) == []
    assert actions(node) == ["shutdown"]
    assert after <= clock.now - began <= after + 60
    assert lease_files(node)[0]["stopping"]["message"] == message
    pressed = clock.now
    while actions(node) == ["shutdown"]:
        clock.now += 30
        look(node)
    assert actions(node) == ["shutdown", "destroy"]
    assert clock.now - pressed >= watch.STOP_GRACE_SECONDS
    assert lease.uuid in {item.uuid for item in node.store.all()}


def test_its_own_restart_changes_nothing(node: Node, clock: Time) -> None:
    lease = running(node, clock, heartbeat_file="heartbeat", heartbeat_seconds=600)
    node.output(lease, "heartbeat", b"1")
    for _ in range(30):
        clock.now += 30
        node.output(lease, "heartbeat", str(clock.now).encode())
        look(node)
    clock.now += 7200
    for _ in range(3):
        assert look(node) == []
        clock.now += 30
    shutil.rmtree(f"{node.store.run_directory}/watch")
    assert look(node) == []
    (Path(node.store.run_directory) / "watch" / f"{lease.uuid}.json").write_text("{broken")
    assert look(node) == []
    assert actions(node) == []


def test_without_an_answer_of_libvirt_nothing_is_touched(node: Node, clock: Time) -> None:
    running(node, clock)
    clock.now += 10**6
    node.fail("virsh", "error: failed to connect")
    with pytest.raises(VacError, match="failed to connect"):
        look(node)
    assert len(node.exported()) == 3
    assert actions(node) == []


def test_an_end_that_no_hook_noticed(node: Node, clock: Time) -> None:
    lease = running(node, clock)
    look(node)
    node.run_domains()
    node.output(lease, "shutdown_message", b"200 ok")
    for _ in range(2):
        clock.now += 30
        assert look(node) == []
        assert node.recorded().get("ShutdownCode") is None
    clock.now += 30
    assert look(node) == []
    assert node.recorded()["ShutdownCode"] == "200"
    assert lease_files(node) == []
    assert node.exported() == []


def test_an_end_that_could_not_be_recorded_is_tried_again(node: Node, clock: Time) -> None:
    lease = running(node, clock)
    look(node)
    node.run_domains()
    node.starter.answer = ""
    for _ in range(4):
        clock.now += 30
        look(node)
    assert any("ended the connection" in error for error in look(node))
    assert len(lease_files(node)) == 1
    node.starter.answer = "0"
    clock.now += 30
    assert look(node) == []
    assert lease_files(node) == []
    assert Path(lease.sandbox).exists()


@pytest.mark.parametrize("changes", [{"saved": True}, {"started": None, "started_boottime": None}])
def test_a_vm_that_is_saved_or_not_yet_there_is_left_alone(node: Node, clock: Time, changes: dict[str, Any]) -> None:
    node.change(running(node, clock), **changes)
    node.run_domains()
    for _ in range(5):
        clock.now += 30
        assert look(node) == []
    assert len(lease_files(node)) == 1


def test_a_vm_without_its_sandbox_is_destroyed_and_its_lease_released(node: Node, clock: Time) -> None:
    lease = running(node, clock)
    Path(lease.console).write_text("boot")
    shutil.rmtree(lease.sandbox)
    look(node)
    assert actions(node) == ["destroy"]
    assert lease_files(node) == []
    assert node.exported() == []
    assert not Path(lease.console).exists()


def test_exports_without_a_lease_end_and_others_stay(node: Node, clock: Time) -> None:
    lease = running(node, clock)
    table = node.base / "exports"
    kept = ["/srv/data  10.0.0.1(rw)", f"{node.execute}x/dir_7  192.168.86.30(rw)"]
    stale = f"{node.execute}/dir_99/joboutputs  192.168.86.77(rw)"
    table.write_text(table.read_text() + "\n".join([*kept, stale]) + "\n")
    assert look(node) == []
    assert stale not in node.exported()
    assert set(kept) <= set(node.exported())
    assert len(node.exported()) == 5
    assert lease.uuid == node.store.all()[0].uuid


def test_exports_that_a_new_nfs_server_forgot_come_back(node: Node, clock: Time) -> None:
    running(node, clock)
    before = sorted(node.exported())
    (node.base / "exports").write_text("")
    assert look(node) == []
    assert sorted(node.exported()) == before


def test_consoles_and_samples_of_vms_that_are_gone(node: Node, clock: Time) -> None:
    lease = running(node, clock)
    Path(lease.console).write_text("boot")
    stale = node.base / "console" / "vac-00000000-0000-0000-0000-000000000000.console"
    other = node.base / "console" / "centos7.log"
    for path in (stale, other, Path(f"{stale}.0")):
        path.write_text("x")
    look(node)
    sample = Path(node.store.run_directory, "watch", "00000000-0000-0000-0000-000000000000.json")
    sample.write_text("{}")
    look(node)
    assert sorted(os.listdir(node.base / "console")) == sorted([os.path.basename(lease.console), "centos7.log"])
    assert not sample.exists()


@pytest.mark.parametrize(
    ("name", "ours", "destroyed"), [("vac_lab_9.0", True, True), ("vac_lab_9.0", False, False), ("db", True, False)]
)
def test_only_a_domain_of_ours_without_a_lease_is_destroyed(
    node: Node, clock: Time, name: str, ours: bool, destroyed: bool
) -> None:
    uuid = "11111111-2222-3333-4444-555555555555"
    serial = f"{node.base}/console/vac-{uuid}.console" if ours else "/var/log/db.log"
    node.describe_domain(name, uuid, serial)
    node.run_domains(Domain(name, 1, 1.0, 1))
    assert look(node) == []
    assert actions(node) == (["destroy"] if destroyed else [])


def test_an_error_with_one_vm_does_not_stop_the_check_of_others(node: Node, clock: Time) -> None:
    bad = running(node, clock, sandbox=node.sandbox(1), domain="vac_lab_1.0", heartbeat_file="heartbeat")
    good = running(node, clock, sandbox=node.sandbox(2), domain="vac_lab_2.0", max_wallclock_seconds=60)
    node.run_domains(Domain(bad.domain, 1, 1.0, 1), Domain(good.domain, 1, 1.0, 1))
    shutil.rmtree(bad.sandbox)
    Path(bad.sandbox).symlink_to(good.sandbox)
    clock.now += 100
    assert any(error.startswith(f"{bad.label}: ") for error in look(node))
    assert actions(node) == ["shutdown"]


def plan(node: Node, when: int | None) -> None:
    path = Path(node.store.run_directory, shutdown_plan.NAME)
    if when is None:
        path.unlink()
    else:
        path.write_text(f"{when}\n")


def test_a_planned_shutdown_reaches_vms_and_can_be_called_off(node: Node, clock: Time) -> None:
    lease = running(node, clock, max_wallclock_seconds=86400)
    started = int(time.time())
    Path(lease.jobfeatures, "jobstart_secs").write_text(str(started))
    look(node)
    assert (feature(lease, "shutdowntime"), feature(lease, "shutdowntime_job")) == (started + 86400, started + 86400)
    for when in (started + 7200, started + 10**6):
        plan(node, when)
        assert look(node) == []
        assert feature(lease, "shutdowntime") == min(when, started + 86400)
        assert feature(lease, "shutdowntime_job") == min(when, started + 86400)
    plan(node, None)
    assert look(node) == []
    assert (feature(lease, "shutdowntime"), feature(lease, "shutdowntime_job")) == (started + 86400, started + 86400)
    assert actions(node) == []


def test_when_the_planned_time_has_come_vms_are_stopped(node: Node, clock: Time) -> None:
    running(node, clock)
    look(node)
    plan(node, int(time.time()) - 1)
    look(node)
    assert actions(node) == ["shutdown"]
    assert lease_files(node)[0]["stopping"]["message"].startswith("100 ")
    clock.now += watch.STOP_GRACE_SECONDS
    look(node)
    assert actions(node) == ["shutdown", "destroy"]


def test_a_plan_that_cannot_be_read_stops_nothing(node: Node, clock: Time) -> None:
    running(node, clock)
    Path(node.store.run_directory, shutdown_plan.NAME).write_text("tomorrow")
    assert any("shutdowntime" in error for error in look(node))
    assert actions(node) == []


def test_what_libvirts_hook_wrote_meanwhile_stays(node: Node, clock: Time) -> None:
    lease = running(node, clock, max_wallclock_seconds=60)
    watching = watch.Watch(node.store, node.settings)
    watching.run()
    seen = node.store.all()[0]
    node.store.update(lease.uuid, Lease.with_end)
    clock.now += 100
    watching._check(seen, Domain(lease.domain, 1, 1.0, 1))
    assert lease_files(node)[0]["ended"] is not None
    assert lease_files(node)[0]["stopping"]["cause"] == "wallclock"


@pytest.mark.parametrize("place", ["", "below/", "below/deeper/"])
def test_outputs_that_fill_the_nodes_disk_end_their_vm(node: Node, clock: Time, place: str) -> None:
    lease = running(node, clock)
    limit = node.settings.outputs_mb << 20
    target = Path(lease.joboutputs, place)
    target.mkdir(parents=True, exist_ok=True)
    (target / "sparse").touch()
    os.truncate(target / "sparse", 10 * limit)
    assert look(node) == []
    assert actions(node) == []
    small = node.settings._replace(outputs_mb=1)
    (target / "big").write_bytes(b"x" * (2 << 20))
    assert watch.Watch(node.store, small).run() == []
    assert actions(node) == ["shutdown"]
    stopping = lease_files(node)[0]["stopping"]
    assert (stopping["cause"], stopping["message"]) == ("outputs", "700 Outputs exceed 1 MiB")


def test_a_flood_of_outputs_ends_its_vm(node: Node, clock: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = running(node, clock)
    monkeypatch.setattr(outputs, "MOST_ENTRIES", 20)
    for number in range(20):
        Path(lease.joboutputs, f"{number}").touch()
    look(node)
    assert actions(node) == []
    Path(lease.joboutputs, "one more").touch()
    look(node)
    assert actions(node) == ["shutdown"]
    assert lease_files(node)[0]["stopping"]["message"] == "700 More than 20 outputs"


def test_a_link_in_place_of_outputs_is_not_counted(node: Node, clock: Time) -> None:
    lease = running(node, clock)
    Path(lease.joboutputs).rmdir()
    elsewhere = node.base / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "big").write_bytes(b"x" * (2 << 20))
    os.symlink(elsewhere, lease.joboutputs)
    watch.Watch(node.store, node.settings._replace(outputs_mb=1)).run()
    assert actions(node) == []
