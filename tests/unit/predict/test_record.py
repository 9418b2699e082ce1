# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pool showed becomes a record of seconds and numbers, which a file keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.predict import record
from tests.predict.record import Life, Look, Record

BEGAN = 1_000_000.0


def look(seconds: float, shown: list[str], **what: Any) -> dict[str, Any]:
    return {"time": BEGAN + seconds, "idle": 26, "in_use": 3, "working": 1, "avoided": [], "shown": shown, **what}


def event(seconds: float, name: str, vm: str) -> dict[str, Any]:
    return {"time": BEGAN + seconds, "event": name, "vm": vm, "task": "t1"}


def vm(job: str, uuid: str | None, host: str, matched: int, ended: int | None, code: int | None) -> dict[str, Any]:
    end = None if ended is None else BEGAN + ended
    return {"job": job, "uuid": uuid, "host": host, "matched": BEGAN + matched, "ended": end, "code": code}


END = {
    "vms": [
        vm("1.0", "u0", "node1.lab", 4, 420, 200),
        vm("1.1", "u1", "node3.lab", 410, 520, 300),
        vm("1.2", None, "node4.lab", 4, 170, 700),
        vm("1.3", "u3", "node2.lab", 500, None, None),
    ],
    "events": [
        event(-5, "added", ""),
        event(104.02, "taken", "u0"),
        event(390, "done", "u0"),
        event(391, "none", "u0"),
        event(490, "none", "u1"),
    ],
    "cycles": [BEGAN - 500, BEGAN - 20, BEGAN + 4, BEGAN + 64],
}
LOOKS = [
    look(-3, []),
    look(10, []),
    look(310.04, ["1.0"], avoided=["node4.lab"], working=2),
    look(320, ["1.0", "1.3"]),
]


def test_times_count_from_the_first_decision() -> None:
    found = record.of_pool(LOOKS, END, BEGAN, BEGAN + 390.2)
    assert found.emptied == 390.2
    assert found.looks[:2] == (Look(10.0, 26, 3, 1), Look(310.0, 26, 3, 2, (3,)))
    assert len(found.looks) == 3
    assert found.lives == (
        Life(0, 4, asked=104.0, task=104.0, shown=310.0, vain=391.0, ended=420, code=200),
        Life(2, 410, asked=490.0, vain=490.0, ended=520, code=300),
        Life(3, 4, ended=170, code=700),
        Life(1, 500, shown=320.0),
    )
    assert found.cycles == (-20, 4, 64)


def test_a_file_keeps_all_of_it(tmp_path: Path) -> None:
    found = record.of_pool(LOOKS, END, BEGAN, BEGAN + 390.2)
    found.write(tmp_path / "record.jsonl")
    assert record.read(tmp_path / "record.jsonl") == found
    assert found != Record(390.2, (), (), ())


def test_a_host_that_is_none_of_the_pool_is_an_error() -> None:
    assert [record.number(host) for host in ("node1.lab", "node4")] == [0, 3]
    with pytest.raises(ValueError, match="not in tuple"):
        record.number("node9.lab")
