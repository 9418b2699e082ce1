# SPDX-License-Identifier: GPL-3.0-or-later
"""Good VMs beside one damaged, hostile, slow or unreadable thing: they are served in the same run of vac_watch.

Each case has two good VMs: one over its wall-clock limit, which must be stopped, and one that must be left alone. The
bad thing is named once in what a run reports or logs.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import VacError
from condor_vac.worker import troubles
from condor_vac.worker.lease import grant
from condor_vac.worker.lease.requests import AcquireRequest, Caller
from condor_vac.worker.lease.store import Lease
from condor_vac.worker.libvirt import Domain
from condor_vac.worker.programs import watch
from condor_vac.worker.vm import outputs
from condor_vac.worker.watch import rules
from condor_vac.worker.watch.rules import Sample
from condor_vac.worker.watch.samples import Samples
from tests.unit import damage
from tests.unit.condor_vac.worker.conftest import GID, UID, Node, Time, lease_files
from tests.unit.condor_vac.worker.watched import crowd, domain, ended, look, run_all, running

# Many cases, or cases that wait: too much for `make check`.
pytestmark = pytest.mark.slow

HARMLESS = {"from the future"}


class Vms:
    """Three VMs: ``over`` its limit, a ``good`` one, and the ``bad`` one."""

    def __init__(self, node: Node, clock: Time) -> None:
        self.node, self.clock = node, clock
        self.good, self.over, self.bad = crowd(node, clock, 3)
        self.over = node.change(self.over, max_wallclock_seconds=60)
        clock.now += 100

    @property
    def lease_file(self) -> Path:
        return Path(self.node.store.directory, f"{self.bad.uuid}.json")

    def look(self, capsys: pytest.CaptureFixture[str]) -> tuple[list[str], str]:
        """The errors of one run, and all that it said."""
        capsys.readouterr()
        errors = look(self.node)
        assert ended(self.node).count(self.over.uuid) == 1, "the VM over its limit is stopped in the same run"
        assert self.good.uuid not in ended(self.node)
        return errors, capsys.readouterr().out + "\n".join(errors)


@pytest.fixture
def vms(node: Node, clock: Time) -> Vms:
    return Vms(node, clock)


def next_lease(node: Node) -> Lease:
    request = AcquireRequest(**node.request(sandbox=node.sandbox(50), domain="vac_lab_50.0"))
    return grant.acquire(request, Caller(UID, GID), node.settings, node.store)


@pytest.mark.parametrize("kind", sorted(damage.MADE))
def test_a_damaged_lease_is_put_aside_and_its_vm_ended(vms: Vms, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whose VM that is nobody knows any more; until it has ended its address is no other VM's."""
    damage.MADE[kind](vms.lease_file)
    node = vms.node
    address = next_lease(node).address
    assert address == "192.168.86.13"
    errors, said = vms.look(capsys)
    assert errors == []
    if kind in HARMLESS:
        assert vms.bad.uuid not in ended(node)
        return
    assert vms.bad.uuid in ended(node)
    assert said.count(f"{vms.lease_file}: ") == 1
    assert os.path.lexists(node.base / "run" / "damaged" / vms.lease_file.name)
    assert {one["uuid"] for one in lease_files(node)} >= {vms.good.uuid, vms.over.uuid}
    assert not os.path.lexists(vms.lease_file)
    assert not [line for line in node.exported() if vms.bad.address in line.split("(")[0].split()]
    assert look(node) == []


@pytest.mark.parametrize("kind", sorted(damage.UNREADABLE))
def test_a_lease_that_cannot_be_read_now_keeps_its_vm_and_address(
    vms: Vms, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    node = vms.node
    run_all(node, [vms.good, vms.over, vms.bad])
    node.describe_domain(vms.bad.domain, vms.bad.uuid, vms.bad.console)
    with monkeypatch.context() as patch:
        damage.unreadable(patch, vms.lease_file, kind)
        assert next_lease(node).address == "192.168.86.13"
        errors, said = vms.look(capsys)
    assert [vms.lease_file.name in error and "its VM is not checked" in error for error in errors] == [True]
    assert said.count(str(vms.lease_file)) == 1
    assert vms.bad.uuid not in ended(node)
    assert len([line for line in node.exported() if vms.bad.address in line.split("(")[0].split()]) == 3
    assert look(node) == []
    assert {one.uuid for one in node.store.all()} >= {vms.bad.uuid}


def test_every_wrong_type_in_a_lease(node: Node, clock: Time) -> None:
    """Wherever it is: the file is no lease, or what it holds can be worked with; never an exception."""
    lease = running(node, clock)
    path = Path(node.store.directory, f"{lease.uuid}.json")
    document = {**json.loads(path.read_text()), "stopping": {"cause": "x", "message": "y", "boottime": 1.0}}
    cases = list(damage.wrong_types(document))
    assert len(cases) > 300
    refused = 0
    for name, text in cases:
        path.write_text(text)
        leases, damaged = node.store.read()
        assert len(leases) + len(damaged) == 1, name
        refused += len(damaged)
        for one in leases:
            sample = rules.look(one, None, clock.now, (1.0, 1), None)
            rules.violation(one, sample)
            assert one.exports() is not None
    assert refused > 250


def _unreadable(patch: pytest.MonkeyPatch, path: Path, number: int) -> None:
    """This file alone: the VM's lease has the same name."""
    real = os.open

    def opened(name: Any, *arguments: Any, **options: Any) -> int:
        if name == str(path):
            raise OSError(number, os.strerror(number), name)
        return real(name, *arguments, **options)

    patch.setattr(os, "open", opened)


@pytest.mark.parametrize("kind", [*sorted(damage.MADE), *sorted(damage.UNREADABLE)])
def test_a_damaged_state_of_a_vm(
    vms: Vms, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_all(vms.node, [vms.good, vms.bad])
    look(vms.node)
    path = vms.node.base / "run" / "watch" / f"{vms.bad.uuid}.json"
    run_all(vms.node, [vms.good, vms.over, vms.bad])
    with monkeypatch.context() as patch:
        if kind in damage.MADE:
            damage.MADE[kind](path)
        else:
            _unreadable(patch, path, damage.UNREADABLE[kind])
        errors, said = vms.look(capsys)
    assert errors == []
    assert said.count(f"{path}: ") == (kind not in HARMLESS)
    assert look(vms.node) == []
    assert json.loads(path.read_text())["boottime"] == vms.clock.now


@pytest.mark.parametrize(("seconds", "kept"), [(0, True), (2**63 - 1, True), (-(2**63), True), (10**30, False)])
def test_a_heartbeat_of_the_farthest_time_is_remembered(tmp_path: Path, seconds: int, kept: bool) -> None:
    """A VM can give its file any time that the file system holds; tmpfs has all of 64 bits. Its grace must not begin
    anew with each run.
    """
    samples, sample = Samples(str(tmp_path), print), Sample(10.0, 1.0, 5.0, seconds * 10**9, 6.0)
    samples.save("uuid", sample)
    assert samples.load("uuid", 11.0) == (sample if kept else None)


def test_every_wrong_type_in_a_state(vms: Vms) -> None:
    run_all(vms.node, [vms.good, vms.bad])
    look(vms.node)
    path = vms.node.base / "run" / "watch" / f"{vms.bad.uuid}.json"
    document = json.loads(path.read_text())
    watching = watch.Watch(vms.node.store, vms.node.settings)
    for _name, text in [*damage.wrong_types(document), ("future", json.dumps({**document, "boottime": 1e9}))]:
        path.write_text(text)
        watching._check(vms.bad, Domain(vms.bad.domain, 1, 2.0, 1))
        assert json.loads(path.read_text())["boottime"] == vms.clock.now
    assert ended(vms.node) == []


@pytest.mark.parametrize("kind", [*sorted(damage.MADE), *sorted(damage.UNREADABLE)])
def test_a_damaged_plan_of_a_shutdown(
    vms: Vms, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = vms.node.base / "run" / "shutdowntime"
    path.write_text("4000000000\n")
    if kind in damage.MADE:
        damage.MADE[kind](path)
    else:
        damage.unreadable(monkeypatch, path, kind)
    run_all(vms.node, [vms.good, vms.over, vms.bad])
    errors, said = vms.look(capsys)
    expected = kind not in HARMLESS
    assert len([error for error in errors if str(path) in error]) == expected
    assert said.count(str(path)) == expected
    assert vms.bad.uuid not in ended(vms.node)


def deep(vms: Vms, levels: int) -> None:
    fd = os.open(vms.bad.joboutputs, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)


def flat(vms: Vms) -> None:
    for number in range(40):
        Path(vms.bad.joboutputs, str(number)).mkdir()


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda vms: deep(vms, 1100), "700 Outputs nest deeper than 32 directories"),
        (lambda vms: deep(vms, 33), "700 Outputs nest deeper than 32 directories"),
        (lambda vms: deep(vms, 32), None),
        (flat, "700 More than 20 outputs"),
    ],
)
def test_outputs_of_a_bad_shape(
    vms: Vms,
    made: Callable[[Vms], None],
    message: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if made is flat:
        monkeypatch.setattr(outputs, "MOST_ENTRIES", 20)
    made(vms)
    run_all(vms.node, [vms.good, vms.over, vms.bad])
    errors, said = vms.look(capsys)
    assert errors == []
    assert (vms.bad.uuid in ended(vms.node)) == (message is not None)
    if message is not None:
        assert said.count(f"{vms.bad.label}: {message}") == 1
    # Deeper than shutil removes.
    subprocess.run(["rm", "-rf", vms.bad.joboutputs], check=True)


def test_counting_outputs_keeps_few_descriptors_open(vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    deep(vms, 200)
    most = 0
    real = os.stat

    def stat(*arguments: Any, **options: Any) -> os.stat_result:
        nonlocal most
        most = max(most, len(os.listdir("/proc/self/fd")))
        return real(*arguments, **options)

    before = len(os.listdir("/proc/self/fd"))
    fd = os.open(vms.bad.sandbox, os.O_RDONLY)
    monkeypatch.setattr(os, "stat", stat)
    assert outputs.usage(fd).too_deep
    monkeypatch.undo()
    os.close(fd)
    assert 0 < most - before <= 2 * outputs.MOST_DEPTH + 8
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_a_sandbox_that_the_disk_does_not_show_is_not_gone(
    vms: Vms, number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = os.lstat

    def lstat(path: Any, **options: Any) -> os.stat_result:
        if str(path) == vms.bad.sandbox:
            raise OSError(number, os.strerror(number), path)
        return real(path, **options)

    run_all(vms.node, [vms.good, vms.over, vms.bad])
    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", lstat)
        errors, _said = vms.look(capsys)
    assert {os.strerror(number) in error and error.startswith(vms.bad.domain) for error in errors} == {True}
    assert vms.bad.uuid not in ended(vms.node)
    assert len(lease_files(vms.node)) == 3
    # And what is really gone, is.
    Path(vms.bad.sandbox).rename(f"{vms.bad.sandbox}.away")
    assert look(vms.node) == []
    assert vms.bad.uuid in ended(vms.node)
    assert len(lease_files(vms.node)) == 2


@pytest.mark.parametrize(
    "block",
    [
        "Domain: 'odd'\n  state.state=running\n",
        "Domain: 'odd'\n  vcpu.current=-\n  vcpu.0.time=\x1b[31m\n",
        "Domain: \n",
        "Domain: 'odd'\n  state.state=9999999999999999999999\n",
        "Domain: 'odd'",
    ],
)
def test_a_domain_with_odd_numbers(vms: Vms, block: str, capsys: pytest.CaptureFixture[str]) -> None:
    run_all(vms.node, [vms.good, vms.over, vms.bad])
    stats = vms.node.base / "domstats"
    stats.write_text(block + "\n" + stats.read_text())
    assert vms.look(capsys)[0] == []
    # A VM of ours of which libvirt says nothing useful has not ended.
    stats.write_text(stats.read_text().replace("state.state=1", "state.state=?"))
    for _ in range(4):
        vms.clock.now += 30
        assert look(vms.node) == []
    assert len(lease_files(vms.node)) == 3


def test_another_vm_of_the_leases_name_is_left_alone(
    vms: Vms, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """virsh finds no domain of the UUID: the name is an administrator's VM's."""
    virsh = vms.node.base / "bin" / "virsh"
    refuse = (
        f'case "$*" in *{vms.over.uuid}*) echo "error: failed to get domain \'{vms.over.uuid}\'" >&2; exit 1;; esac\n'
    )
    virsh.write_text(virsh.read_text().replace("exit 0\n", f"{refuse}exit 0\n"))
    run_all(vms.node, [vms.good, vms.over, vms.bad])
    errors, said = vms.look(capsys)
    assert errors == []
    assert f"{vms.over.label}: no domain has its lease's UUID: a domain of this name is another VM's" in said
    assert not [line for line in vms.node.called("virsh") if "domstats" not in line and vms.over.domain in line]


def test_a_fault_of_the_program_costs_one_vm(
    vms: Vms, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = rules.look

    def fails(lease: Lease, *rest: Any) -> rules.Sample:
        if lease.uuid == vms.bad.uuid:
            raise KeyError("unexpected")
        return real(lease, *rest)

    monkeypatch.setattr(rules, "look", fails)
    run_all(vms.node, [vms.good, vms.over, vms.bad])
    errors, _said = vms.look(capsys)
    assert errors == [f"{vms.bad.label}: KeyError: 'unexpected'"]


def test_an_error_is_logged_once_and_stays_known(
    node: Node, clock: Time, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watch, "Store", lambda **_options: node.store)
    lease = running(node, clock)
    domain(node, lease)
    assert watch.main() == 0
    plan = node.base / "run" / "shutdowntime"
    plan.write_text("soon")
    printed = []
    for _ in range(3):
        assert watch.main() == 1
        printed.append(capsys.readouterr().err)
    assert [text.count("holds no Unix time; run condor_vac shutdowntime set or cancel") for text in printed] == [
        1,
        0,
        0,
    ]
    assert len(troubles.read(node.store.run_directory)) == 1
    plan.unlink()
    assert watch.main() == 0
    assert troubles.read(node.store.run_directory) == []


def test_an_end_without_an_answer_of_libvirt_is_not_judged(vms: Vms) -> None:
    vms.node.fail("virsh", "error: failed to connect")
    with pytest.raises(VacError, match="failed to connect"):
        look(vms.node)
    assert len(lease_files(vms.node)) == 3


def test_a_link_in_the_place_of_a_sandbox_is_no_way_out_of_limits(vms: Vms, capsys: pytest.CaptureFixture[str]) -> None:
    Path(vms.over.sandbox).rename(f"{vms.over.sandbox}.away")
    Path(vms.over.sandbox).symlink_to(vms.good.sandbox)
    errors, _said = vms.look(capsys)
    assert all(error.startswith(f"{vms.over.label}: ") for error in errors)
