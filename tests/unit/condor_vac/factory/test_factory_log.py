# SPDX-License-Identifier: GPL-3.0-or-later
"""What factory.log has of single jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.condor_vac.factory.factory_cycles import M, cycle, with_factory
from tests.unit.condor_vac.standins import HELD, ad


def test_the_log_names_the_jobs_of_each_submission_and_removal_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = [ad(f"50.{number}", HELD, HoldReasonCode=12, VacDigest=None) for number in range(3)]
    pool = with_factory(*held)
    factory = cycle(pool, tmp_path)
    factory.run(M)
    factory.run(M)
    lines = capsys.readouterr().out.splitlines()
    clusters: dict[int, list[dict[str, Any]]] = {}
    for each in pool.ads:
        if each["ClusterId"] > 60:
            clusters.setdefault(each["ClusterId"], []).append(each)
    assert len(clusters[61]) > 1
    for number, jobs in clusters.items():
        span = f"{number}.0" if len(jobs) == 1 else f"{number}.0 to {number}.{len(jobs) - 1}"
        assert lines.count(f"submitted {span} (batch {jobs[0]['VacBatch']})") == 1
    removals = [line for line in lines if line.startswith("remove 50.")]
    assert [line.partition(": held for ")[0] for line in removals] == ["remove 50.0 50.1 50.2"]
    factory.withdraw(M, "condor_vac: its factory was held or removed")
    ids = " ".join(f"{number}.{each['ProcId']}" for number, jobs in clusters.items() for each in jobs)
    assert f"remove {ids}: its factory was held or removed" in capsys.readouterr().out.splitlines()
