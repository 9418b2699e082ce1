# SPDX-License-Identifier: GPL-3.0-or-later
"""A try of the same job whose starter still lives is waited for; others, and what others write, are not."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from condor_vac.base.errors import VacError
from condor_vac.worker.vm import earlier_try

AD = 'ClusterId = {cluster}\nCmd = "x"\nProcId = {proc}\n'


@pytest.fixture
def starter() -> Iterator[int]:
    """A process that lives."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process.pid
        process.kill()


def sandbox(execute: Path, number: int, cluster: int = 7, proc: int = 0, below: str = "scratch") -> str:
    place = execute / f"dir_{number}" / below
    place.mkdir(parents=True)
    (place / ".job.ad").write_text(AD.format(cluster=cluster, proc=proc))
    return str(place)


@pytest.mark.parametrize("below", ["scratch", ""])
def test_a_living_starter_with_the_same_job_is_named_after_the_wait(tmp_path: Path, starter: int, below: str) -> None:
    own = sandbox(tmp_path, 1, below=below)
    sandbox(tmp_path, starter, below=below)
    with pytest.raises(VacError, match=f"earlier try of this job has not ended .*{starter}"):
        earlier_try.wait(7, 0, own, str(tmp_path), patience=0)


def test_its_end_ends_the_wait(tmp_path: Path, starter: int, monkeypatch: pytest.MonkeyPatch) -> None:
    own = sandbox(tmp_path, 1)
    other = Path(sandbox(tmp_path, starter), ".job.ad")
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            other.unlink()

    monkeypatch.setattr(time, "sleep", sleep)
    earlier_try.wait(7, 0, own, str(tmp_path), patience=600)
    assert len(waited) == 3


@pytest.mark.parametrize("job", [(8, 0), (7, 1), (70, 0)])
def test_another_job_is_not_waited_for(tmp_path: Path, starter: int, job: tuple[int, int]) -> None:
    own = sandbox(tmp_path, 1)
    sandbox(tmp_path, starter, *job)
    earlier_try.wait(7, 0, own, str(tmp_path), patience=0)


def test_its_own_sandbox_and_that_of_a_dead_starter_are_not_waited_for(tmp_path: Path) -> None:
    own = sandbox(tmp_path, os.getpid())
    sandbox(tmp_path, 2**22 + 5)
    earlier_try.wait(7, 0, own, str(tmp_path), patience=0)


def test_links_and_nonsense_are_no_ads(tmp_path: Path, starter: int) -> None:
    own = sandbox(tmp_path, 1)
    (tmp_path / f"dir_{starter}").mkdir()
    (tmp_path / f"dir_{starter}" / ".job.ad").symlink_to(f"{own}/.job.ad")
    (tmp_path / "dir_x").mkdir()
    (tmp_path / "dir_9.recover").write_text("")
    earlier_try.wait(7, 0, own, str(tmp_path), patience=0)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives a file away")
def test_what_another_user_wrote_is_not_believed(tmp_path: Path, starter: int) -> None:
    own = sandbox(tmp_path, 1)
    other = sandbox(tmp_path, starter)
    os.chown(f"{other}/.job.ad", 12345, 12345)
    earlier_try.wait(7, 0, own, str(tmp_path), patience=0)
