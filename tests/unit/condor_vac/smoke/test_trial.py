# SPDX-License-Identifier: GPL-3.0-or-later
"""A trial follows its VMs to whatever end, and leaves neither jobs nor files, whatever happens."""

from __future__ import annotations

import getpass
import pwd
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import UsageError, VacError
from condor_vac.smoke import places, trial, vms
from tests.unit.condor_vac.standins import COMPLETED, HELD, IDLE, REMOVED, RUNNING, StandInPool, ad

NODES = [vms.Node(name, f"{name}.example.org", "192.168.86.1/24", ("http",)) for name in ("wn1", "wn2")]
NAMES = ["smoke-0-http-200", "smoke-1-http-200", "smoke-0-http-300", "smoke-1-http-300"]


class Pool(StandInPool):
    """Jobs that go on by a step at each look: ``after`` has what becomes of each, by the VM's name."""

    def __init__(self, after: Mapping[str, Sequence[dict[str, Any] | None]], place: Path) -> None:
        super().__init__()
        self.after = {name: list(steps) for name, steps in after.items()}
        self.place = place
        self.names: dict[str, str] = {}
        self.stays: set[str] = set()

    def submit(self, commands: Mapping[str, str], count: int) -> int:
        self._fail("submit")
        self.next += 1
        self.names[f"{self.next}.0"] = commands["initialdir"].rpartition("/")[2]
        self.ads.append(ad(f"{self.next}.0", IDLE, Iwd=commands["initialdir"]))
        if len(self.ads) == 2 and "second" in self.failing:
            self.failing.add("submit")
        return self.next

    def jobs(self, constraint: str, projection: Sequence[str], limit: int = -1) -> list[dict[str, Any]]:
        self._fail("jobs")
        place = re.search(r'substr\(Iwd, 0, (\d+)\) =\?= "([^"]+/)"', constraint)
        if place is None:
            self.ads = [changed for each in self.ads if (changed := self._step(each)) is not None]
            return self.ads
        assert int(place[1]) == len(place[2])
        return [each for each in self.ads if each["Iwd"].startswith(place[2])]

    def remove(self, ids: Sequence[str], reason: str, only_if: str = "True") -> int:
        if self.stays and set(ids) & self.stays:
            return 0
        return super().remove(ids, reason, only_if)

    def _step(self, each: dict[str, Any]) -> dict[str, Any] | None:
        name = self.names.get(f"{each['ClusterId']}.0", "")
        steps = self.after.get(name, [])
        step = steps.pop(0) if steps else {}
        if step is None:
            return None
        if step.get("JobStatus") == COMPLETED:
            outputs = next(self.place.glob(f"smoke_*/{name}")) / "joboutputs"
            outputs.mkdir(exist_ok=True)
            token = (self.place / "token").read_text()
            (outputs / "smoke.txt").write_text(f"smoke {token}\n")
        return {**each, **step}


def done(code: int) -> list[dict[str, Any] | None]:
    running = {"JobStatus": RUNNING, "JobCurrentStartDate": 1_000.0, "NumShadowStarts": 1}
    end = {"JobStatus": COMPLETED, "JobCurrentStartDate": 1_000.0, "VacEnded": 1_040.0, "ShutdownCode": code}
    return [running, end]


WELL = {name: done(int(name[-3:])) for name in NAMES}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Pool, Any]]:
    """Run a trial of two nodes; a clock that only sleeping moves, from 1010 s."""
    clock = [1_010.0]
    monkeypatch.setattr(places, "STATE_DIRECTORY", str(tmp_path))
    monkeypatch.setattr("condor_vac.smoke.trial.time.time", lambda: clock[0])
    monkeypatch.setattr("condor_vac.smoke.trial.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("condor_vac.smoke.trial.time.sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    # The tests run as whoever they run as: the work of another user is a matter of test_privileges.
    monkeypatch.setattr("condor_vac.smoke.trial.privileges.run_as", lambda uid, gid, work, timeout: work())
    monkeypatch.setattr(trial, "_identity", lambda owner: (1, 1))
    monkeypatch.setattr("condor_vac.smoke.places.os.chown", lambda *words: None)

    def runner(
        after: Mapping[str, Any], failing: frozenset[str] = frozenset(), progress: Any = None, left: Any = ()
    ) -> Any:
        pool: Any = Pool(after, tmp_path)
        pool.ads += left
        pool.failing |= failing
        limits = trial.Limits(30, 100)
        one = trial.Trial(vms.of_nodes(NODES), limits, lambda *words: "START is false", lambda: pool)
        (tmp_path / "token").write_text(one.token)
        try:
            pool.stays = {f"{each['ClusterId']}.0" for each in left if each.get("Stays")}
            results = one.run("/images/s.iso", "vac", progress or (lambda text: None))
            pool.stuck = one.stuck
            return pool, results
        except (VacError, KeyboardInterrupt) as error:
            return pool, error

    return runner


def left(tmp_path: Path, pool: Pool) -> list[Any]:
    return [*pool.ads, *tmp_path.glob("smoke_*")]


def test_all_is_well(tmp_path: Path, run: Any) -> None:
    pool, results = run(WELL)
    assert [(one.vm.name, one.good, one.seconds, one.cause) for one in results] == [(n, True, 40.0, "") for n in NAMES]
    assert left(tmp_path, pool) == []


@pytest.mark.parametrize(
    ("steps", "named"),
    [
        ([{"JobStatus": HELD, "HoldReason": "no\nimage\x1b[2J"}], "held: no image"),
        ([{"JobStatus": HELD}], "held: no reason given"),
        ([None], "has left the queue"),
        ([{"JobStatus": REMOVED}], "was removed"),
        ([{"JobStatus": RUNNING, "JobCurrentStartDate": 1_000.0}], "did not end within 100 s"),
        (done(600), "600 instead of 300"),
        ([], "did not start within 30 s: START is false"),
    ],
)
def test_one_that_fails_is_named_and_the_others_are_not(tmp_path: Path, run: Any, steps: list[Any], named: str) -> None:
    pool, results = run({**WELL, NAMES[3]: steps})
    assert [one.good for one in results] == [True, True, True, False]
    assert named in results[3].cause
    assert results[3].cause.isprintable()
    assert left(tmp_path, pool) == []


def stop(text: str) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_leaves_nothing(tmp_path: Path, run: Any) -> None:
    pool, error = run(WELL, progress=stop)
    assert isinstance(error, KeyboardInterrupt)
    assert left(tmp_path, pool) == []


@pytest.mark.parametrize("failing", ["submit", "second"])
def test_what_was_submitted_before_an_error_is_removed(tmp_path: Path, run: Any, failing: str) -> None:
    pool, error = run(WELL, frozenset({failing}))
    assert "submit failed" in str(error)
    assert len(pool.names) == (2 if failing == "second" else 0)
    assert left(tmp_path, pool) == []


def test_what_a_run_left_that_was_killed_goes_first(tmp_path: Path, run: Any) -> None:
    old = tmp_path / "smoke__92lyx_n"
    (old / "smoke-0-http-200").mkdir(parents=True)
    in_use, machinetypes = tmp_path / "smoke_in0use00", tmp_path / "smoke-test"
    for place in (in_use, machinetypes):
        place.mkdir()
        (place / "kept").touch()
    left_job = ad("7.0", Iwd=f"{old}/smoke-0-http-200")
    other = ad("8.0", Iwd="/home/alice")
    with places._locked(str(in_use)):
        pool, results = run(WELL, left=[left_job, other])
    assert all(one.good for one in results)
    assert pool.done[0][:2] == ("remove", ("7.0",))
    assert pool.ads == [other]
    assert not old.exists()
    assert (in_use / "kept").exists()
    assert (machinetypes / "kept").exists(), "a machinetype may have such a name"
    assert pool.stuck == []


def test_what_cannot_be_removed_is_named_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any
) -> None:
    monkeypatch.setattr(trial, "GONE_SECONDS", 5.0)
    old = tmp_path / "smoke_old00000"
    old.mkdir()
    pool, results = run(WELL, left=[ad("7.0", Iwd=f"{old}/smoke-0-http-200", Stays=True)])
    assert all(one.good for one in results)
    assert pool.stuck == [f"of an earlier run, {old} is left: 1 jobs stay in the queue: condor_rm -forcex 7.0"]
    assert old.exists()


def test_jobs_are_those_of_the_directorys_owner(tmp_path: Path) -> None:
    place = places.Place(f"{tmp_path}/smoke_a", 0, 0)
    assert f'Owner == "{pwd.getpwuid(0).pw_name}"' in place.jobs()
    with pytest.raises(VacError, match="is no user here; remove it"):
        place._replace(uid=3_999_999_999).jobs()


def test_owners() -> None:
    with pytest.raises(UsageError, match="no such user"):
        trial._identity("nobody-of-that-name")
    assert trial._identity(getpass.getuser())
