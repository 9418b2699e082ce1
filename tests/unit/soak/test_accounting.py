# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a lost job, one that ran twice, or one whose end is not recorded would be found."""

from __future__ import annotations

from typing import Any

import pytest

from tests.experiment.records import Try
from tests.soak import accounting

ENDED = Try("node1", True, "terminated")
LOST = Try("node2", True, "lost")


def ad(cluster: int, **changes: Any) -> dict[str, Any]:
    """The ad of a job whose VM ended with 200."""
    good = {"JobStatus": 4, "ShutdownCode": 200, "VacEnded": 1, "VacCause": "message", "NumJobStarts": 1}
    found = {"ClusterId": cluster, "ProcId": 0, **good, **changes}
    return {key: value for key, value in found.items() if value is not None}


def test_jobs_that_ended_once_are_good() -> None:
    history = [ad(1), ad(2, JobStatus=3, VacEnded=None), ad(3, VacEnded=None, VacOutcome="x")]
    tries = {"1.0": [LOST, ENDED], "2.0": [LOST], "3.0": [ENDED]}
    assert accounting.wrong(["1.0", "2.0", "3.0"], [], history, tries) == []


@pytest.mark.parametrize(
    ("queue", "history", "tries", "found"),
    [
        ([], [], [], "job 1.0 was submitted, and is neither in the queue nor in the history"),
        ([ad(1, JobStatus=2)], [], [], "job 1.0 is still in the queue (JobStatus 2)"),
        ([], [ad(1), ad(1)], [ENDED], "job 1.0 is 2 times in the history"),
        ([], [ad(1)], [ENDED, ENDED], "job 1.0 has terminated 2 times"),
        ([], [ad(1, JobStatus=5)], [LOST], "job 1.0 left the queue with JobStatus 5"),
    ],
)
def test_what_is_wrong_with_a_job(queue: list[Any], history: list[Any], tries: list[Try], found: str) -> None:
    assert accounting.wrong(["1.0"], queue, history, {"1.0": tries}) == [found]


def test_an_end_that_was_not_recorded() -> None:
    history = [ad(1), ad(2, VacEnded=None), ad(3, VacEnded=None, VacOutcome="x"), ad(4, VacEnded=None, JobStatus=3)]
    assert accounting.unrecorded(history) == ["job 2.0 is completed, and how its VM ended was not recorded"]


def test_a_job_of_which_two_vms_did_all_their_work() -> None:
    vms = {"a": "1.0", "b": "1.0", "c": "2.0", "d": "2.0", "e": "3.0", "f": "3.0", "g": "4.0"}
    tasks = {"a": 2, "b": 2, "c": 2, "d": 2, "e": 2, "f": 1, "g": 2}
    tries = {"1.0": [LOST, ENDED], "2.0": [ENDED, ENDED]}
    unexplained, explained = accounting.twice(vms, tasks, tries)
    assert unexplained == ["job 2.0: 2 VMs did all their work; its runs: terminated, terminated"]
    assert explained == ["job 1.0: 2 VMs did all their work; its runs: lost, terminated"]


def test_a_run_that_the_log_does_not_have_explains_nothing() -> None:
    assert accounting.twice({"a": "1.0", "b": "1.0"}, {"a": 2, "b": 2}, {})[0] == [
        "job 1.0: 2 VMs did all their work; its runs: "
    ]


def test_starts_against_the_log() -> None:
    assert accounting.uneven(ad(1), [Try("node1"), ENDED]) == ""
    assert accounting.uneven(ad(1), [LOST, ENDED]) == "job 1.0: NumJobStarts is 1, its log has 2"


def test_vms_by_code() -> None:
    removed = ad(4, JobStatus=3, ShutdownCode=None, VacCause=None)
    crashed = ad(5, ShutdownCode=None, VacCause="crashed")
    found = accounting.by_code([ad(1), ad(2, ShutdownCode=300), ad(3), removed, crashed])
    assert found == {"200": 2, "300": 1, "none (crashed)": 1, "removed": 1}
