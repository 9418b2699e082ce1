# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules that programs and plugins share, and that nothing beside them repeats one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

import pytest

from condor_vac.base.errors import VacError
from condor_vac.base.shared import STATUS_WORDS, JobStatus
from condor_vac.condor.pool import Pool
from condor_vac.factory import scheduler_job
from tests.unit.condor_vac.standins import StandInPool, factory_ad

ROOT = Path(__file__).resolve().parents[4]
SHARED = {ROOT / "src/condor_vac/base/shared.py", ROOT / "plugins/module_utils/_shared.py"}
SOURCES = sorted({path for place in ("src", "plugins") for path in (ROOT / place).rglob("*.py")} - SHARED)


def test_each_job_status_has_a_word_of_its_own() -> None:
    numbers = {value for name, value in vars(JobStatus).items() if name.isupper()}
    assert numbers == set(STATUS_WORDS) == set(range(1, 8)), "as condor_q's manual has them"
    assert len(set(STATUS_WORDS.values())) == len(STATUS_WORDS)


@pytest.mark.parametrize(("status", "word"), [(1, "idle"), (4, "completed"), (6, "transferring"), (7, "suspended")])
def test_a_factory_job_of_any_status_can_be_shown(status: int, word: str) -> None:
    """Two tables had five of the seven: a job in another state was an error here, and ``unknown`` to the module."""
    ad = factory_ad("40.0", status)
    assert [job.status for job in scheduler_job.jobs(cast(Pool, StandInPool([ad])))] == [word]


def test_a_job_status_that_htcondor_does_not_have_is_an_error() -> None:
    ad = factory_ad("40.0", 9)
    with pytest.raises(VacError, match="no usable 9"):
        scheduler_job.jobs(cast(Pool, StandInPool([ad])))


def found(pattern: str) -> list[str]:
    """FILE:LINE of what the pattern matches in the sources, the shared file apart."""
    lines = ((path, number, line) for path in SOURCES for number, line in enumerate(path.open(encoding="utf-8"), 1))
    return [f"{path.relative_to(ROOT)}:{number}" for path, number, line in lines if re.search(pattern, line)]


def test_no_other_source_has_numbers_of_states_or_universes() -> None:
    assert found(r"JobStatus [=!]= ([0-9]|\{JobStatus\.)"), "the pattern finds constraints that name a constant"
    assert found(r"Job(Status|Universe)\W{0,3} ?[=!]= ?[0-9]") == []
    assert found(r"^[A-Z_]*(UNIVERSE|COMPLETED)\b.* = [0-9]") == []
