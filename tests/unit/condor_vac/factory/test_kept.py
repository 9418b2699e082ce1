# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of failed VMs: which of them, in what order they go, and what of a hostile VM's files."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from condor_vac.factory import kept, vm_jobs
from condor_vac.factory.job_ad import Job
from tests.unit.condor_vac.standins import COMPLETED, NOW, RUNNING, ad, machinetype

M = machinetype(keep_failed=2)
BATCH = "1764000000-0a0b0c0d"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJwb29sIn0.c2lnbmF0dXJlLW9mLWl0"


def ended(number: int, kind: str = "site", age: int = 100, **attributes: Any) -> Job:
    given = {"VacEnded": int(NOW) - age, "VacKind": kind, "VacRuntime": 900, **attributes}
    (job,) = vm_jobs.queue([ad(f"50.{number}", COMPLETED, ShutdownCode=500, **given)], M, NOW).jobs
    return job


def directory(root: Path, number: int) -> Path:
    place = root / "vms" / BATCH / str(number)
    (place / "joboutputs").mkdir(parents=True, exist_ok=True)
    place.joinpath("console.log").write_text(f"console of {number}")
    return place


def update(root: Path, jobs: Sequence[Job], m: Any = M) -> dict[str, str]:
    return kept.update(str(root), m, jobs, lambda ids: {name: {"VacUUID": f"uuid of {name}"} for name in ids})


def names(root: Path) -> list[str]:
    return [each.job for each in kept.listed(str(root))]


@pytest.mark.parametrize(
    ("kind", "is_kept"),
    [
        *((kind, True) for kind in ("site", "experiment", "agent", "banned", "fizzle")),
        *((kind, False) for kind in ("success", "no_work", "host_request", "none")),
    ],
)
def test_kinds_of_failure_are_kept_and_others_are_not(tmp_path: Path, kind: str, is_kept: bool) -> None:
    directory(tmp_path, 1)
    (running,) = vm_jobs.queue([ad("50.2", RUNNING)], M, NOW).jobs
    assert update(tmp_path, [ended(1, kind), running]) == {}
    assert names(tmp_path) == (["50.1"] if is_kept else [])


def test_the_last_stay_in_the_order_of_their_ends_whatever_the_queue_still_has(tmp_path: Path) -> None:
    jobs = [ended(number, age=1000 - 100 * number) for number in range(5)]
    for number in range(5):
        directory(tmp_path, number)
    seen = []
    for cycle in ([0], [0, 1, 2], [0, 1, 2, 3], [1, 3, 2, 0], [], [4, 3, 0]):
        assert update(tmp_path, [jobs[number] for number in cycle]) == {}
        seen.append(names(tmp_path))
    assert seen == [["50.0"], ["50.1", "50.2"], *[["50.2", "50.3"]] * 3, ["50.3", "50.4"]]
    assert kept.find(str(tmp_path), "50.4") == str(tmp_path / "kept" / f"{int(NOW) - 600}-50.4")
    assert kept.find(str(tmp_path), "50.1") is None
    assert update(tmp_path, jobs, machinetype(keep_failed=1)) == {}
    assert names(tmp_path) == ["50.4"]
    assert update(tmp_path, jobs, machinetype()) == {}
    assert names(tmp_path) == []


def test_a_hostile_vms_files_stay_where_they_are_and_have_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "FILE_BYTES", 100)
    monkeypatch.setattr(kept, "VM_BYTES", 250)
    place = directory(tmp_path, 1)
    outside = tmp_path / "outside"
    outside.write_text("not the guest's")
    outputs = place / "joboutputs"
    (place / "console.log").unlink()
    (place / "console.log").symlink_to(outside)
    (outputs / "link").symlink_to(outside)
    os.link(outside, outputs / "hard")
    (outputs / "nested").mkdir()
    (outputs / "nested" / "file").write_text("x")
    os.mkfifo(outputs / "pipe")
    (outputs / "a\nb\x1b[2J").write_text("x")
    (outputs / "x509_proxy.pem").write_text("x")
    (outputs / "long.log").write_bytes(b"a" * 150 + b"z" * 100)
    for name in ("p", "q"):
        (outputs / name).write_bytes(b"m" * 100)
    assert update(tmp_path, [ended(1)]) == {}
    found = Path(str(kept.find(str(tmp_path), "50.1")))
    assert sorted(str(path.relative_to(found)) for path in found.rglob("*") if path.is_file()) == [
        "context.json", "joboutputs/long.log", "joboutputs/p",
    ]  # fmt: skip
    assert (found / "joboutputs/long.log").read_bytes() == b"z" * 100
    assert json.loads((found / "context.json").read_text())["left_out"] == ["joboutputs/q"]
    assert outside.read_text() == "not the guest's"
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700
    for number in (2, 3):
        target = directory(tmp_path, number) / "joboutputs"
        target.rmdir()
        target.symlink_to(tmp_path)
    assert update(tmp_path, [ended(2, age=50), ended(3, age=40)]) == {}
    assert not list((tmp_path / "kept").rglob("outside"))


def test_secrets_are_not_in_the_copies(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"first line\n{'t' * 30}\n")
    options = {"password": "12345678", "longer": "12345678-and-more", "short": "on"}
    m = machinetype(
        keep_failed=1, user_data_options=options, user_data_files={"token": str(tmp_path / "token")},
        user_data="https://example.org/user_data?token=abcdefgh",
    )  # fmt: skip
    place = directory(tmp_path, 1)
    (place / "x509_proxy.pem").write_text("proxy")
    key = "-----BEGIN RSA PRIVATE KEY-----\nSECRETKEY\n-----END RSA PRIVATE KEY-----"
    unfinished = "-----BEGIN PRIVATE KEY-----\nCUTKEY"
    text = f"on 12345678-and-more\n{key}\n{TOKEN} {'t' * 30} 12345678\nlast\n{unfinished}"
    (place / "console.log").write_text(text)
    (place / "joboutputs" / "agent.log").write_text(f"x12345678x eyJ {TOKEN}")
    assert kept.update(str(tmp_path), m, [ended(1)], lambda _ids: {"50.1": {"ShutdownMessage": "12345678"}}) == {}
    found = Path(str(kept.find(str(tmp_path), "50.1")))
    gone = "[removed: secret]"
    assert (found / "console.log").read_text() == f"on {gone}\n{gone}\n{gone} {gone} {gone}\nlast\n{gone}"
    assert (found / "joboutputs" / "agent.log").read_text() == f"x{gone}x eyJ {gone}"
    context = json.loads((found / "context.json").read_text())
    assert context["ad"] == {"ShutdownMessage": gone}
    assert context["machinetype"]["user_data"] == "https://example.org/user_data?…"
    assert context["machinetype"]["user_data_options"] == ["longer", "password", "short"]
    assert not list(found.rglob("x509_proxy.pem"))
    # Without the secrets nothing can be copied without them.
    (tmp_path / "token").unlink()
    directory(tmp_path, 2)
    (wrong,) = kept.update(str(tmp_path), m, [ended(2, age=10)], lambda _ids: {}).values()
    assert "not kept: " in wrong
    assert kept.find(str(tmp_path), "50.2") is None


def test_a_megabyte_that_looks_like_secrets_takes_no_time_to_speak_of() -> None:
    for part in (
        b"eyJ",
        b"eyJaaaaaaaaaa.",
        b"-----BEGIN PRIVATE KEY-----",
        b"-----BEGIN AAA",
        b"eyJ" + b"a" * 50 + b"\n",
    ):
        data = part * ((1 << 20) // len(part))
        assert len(kept.without_secrets(data, [b"nothing"])) <= len(data) * 2


def test_the_oldest_go_where_the_budget_is_less_than_the_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "BUDGET_BYTES", 25_000)
    m = machinetype(keep_failed=10)
    jobs = []
    for number in range(4):
        (directory(tmp_path, number) / "console.log").write_bytes(b"c" * 8000)
        jobs.append(ended(number, age=500 - number))
        assert update(tmp_path, jobs, m) == {}
        # What went does not come back.
        assert update(tmp_path, jobs, m) == {}
    assert names(tmp_path) == ["50.2", "50.3"]


def test_what_a_killed_factory_left_is_removed_and_a_vm_that_cannot_be_kept_costs_itself(tmp_path: Path) -> None:
    directory(tmp_path, 1)
    directory(tmp_path, 2)
    unfinished = tmp_path / "kept" / ".partial" / "joboutputs"
    unfinished.mkdir(parents=True)
    (unfinished / "old").write_text("of another VM")
    first, second = ended(1, age=50), ended(2, age=40)
    # A file in the place of one VM's directory.
    (tmp_path / "kept" / f"{int(NOW) - 50}-50.1").write_text("x")
    assert update(tmp_path, [second, ended(3, age=30)]) == {}
    assert names(tmp_path) == ["50.2", "50.3"]
    assert not list((tmp_path / "kept").rglob("old"))
    (tmp_path / "other").write_text("a file")
    assert kept.listed(str(tmp_path / "other")) == []
    (wrong,) = kept.update(str(tmp_path / "other"), M, [first], lambda _ids: {}).values()
    assert wrong.startswith("a failed VM's files: ")
