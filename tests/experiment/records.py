# SPDX-License-Identifier: GPL-3.0-or-later
"""What HTCondor and the task queue wrote down: the tries of each VM job, the fate of each task."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# The head of an event in a job's log: number, cluster, proc.
_EVENT = re.compile(r"^(\d{3}) \((\d+)\.(\d+)\.\d+\) ", re.MULTILINE)
_HOST = re.compile(r"alias=([A-Za-z0-9-]+)")
# HTCondor's numbers of events (condor_event.h).
_SUBMIT, _EXECUTE, _TRANSFER = 0, 1, 40
_ENDS = {4: "evicted", 5: "terminated", 7: "failed", 9: "removed", 12: "held", 24: "lost"}


@dataclass
class Try:
    """One try to run a job's VM on a node: ``executed`` if its VM was to start, ``end`` is how the try ended."""

    node: str
    executed: bool = False
    end: str = ""


def tries(logs: str) -> dict[str, list[Try]]:
    """The tries of each job (CLUSTER.PROC), oldest first, from the event logs of all jobs, one after the other."""
    found: dict[str, list[Try]] = defaultdict(list)
    heads = list(_EVENT.finditer(logs))
    for head, end in zip(heads, [*(each.start() for each in heads[1:]), len(logs)]):
        number, mine = int(head[1]), found[f"{int(head[2])}.{int(head[3])}"]
        node = _HOST.search(logs, head.start(), end)
        under_way = mine[-1] if mine and not mine[-1].end else None
        if number in {_TRANSFER, _EXECUTE} and node and under_way is None:
            under_way = Try(node[1])
            mine.append(under_way)
        if under_way is not None:
            under_way.executed = under_way.executed or number == _EXECUTE
            under_way.end = _ENDS.get(number, "")
    return dict(found)


def submitted(logs: str) -> list[str]:
    """The jobs (CLUSTER.PROC) whose logs begin with their submission, in the order of the logs."""
    return [f"{int(head[2])}.{int(head[3])}" for head in _EVENT.finditer(logs) if int(head[1]) == _SUBMIT]


def fates(events: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[str, str]]]:
    """What happened to each task that a VM took, in order: (taken, done or requeued, the VM's UUID)."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for event in events:
        if event["task"]:
            found[event["task"]].append((event["event"], event["vm"]))
    return dict(found)


def is_once(fate: list[tuple[str, str]]) -> bool:
    """Whether a task was taken again only after it had come back, and done at most once, by its last taker."""
    done = fate[-1] if fate and fate[-1][0] == "done" else None
    before = fate[:-1] if done else fate
    takers = [vm for name, vm in before if name == "taken"]
    in_turn = all(name == ("taken", "requeued")[at % 2] for at, (name, _) in enumerate(before))
    return in_turn and (done is None or takers[-1:] == [done[1]])
