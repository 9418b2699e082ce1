# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases and their files: what is kept, what changes with a VM's life, and what is no lease."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import UsageError, VacError
from condor_vac.worker.lease import store as lease_store
from condor_vac.worker.lease.store import Export, Lease, Store, check_uuid, is_uuid
from tests.unit.condor_vac.worker.conftest import Time

UUID = "01234567-89ab-cdef-0123-456789abcdef"
OTHER_UUID = "11111111-89ab-cdef-0123-456789abcdef"
LEAST: dict[str, Any] = {
    **dict.fromkeys(("machinetype", "user", "mac", "hostname", "network", "filter", "gateway"), "x"),
    **dict.fromkeys(("machinefeatures", "jobfeatures", "joboutputs", "chirp_config", "console"), "/x"),
    "uuid": UUID,
    "domain": "vac_lab_7.0",
    "uid": 12,
    "gid": 13,
    "sandbox": "/execute/dir_1",
    "address": "192.168.86.10",
    "sharing": "nfs",
    "created": 5,
    "created_boottime": 7.5,
    "fizzle_seconds": 600,
    "max_wallclock_seconds": 0,
    "heartbeat_seconds": 0,
    "evidence_cpu_fraction": 0.3,
}
STOPPING = {"cause": "wallclock", "message": "700 Exceeded", "boottime": 9.0}
MOST: dict[str, Any] = {
    **LEAST,
    "heartbeat_file": "beat",
    "images": ["a.iso"],
    "started": 6,
    "started_boottime": 8.5,
    "ended": 7,
    "ended_boottime": 9.5,
    "saved": True,
    "stopping": STOPPING,
    "leaves": 8,
    "leaves_boottime": 10.5,
}


def lease_of(**changes: Any) -> Lease:
    return Lease.from_mapping({**LEAST, **changes})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(str(tmp_path / "run"))
    with made.lock():
        return made


def test_every_field_of_a_lease_is_kept() -> None:
    for values in (LEAST, MOST):
        found = Lease.from_mapping(values)
        assert {**found.to_mapping(), **values, "images": found.images} == found.to_mapping()
        assert Lease.from_mapping({**values, "of_another_version": 1}) == found
        assert Lease.from_mapping(json.loads(json.dumps(found.to_mapping()))) == found


@pytest.mark.parametrize("name", LEAST)
def test_each_of_these_is_needed(name: str) -> None:
    with pytest.raises(VacError, match=f"^not a lease: {name}: "):
        Lease.from_mapping({key: value for key, value in LEAST.items() if key != name})


@pytest.mark.parametrize("name", ["machinetype", "user", "uuid", "address", "sharing", "heartbeat_file"])
@pytest.mark.parametrize(("value", "good"), [("y" * 1024, True), ("y" * 1025, False), ("", False), ("a\nb", False)])
def test_texts_are_one_line_each(name: str, value: object, good: bool) -> None:
    if good:
        assert getattr(lease_of(**{name: value}), name) == value
    else:
        with pytest.raises(VacError, match=f"^not a lease: {name}: must be one line of text"):
            lease_of(**{name: value})


def test_a_text_is_no_number() -> None:
    with pytest.raises(VacError, match=r"^not a lease: user: must be one line of text"):
        lease_of(user=1)


@pytest.mark.parametrize("name", ["sandbox", "joboutputs", "console"])
def test_paths_are_absolute(name: str) -> None:
    with pytest.raises(VacError, match=f"^not a lease: {name}: must be an absolute path"):
        lease_of(**{name: "x/dir_1"})
    with pytest.raises(VacError, match=f"^not a lease: {name}: must be one line of text"):
        lease_of(**{name: ["/x"]})


@pytest.mark.parametrize(
    ("stopping", "message"),
    [
        ([], "must have cause, message and boottime"),
        ({}, "must have cause, message and boottime"),
        ({**STOPPING, "more": 1}, "must have cause, message and boottime"),
        ({**STOPPING, "cause": 1}, "must be one line of text"),
        ({**STOPPING, "message": ""}, "must be one line of text"),
        ({**STOPPING, "boottime": "x"}, "must be a number"),
    ],
)
def test_why_a_vm_is_ended_is_whole(stopping: object, message: str) -> None:
    assert lease_of(stopping=STOPPING).stopping == STOPPING
    with pytest.raises(VacError, match=f"^not a lease: stopping: {message}"):
        lease_of(stopping=stopping)


def test_what_may_be_missing_is_checked_where_it_is_there() -> None:
    check = lease_store._or_null(lambda value: f"checked {value}")
    assert (check(None), check(0), check("x")) == (None, "checked 0", "checked x")


@pytest.mark.parametrize(
    ("owner", "job", "its"),
    [
        ("vac@lab", "7.0", True),
        ("vac_lab@other", "7.0", True),
        ("vac_lab@a@b", "7.0", True),
        ("vac@lab", "7.1", False),
        ("vac@la", "7.0", False),
        ("vac", "7.0", False),
    ],
)
def test_whose_vm_it_is(owner: str, job: str, its: bool) -> None:
    assert lease_of().is_of(owner, job) is its


@pytest.mark.parametrize("sharing", ["nfs", "both"])
def test_only_the_outputs_are_exported_writable_and_to_the_address(sharing: str) -> None:
    lease = lease_of(sharing=sharing, machinefeatures="/m", jobfeatures="/j", joboutputs="/o")
    address = "192.168.86.10"
    assert lease.exports() == {Export("/m", address): False, Export("/j", address): False, Export("/o", address): True}
    assert lease_of(sharing="http").exports() == {}


def test_a_vms_life(clock: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1700000000.9)
    made = lease_of()
    assert made.runtime() == 0.0
    started = made.with_start()
    assert started == made._replace(started=1700000000, started_boottime=1000.0, saved=False)
    clock.now += 30
    assert started.runtime() == 30.0
    assert started.with_saved() == started._replace(saved=True)
    assert started.with_saved().with_start() == started
    assert started.with_stop("c", "m", 5.0) == started._replace(
        stopping={"cause": "c", "message": "m", "boottime": 5.0}
    )
    leaving = started.with_leave(clock.now + 60)
    assert leaving == started._replace(leaves=1700000060, leaves_boottime=1090.0)
    assert leaving.with_leave(None) == started
    ended = started.with_end()
    assert ended == started._replace(ended=1700000000, ended_boottime=1030.0)
    clock.now += 30
    assert ended.with_end() == ended
    assert ended.runtime() == 30.0
    assert ended._replace(ended_boottime=990.0).runtime() == 0.0


def test_a_vm_that_started_in_the_first_second_has_started() -> None:
    assert lease_of(started=0, started_boottime=0.0).with_start().started == 0
    assert lease_of(saved=True).with_start().saved is False
    assert lease_of(ended=0, ended_boottime=0.0).with_end().ended == 0
    assert lease_of(started=0, started_boottime=0.0, ended=1, ended_boottime=0.5).runtime() == 0.5


def test_time_is_that_since_boot() -> None:
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert 0 <= lease_store.boottime() - uptime < 300


def test_leases_are_kept_one_file_each_readable_by_all(store: Store) -> None:
    first, second = lease_of(created_boottime=9.0), lease_of(uuid=OTHER_UUID, domain="vac_lab_8.0")
    assert store.read() == ([], [])
    for lease in (first, second):
        store.save(lease)
    assert store.all() == [second, first]
    assert (store.by_uuid(UUID), store.by_domain("vac_lab_8.0"), store.by_domain("vac_lab_9.0")) == (
        first,
        second,
        None,
    )
    path = Path(store.directory, f"{UUID}.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert path.read_text().endswith("}\n")
    store.delete(first)
    store.delete(first)
    assert store.by_uuid(UUID) is None
    assert store.all() == [second]


def test_a_node_without_leases_has_none(tmp_path: Path) -> None:
    assert Store(str(tmp_path / "nowhere")).read() == ([], [])


def test_a_directory_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    (tmp_path / "leases").touch()
    with pytest.raises(VacError, match=f"^{tmp_path}/leases: cannot be listed: Not a directory; check it as root$"):
        Store(str(tmp_path)).all()


def test_other_files_are_no_leases(store: Store) -> None:
    store.save(lease_of())
    for name in (f".{OTHER_UUID}.json", "x.txt", "json"):
        Path(store.directory, name).write_text("{}")
    assert store.read() == ([lease_of()], [])


def test_a_change_is_made_to_what_is_there_now(store: Store) -> None:
    store.save(lease_of(created=6))
    changed = store.update(UUID, lambda found: found._replace(saved=True))
    assert changed == lease_of(created=6, saved=True)
    assert store.all() == [changed]
    assert store.update(OTHER_UUID, lambda found: found) is None
    assert store.all() == [changed]


def _write(text: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(text)


@pytest.mark.parametrize(
    ("damage", "reason", "unreadable"),
    [
        (lambda path: path.symlink_to("nowhere"), "a link", False),
        (lambda path: path.symlink_to(f"{UUID}.json"), "a link", False),
        (lambda path: path.mkdir(), "not a regular file", False),
        (os.mkfifo, "not a regular file", False),
        (_write(b"[" * 60000), "maximum recursion depth", False),
        (_write(b" " * 65537), "larger than 65536 bytes", False),
        (_write(b"{"), "Expecting", False),
        (_write(b"\xff"), "'utf-8' codec", False),
        (_write(b"[]"), "not a lease: ", False),
        (_write(json.dumps(LEAST).encode()), "is the lease of another UUID", False),
        (lambda path: None, "cannot be read: Input/output error", True),
    ],
)
def test_what_is_no_lease_is_known_by_its_name_and_stops_no_other(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[Path], object],
    reason: str,
    unreadable: bool,
) -> None:
    store.save(lease_of())
    path = Path(store.directory, f"{OTHER_UUID}.json")
    damage(path)
    if unreadable:
        path.touch()
        real = os.open

        def fails(name: Any, *arguments: Any, **options: Any) -> int:
            if name == str(path):
                raise OSError(5, "Input/output error")
            return real(name, *arguments, **options)

        monkeypatch.setattr(os, "open", fails)
    leases, (damaged,) = store.read()
    assert leases == [lease_of()]
    assert (damaged.path, damaged.uuid, damaged.unreadable) == (str(path), OTHER_UUID, unreadable)
    assert damaged.reason.startswith(f"{path}: {reason}")
    with pytest.raises(VacError) as found:
        store.by_uuid(OTHER_UUID)
    assert str(found.value) == damaged.reason
    kept = store.put_aside(damaged)
    assert kept == f"{store.run_directory}/damaged/{OTHER_UUID}.json"
    assert os.path.lexists(kept)
    assert store.read() == ([lease_of()], [])
    with pytest.raises(VacError, match=rf"^{path}: cannot be put aside: No such .*; remove it as root$"):
        store.put_aside(damaged)


def test_the_largest_file_is_read(store: Store) -> None:
    text = json.dumps(LEAST).encode()
    Path(store.directory, f"{UUID}.json").write_bytes(text.ljust(65536))
    assert store.read() == ([lease_of()], [])


def test_what_is_released_between_listing_and_reading_is_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "listdir", lambda _: [f"{UUID}.json"])
    assert store.read() == ([], [])


def test_a_uuid_is_one_in_lower_case() -> None:
    assert is_uuid(UUID)
    assert check_uuid(UUID) == UUID
    for other in (UUID.upper(), f"{UUID}\n", f"x{UUID}", "", None, 1, UUID.encode()):
        assert not is_uuid(other)
        with pytest.raises(UsageError) as found:
            check_uuid(other)
        assert str(found.value) == f"uuid: {str(other)!r}: must be a UUID in lower case"
    with pytest.raises(UsageError, match=r"^uuid: 'x{80}': must be"):
        check_uuid("x" * 81)


def test_where_the_node_keeps_them() -> None:
    made = Store()
    assert (made.directory, made.aside) == ("/run/condor_vac/leases", "/run/condor_vac/damaged")
