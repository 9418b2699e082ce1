# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read from HTCondor's event logs and the task queue: assertions about it can fail."""

from __future__ import annotations

import pytest

from tests.experiment import records


def event(number: int, job: str, text: str = "", node: str = "") -> str:
    cluster, proc = job.split(".")
    where = f"\tTransferring to host: <10.0.0.1:9618?addrs=10.0.0.1-9618&alias={node}.lab&noUDP>\n" if node else ""
    return f"{number:03} ({int(cluster):03}.{int(proc):03}.000) 2026-11-28 13:30:36 {text}\n{where}...\n"


def test_the_tries_of_a_job_by_node_and_how_they_ended() -> None:
    refused = event(40, "3.7", "Started transferring input files", "node2") + event(40, "3.7", "Finished") * 2
    logs = (
        event(0, "3.7", "Job submitted from host: <10.0.0.9:9618?alias=head.lab>")
        + refused
        + event(21, "3.7", "Error from starter on slot1_1@node2.lab:")
        + event(4, "3.7", "Job was evicted.")
        + event(40, "3.7", "Started transferring input files", "node5")
        + event(1, "3.7", "Job executing on host:", "node5")
        + event(22, "3.7", "Job disconnected, attempting to reconnect", "node5")
        + event(24, "3.7", "Job reconnection failed")
        + event(1, "3.7", "Job executing on host:", "node3")
        + event(1, "12.0", "Job executing on host:", "node1")
        + event(40, "12.0", "Started transferring output files")
        + event(5, "12.0", "Job terminated.")
    )
    found = {job: [(one.node, one.executed, one.end) for one in tries] for job, tries in records.tries(logs).items()}
    assert found == {
        "3.7": [("node2", False, "evicted"), ("node5", True, "lost"), ("node3", True, "")],
        "12.0": [("node1", True, "terminated")],
    }


@pytest.mark.parametrize(
    ("fate", "once"),
    [
        ("taken a", True),
        ("taken a, done a", True),
        ("taken a, requeued a, taken b, done b", True),
        ("taken a, requeued a", True),
        # Late, while no other VM has taken it.
        ("taken a, requeued a, done a", True),
        ("taken a, done b", False),
        ("taken a, done a, done a", False),
        ("taken a, done a, taken b", False),
        ("taken a, taken b, done b", False),
        ("taken a, requeued a, done b", False),
        ("done a", False),
    ],
)
def test_whether_a_task_was_done_once(fate: str, once: bool) -> None:
    events = [{"event": "added", "vm": "", "task": ""}]
    for step in fate.split(", "):
        name, vm = step.split()
        events.append({"event": name, "vm": vm, "task": "t1"})
    assert records.is_once(records.fates(events)["t1"]) is once
