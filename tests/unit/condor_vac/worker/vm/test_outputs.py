# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a guest's outputs goes back with the job: within the bounds of docs/security.md, and nothing by a link."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from condor_vac.base.errors import VacError
from condor_vac.worker.vm import outputs


def keep(sandbox: Path) -> list[str]:
    fd = os.open(sandbox, os.O_RDONLY)
    try:
        return outputs.keep_safe_files(fd)
    finally:
        os.close(fd)


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    (tmp_path / "joboutputs").mkdir()
    return tmp_path / "joboutputs"


def test_only_plain_files_of_one_link_go_back(tmp_path: Path, guest: Path) -> None:
    (guest / "vm-pilot.log").write_text("log")
    (guest / "shutdown_message").write_text("200")
    (guest / "link").symlink_to("/etc/passwd")
    (guest / "dangling.log").symlink_to("/nowhere")
    (guest / "directory").mkdir()
    os.mkfifo(guest / "fifo")
    (guest / "one").write_text("x")
    os.link(guest / "one", guest / "two")
    (guest / "bad\nname").write_text("x")
    (guest / "caf\u00e9").write_text("x")
    assert keep(tmp_path) == ["shutdown_message", "vm-pilot.log"]
    assert sorted(os.listdir(guest)) == ["shutdown_message", "vm-pilot.log"]


MIB = 1 << 20


def sized(guest: Path, **sizes: int) -> None:
    """Files without contents that are as large as this."""
    for name, size in sizes.items():
        path = guest / name.replace("_log", ".log")
        path.touch()
        os.truncate(path, size)


def test_together_they_are_64_mib_at_most(tmp_path: Path, guest: Path) -> None:
    sized(guest, a_log=40 * MIB, b_log=24 * MIB + 1, c_log=23 * MIB, d=MIB + 1, e=MIB, f=1, g=0)
    assert keep(tmp_path) == ["a.log", "c.log", "e", "g"]
    assert sum(path.stat().st_size for path in guest.iterdir()) == 64 * MIB


@pytest.mark.parametrize(("size", "kept"), [(64 * MIB - 3, True), (64 * MIB - 2, False)])
def test_what_comes_first_takes_from_what_comes_later(tmp_path: Path, guest: Path, size: int, kept: bool) -> None:
    (guest / "shutdown_message").write_text("200")
    sized(guest, a_log=size)
    assert ("a.log" in keep(tmp_path)) is kept
    assert (guest / "shutdown_message").read_text() == "200"


@pytest.mark.slow
def test_of_a_flood_200_files_go_back_the_message_and_logs_first(tmp_path: Path, guest: Path) -> None:
    for number in range(6000):
        (guest / f"{number}").touch()
    for name in ("shutdown_message", "vm-pilot.log", "vm-bootstrap.log"):
        (guest / name).write_text(name)
    kept = keep(tmp_path)
    assert kept[:3] == ["shutdown_message", "vm-bootstrap.log", "vm-pilot.log"]
    assert len(kept) == len(os.listdir(guest)) == 200


def test_the_message_and_logs_are_found_wherever_they_are_in_a_flood(
    tmp_path: Path, guest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory has no order: they may come after all that are read."""
    monkeypatch.setattr(outputs, "_MOST_LOOKED_AT", 0)
    for name in ("other.log", "shutdown_message", "vm-pilot.log", "vm-bootstrap.log"):
        (guest / name).write_text(name)
    assert keep(tmp_path) == ["shutdown_message", "vm-bootstrap.log", "vm-pilot.log"]


def test_what_goes_back_can_be_read(tmp_path: Path, guest: Path) -> None:
    """HTCondor sends it as the job's user, whom a guest can take every right."""
    (guest / "shutdown_message").write_text("200")
    (guest / "secret.log").write_text("log")
    for path in guest.iterdir():
        path.chmod(0)
    guest.chmod(0)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        outputs.open_up(fd)
        assert stat.S_IMODE(guest.stat().st_mode) == 0o755
        assert outputs.keep_safe_files(fd) == ["shutdown_message", "secret.log"]
    finally:
        os.close(fd)
    assert {stat.S_IMODE(path.stat().st_mode) for path in guest.iterdir()} == {0o644}


def test_the_rights_of_what_a_link_names_stay(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "joboutputs").symlink_to("elsewhere")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        outputs.open_up(fd)
    finally:
        os.close(fd)
    assert stat.S_IMODE((tmp_path / "elsewhere").stat().st_mode) == 0o700


def test_twice_is_as_once(tmp_path: Path, guest: Path) -> None:
    (guest / "vm-pilot.log").write_text("log")
    assert keep(tmp_path) == ["vm-pilot.log"]
    assert keep(tmp_path) == []
    assert os.listdir(guest) == ["vm-pilot.log"]


def test_an_outputs_directory_that_is_a_link_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "joboutputs").symlink_to("/etc")
    with pytest.raises(VacError, match="joboutputs"):
        keep(tmp_path)


@pytest.mark.parametrize("seed", [True, False])
def test_the_logs_that_an_htcondorvms_job_wants_always_exist(tmp_path: Path, guest: Path, seed: bool) -> None:
    (guest / "vm-pilot.log").write_text("log")
    if seed:
        (tmp_path / "machineoutputs").symlink_to("joboutputs")
    keep(tmp_path)
    assert (tmp_path / "joboutputs" / "vm-bootstrap.log").exists() is seed
    if seed:
        assert (tmp_path / "machineoutputs" / "vm-pilot.log").read_text() == "log"
        assert (tmp_path / "machineoutputs" / "vm-bootstrap.log").read_bytes() == b""


def test_of_a_vm_that_was_never_prepared_nothing_goes_back(tmp_path: Path) -> None:
    assert keep(tmp_path) == []
    assert os.listdir(tmp_path) == ["joboutputs"]


def test_names_are_those_of_the_sandbox_wherever_the_program_runs(
    tmp_path: Path, guest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (guest / "a").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert keep(tmp_path) == ["a"]
    assert os.listdir(elsewhere) == []


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("no_umask")
def test_no_other_user_may_write_what_goes_back(tmp_path: Path, guest: Path) -> None:
    # Also for a link that leads nowhere, the logs are made.
    (tmp_path / "machineoutputs").symlink_to("nowhere")
    keep(tmp_path)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (guest, *guest.iterdir())}
    assert modes == {"joboutputs": 0o755, "vm-bootstrap.log": 0o644, "vm-pilot.log": 0o644}


@pytest.mark.parametrize(("length", "kept"), [(128, True), (129, False)])
def test_names_have_at_most_128_characters(tmp_path: Path, guest: Path, length: int, kept: bool) -> None:
    (guest / ("x" * length)).touch()
    assert (keep(tmp_path) != []) is kept


def test_files_beyond_the_number_stay_and_logs_come_before_others(
    tmp_path: Path, guest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "MOST_FILES", 3)
    for name in ("a", "b", "z.log", "Z.LOG", "shutdown_message"):
        (guest / name).touch()
    assert keep(tmp_path) == ["shutdown_message", "z.log", "Z.LOG"]


def usage(sandbox: Path) -> outputs.Usage:
    fd = os.open(sandbox, os.O_RDONLY)
    try:
        return outputs.usage(fd)
    finally:
        os.close(fd)


def test_what_outputs_take_is_counted_below_directories_too_and_by_no_link(
    tmp_path: Path, guest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (guest / "inner").mkdir()
    sizes = {guest / "a": 5000, guest / "b": 9000, guest / "inner/c": 20000}
    for path, size in sizes.items():
        path.write_bytes(b"x" * size)
    outside = tmp_path / "outside"
    outside.write_bytes(b"x" * (1 << 20))
    (guest / "link").symlink_to(outside)
    (guest / "inner/link").symlink_to(tmp_path)
    monkeypatch.chdir("/")
    blocks = [path.lstat().st_blocks for path in (*sizes, guest / "link", guest / "inner/link")]
    found = usage(tmp_path)
    assert sum(blocks) > 0
    assert (found.used, found.entries, found.too_deep) == (sum(blocks) * 512, 6, False)


def test_nothing_is_taken_where_there_is_nothing(tmp_path: Path) -> None:
    found = usage(tmp_path)
    assert (found.used, found.entries, found.too_deep) == (0, 0, False)


@pytest.mark.parametrize(("depth", "too_deep"), [(32, False), (33, True), (40, True)])
def test_directories_are_counted_to_a_depth(tmp_path: Path, guest: Path, depth: int, too_deep: bool) -> None:
    guest.joinpath(*["d"] * depth).mkdir(parents=True)
    found = usage(tmp_path)
    assert (found.entries, found.too_deep) == (min(depth, 33), too_deep)


def test_counting_stops(tmp_path: Path, guest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "MOST_ENTRIES", 3)
    for name in ("a", "b", "c"):
        (guest / name).touch()
    assert usage(tmp_path).entries == 3
    for name in ("d", "e"):
        (guest / name).touch()
    assert usage(tmp_path).entries == 4


def test_what_vanishes_or_cannot_be_looked_at_does_not_count(
    tmp_path: Path, guest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (guest / "gone").write_bytes(b"x" * 5000)
    (guest / "here").write_bytes(b"x" * 5000)
    real = os.stat

    def vanished(name: str, **options: object) -> os.stat_result:
        if name == "gone":
            raise FileNotFoundError(name)
        return real(name, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", vanished)
    found = usage(tmp_path)
    assert (found.used, found.entries) == ((guest / "here").lstat().st_blocks * 512, 2)
