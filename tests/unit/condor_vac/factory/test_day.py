# SPDX-License-Identifier: GPL-3.0-or-later
"""What a factory leaves for the page: each end once, the last day alone, and never a reason to stop."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from condor_vac.factory import day
from condor_vac.factory.day import DAY_SECONDS, End, Seen, Vm
from tests.unit.condor_vac.factory.factory_cycles import M, cycle, with_factory
from tests.unit.condor_vac.standins import COMPLETED, HELD, IDLE, NOW, OWN_JOB, RUNNING, StandInPool, ad, factory_ad


def ended(job: str, code: int | None = 200, at: float = NOW - 100, **attributes: Any) -> dict[str, Any]:
    """A VM that left an outcome then."""
    life = {"VacEnded": int(at), "VacRuntime": 900, "ShutdownCode": code, "JobCurrentStartDate": int(at) - 900}
    return ad(job, COMPLETED, **{**life, "EnteredCurrentStatus": int(at), "QDate": int(at) - 2000, **attributes})


def run(path: Path, pool: StandInPool, now: float = NOW) -> Seen:
    """One cycle of a factory that has just started, and what it leaves."""
    cycle(pool, path, now=now).run(M)
    return day.read(str(path), now)


def test_states_and_ends_are_left_as_the_schedd_shows_them(tmp_path: Path) -> None:
    busy = {"VacEvidenceTime": int(NOW) - 5, "VacCpuFraction": 0.9}
    pool = with_factory(
        ad("50.0", IDLE), ad("51.0", RUNNING, **busy), ad("52.0", RUNNING), ad("53.0", HELD, HoldReasonCode=1),
        ended("54.0", ShutdownMessage="All done"), ended("55.0", None),
    )  # fmt: skip
    seen = run(tmp_path, pool)
    assert seen.time == NOW
    assert not seen.problems
    assert day.figures(seen.vms) == {"idle": 1, "running": 2, "works": 1, "held": 1, "ended": {"200": 1, "none": 1}}
    assert Vm("51.0", RUNNING, "wn1.example.org", NOW - 4000, True, None) in seen.vms
    first, second = sorted(seen.ends)
    assert first == End("54.0", "wn1.example.org", NOW - 1000, NOW - 100, 200, "success", "All done", False)
    assert (second.code, second.kind, second.message) == (None, "none", None)


def test_a_job_of_an_unknown_state_is_in_no_figure(tmp_path: Path) -> None:
    seen = run(tmp_path, with_factory(ad("50.0", 77), ended("54.0", 300)))
    assert day.figures(seen.vms) == {"idle": 0, "running": 0, "works": 0, "held": 0, "ended": {"300": 1}}


def test_an_end_is_left_once_however_often_it_is_seen(tmp_path: Path) -> None:
    pool = with_factory(ended("54.0"))
    factory = cycle(pool, tmp_path)
    factory.run(M)
    pool.ads.append(ended("55.0", 300))
    factory.run(M)
    factory.run(M)
    seen = run(tmp_path, pool)
    assert sorted(end.id for end in seen.ends) == ["54.0", "55.0"]
    assert len((tmp_path / day.ENDS).read_text().splitlines()) == 2


def test_a_run_that_was_lost_is_an_end_without_a_code(tmp_path: Path) -> None:
    lost = ad(
        "50.0", IDLE, NumShadowStarts=2, JobCurrentStartDate=int(NOW) - 4500, LastRemoteHost="slot1@wn2",
        JobCurrentStartExecutingDate=int(NOW) - 4400,
    )  # fmt: skip
    (end,) = run(tmp_path, with_factory(lost)).ends
    assert (end.id, end.kind, end.host, end.code) == ("50.0:2", "lost", "wn2", None)


def test_a_new_factory_takes_ends_from_the_history(tmp_path: Path) -> None:
    pool = with_factory()
    pool.past = [ended("40.7", 600, NOW - 7200)]
    assert [end.code for end in run(tmp_path, pool).ends] == [600]


def test_older_ends_go_and_so_do_those_beyond_the_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(day, "MOST_ENDS", 2)
    pool = with_factory(*(ended(f"5{number}.0", at=NOW - 100 * number) for number in range(4)))
    old = End("9.0", "wn9", NOW - DAY_SECONDS - 900, NOW - DAY_SECONDS - 10, 200, "success", None, True)
    (tmp_path / day.ENDS).write_text(json.dumps(old._asdict()) + "\n")
    factory = cycle(pool, tmp_path)
    factory.run(M)
    assert sorted(json.loads(line)["id"] for line in (tmp_path / day.ENDS).read_text().splitlines()) == ["50.0", "51.0"]
    factory.run(M)
    assert len((tmp_path / day.ENDS).read_text().splitlines()) == 2, "those that were cut do not come again"


def test_a_running_factory_drops_the_old_once_an_hour(tmp_path: Path) -> None:
    now = [NOW]
    pool = StandInPool([factory_ad(), ended("54.0", at=NOW - DAY_SECONDS + 1800)])
    factory = day_cycle(pool, tmp_path, now)
    factory.run(M)
    assert len(day.read(str(tmp_path), NOW).ends) == 1
    now[0] += 1900
    factory.run(M)
    assert (tmp_path / day.ENDS).read_text()
    assert not day.read(str(tmp_path), now[0]).ends
    now[0] += 1900
    factory.run(M)
    assert not (tmp_path / day.ENDS).read_text()


def day_cycle(pool: StandInPool, path: Path, now: list[float]) -> Any:
    """A factory whose clock is ``now``."""
    made = cycle(pool, path, OWN_JOB)
    made._clock = lambda: now[0]
    return made


@pytest.mark.parametrize(
    "line",
    [
        "{", "[" * 1000, "null", '{"id": "54.0"}', '"\udcff"', '{"id":"54.0;rm","ended":1}',
        json.dumps({**End("1.0", "a b", 1.0, 2.0, None, "none", None, False)._asdict(), "ended": NOW - 5}),
        json.dumps({**End("1.0", "wn1", 1.0, 2.0, None, "none", "x" * 257, False)._asdict(), "ended": NOW - 5}),
        json.dumps({**End("1.0", "wn1", 1.0, 2.0, None, "<b>", None, False)._asdict(), "ended": NOW - 5}),
        json.dumps({**End("1.0", "wn1", 1.0, 2.0, None, "none", None, False)._asdict(), "ended": float("nan")}),
    ],
    ids=range(10),
)  # fmt: skip
def test_a_damaged_line_costs_itself_and_goes_with_the_next_writing(tmp_path: Path, line: str) -> None:
    pool = with_factory(ended("54.0"))
    run(tmp_path, pool)
    with open(tmp_path / day.ENDS, "ab") as stream:
        stream.write(line.encode("utf-8", "surrogatepass") + b"\n")
    seen = day.read(str(tmp_path), NOW)
    assert [end.id for end in seen.ends] == ["54.0"]
    (problem,) = seen.problems
    assert problem.startswith(f"{tmp_path / day.ENDS}: 1 line damaged")
    seen = run(tmp_path, pool)
    assert not seen.problems
    assert [end.id for end in seen.ends] == ["54.0"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version":1,"time":1,"vms":[["5.0",1]]}', '{"version":2}'])
def test_a_damaged_queue_costs_the_queue_alone(tmp_path: Path, content: str) -> None:
    run(tmp_path, with_factory(ended("54.0")))
    (tmp_path / day.QUEUE).write_text(content)
    seen = day.read(str(tmp_path), NOW)
    assert (seen.time, list(seen.vms), len(seen.ends)) == (None, [], 1)
    assert str(tmp_path / day.QUEUE) in seen.problems[0]


def test_ends_that_are_to_come_are_not_shown(tmp_path: Path) -> None:
    end = End("1.0", "wn1", NOW, NOW + 50, 200, "success", None, True)
    (tmp_path / day.ENDS).write_text(json.dumps(end._asdict()) + "\n")
    assert not day.read(str(tmp_path), NOW).ends
    assert day.read(str(tmp_path), NOW + 60).ends == [end]


def test_a_file_that_cannot_be_written_is_named_once_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / day.ENDS).mkdir()
    pool = with_factory(ended("54.0"))
    factory = cycle(pool, tmp_path)
    assert factory.run(M)["submit"] == 4
    assert factory.run(M)["error"] is None
    assert capsys.readouterr().out.count("nothing new for condor_vac page") == 1
    (tmp_path / day.ENDS).rmdir()
    factory.run(M)
    assert len(day.read(str(tmp_path), NOW).ends) == 1, "what was seen meanwhile is not lost"


def test_what_was_torn_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = with_factory(ended("54.0"))
    factory = cycle(pool, tmp_path)
    factory.run(M)
    pool.ads.append(ended("55.0"))
    os.remove(tmp_path / day.ENDS)
    os.mkfifo(tmp_path / day.ENDS)
    factory.run(M)
    factory.run(M)
    assert [end.id for end in day.read(str(tmp_path), NOW).ends] == ["55.0"]


def test_nothing_is_left_by_a_factory_that_only_plans(tmp_path: Path) -> None:
    cycle(with_factory(ended("54.0")), tmp_path).plan(M, NOW)
    assert not os.listdir(tmp_path)
    assert day.read(str(tmp_path), NOW) == Seen(None, [], [], [])
