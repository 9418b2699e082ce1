# SPDX-License-Identifier: GPL-3.0-or-later
"""The factory's process: lock, log, signals, a machinetype that changes under it, and errors at its start."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import pwd
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import UsageError, VacError
from condor_vac.cli import dispatch
from condor_vac.factory import cycle as factory_cycle
from condor_vac.factory import leftovers, process, scheduler_job
from condor_vac.model.machinetype import PROXY_NAME
from condor_vac.policy.observation import Decision, Observation
from tests.integration.factory.greedy import Policy as Greedy
from tests.unit.condor_vac.standins import RUNNING, StandInPool, ad, factory_ad, machinetype
from tests.unit.damage import MADE, UNREADABLE, unreadable
from tests.unit.forward_proxy import forward_proxy
from tests.unit.webserver import reply, web_server

ME = pwd.getpwuid(os.geteuid()).pw_name


class Signals:
    """What the factory's sleeps give it, one after another."""

    def __init__(self, *received: int | None) -> None:
        self.received = list(received)
        self.slept: list[float] = []

    def __call__(self, seconds: float) -> int | None:
        self.slept.append(seconds)
        return self.received.pop(0) if self.received else signal.SIGTERM


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Signals stay as they are, root may own a factory."""
    monkeypatch.setattr(signal, "pthread_sigmask", lambda *_: set())
    monkeypatch.setattr(process, "_check_user", lambda _m: None)
    monkeypatch.delenv(process.OWN_JOB, raising=False)
    yield
    logging.getLogger("condor_vac.factory.process").handlers.clear()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A machinetype's file, a state directory and a pool."""
    return Site(tmp_path, monkeypatch)


class Site:
    """Where a factory works, and ways to run it."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.patch = monkeypatch
        self.file = path / "gridpp.json"
        self.state = path / "state"
        self.state.mkdir()
        self.pool = StandInPool()
        self.write()
        monkeypatch.setattr(process, "Pool", lambda _bindings: self.pool)

    def write(self, **keys: Any) -> None:
        self.file.write_text(json.dumps(machinetype(max_machines=6, max_idle=4, **keys).to_mapping()))
        stamp = self.file.stat().st_mtime_ns + 10**9
        os.utime(self.file, ns=(stamp, stamp))

    def run(self, signals: Signals | None = None, **options: Any) -> int:
        self.patch.setattr(process, "_sleep", signals or Signals())
        return process.run(str(self.file), str(self.state), **options)

    def log(self) -> str:
        return (self.state / "factory.log").read_text()

    def last(self) -> dict[str, Any]:
        return dict(json.loads((self.state / "state.json").read_text())["last"])


@pytest.mark.parametrize(
    ("received", "code", "removed"),
    [(signal.SIGTERM, 0, 0), (signal.SIGINT, 0, 0), (signal.SIGUSR1, 0, 4), (signal.SIGUSR2, 42, 4)],
)
def test_each_signal_has_its_exit_code(site: Site, received: int, code: int, removed: int) -> None:
    assert site.run(Signals(None, received)) == code
    gone = [len(each[1]) for each in site.pool.done if each[0] == "remove"]
    assert sum(gone) == removed
    assert signal.Signals(received).name in site.log()


def test_a_removal_leaves_the_queue_even_if_the_schedd_fails(site: Site) -> None:
    def fail(_seconds: float) -> int:
        site.pool.failing.add("jobs")
        return signal.SIGUSR2

    site.patch.setattr(process, "_sleep", fail)
    signals: Any = fail
    assert site.run(signals) == 42
    assert "stay in the queue" in site.log()


def test_one_cycle(site: Site) -> None:
    assert site.run(once=True) == 0
    assert site.pool.submitted() == 4
    site.pool.failing.add("jobs")
    assert site.run(once=True) == 1
    assert site.pool.submitted() == 4
    assert "ERROR submit 0: submitting nothing: jobs failed" in site.log()


def test_a_second_factory_stands_by(site: Site) -> None:
    with open(site.state / "lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        signals = Signals()
        assert site.run(signals) == process.EXIT_STANDBY
        assert signals.slept == [process.RESTART_SECONDS]
    assert not site.pool.done
    assert "/lock: waiting a minute" in site.log()
    assert site.run(once=True) == 0, "the lock goes with its process"


def test_the_lock_is_not_a_link_to_another_users_file(site: Site) -> None:
    (site.state / "lock").symlink_to(site.path / "elsewhere")
    with pytest.raises(VacError, match="lock"):
        site.run(once=True)
    assert not (site.path / "elsewhere").exists()


def test_an_error_at_the_start_waits_where_htcondor_would_restart_at_once(site: Site) -> None:
    site.file.write_text("{")
    signals = Signals()
    with pytest.raises(UsageError, match=r"gridpp\.json"):
        site.run(signals)
    assert signals.slept == []
    site.patch.setenv(process.OWN_JOB, "40.0")
    with pytest.raises(UsageError, match=r"gridpp\.json"):
        site.run(signals)
    assert signals.slept == [process.RESTART_SECONDS]


@pytest.mark.parametrize("change", ["no directory", "unwritable log"])
def test_a_state_directory_that_will_not_do_is_reported(site: Site, change: str) -> None:
    if change == "no directory":
        site.state.rmdir()
    else:
        (site.state / "factory.log").mkdir()
    with pytest.raises(VacError, match="state"):
        site.run(once=True)
    assert not site.pool.done


def test_it_is_its_owners(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    other = machinetype(owner="somebody-else")
    with pytest.raises(UsageError, match=f"owner is somebody-else, but this is {ME}"):
        process._check_user(other)


def test_a_changed_machinetype_is_used_and_a_broken_one_reported(site: Site) -> None:
    steps: Iterator[Callable[[], object]] = iter(
        [
            lambda: site.file.write_text("{"),
            lambda: site.write(name="other"),
            lambda: site.write(owner="nobody"),
            site.file.unlink,
            lambda: site.write(memory_mb=3000),
        ]
    )
    recorded: list[str] = []

    def sleep(_seconds: float) -> int | None:
        recorded.append(" ".join(site.last()["reasons"]))
        step = next(steps, None)
        if step is None:
            return signal.SIGTERM
        step()
        return None

    signals: Any = sleep
    assert site.run(signals) == 0
    for printed, text in zip(recorded, ("", "not valid JSON", "cannot change", "cannot change", "cannot read", "")):
        assert (text in printed) if text else ("using the last good machinetype" not in printed)
    assert json.loads((site.state / "gridpp.json").read_text())["memory_mb"] == 3000, "what VMs carry"


def test_it_ends_when_the_schedd_that_started_it_is_gone(site: Site) -> None:
    site.patch.setenv(process.OWN_JOB, "40.0")
    site.pool.ads.append(factory_ad())
    parents = iter([100, 100, 1])
    site.patch.setattr(os, "getppid", lambda: next(parents))
    assert site.run(Signals(None, None)) == 0
    assert "the schedd that started this factory is gone" in site.log()


def test_the_log_has_changes_only_and_is_rotated(site: Site) -> None:
    site.run(Signals(None, None, None, None))
    assert len([line for line in site.log().splitlines() if "INFO submit " in line]) == 1, (
        "later ones differ by figures only"
    )
    site.patch.setattr(process, "LOG_BYTES", 400)
    for _ in range(30):
        site.run(once=True)
    logs = sorted(path.name for path in site.state.glob("factory.log*"))
    assert logs == ["factory.log", *(f"factory.log.{number}" for number in range(1, process.LOG_FILES + 1))]
    assert all(path.stat().st_size <= 400 for path in site.state.glob("factory.log*"))


def test_singular_and_plural_do_not_make_a_new_line(site: Site) -> None:
    """The last sentence does differ by more than figures."""
    reasons = iter(["2 VMs idle for 30 s, 1 works", "1 VM idle for 60 s, 1 works", "1 VM idle, none works"])

    class Resting(Greedy):
        def decide(self, seen: Observation) -> Decision:
            return Decision(0, (), (), (next(reasons),))

    site.patch.setattr(factory_cycle, "Policy", Resting)
    site.run(Signals(None, None))
    lines = [line for line in site.log().splitlines() if "submit 0" in line]
    assert [line.partition("submit 0: ")[2] for line in lines] == [
        "2 VMs idle for 30 s, 1 works",
        "1 VM idle, none works",
    ]


def test_a_dry_run_prints_its_plan_and_leaves_no_trace(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["factory", str(site.file), "--state", str(site.state), "--dry-run"]
    assert dispatch.main(words) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["submit"] == 4
    assert not site.pool.done
    assert os.listdir(site.state) == []


def test_directories_of_vms_long_gone_are_removed(site: Site) -> None:
    old = site.state / "vms" / "old" / "0"
    old.mkdir(parents=True)
    os.utime(old.parent, (1, 1))
    waits = site.state / "vms" / "waits" / "0"
    waits.mkdir(parents=True)
    os.utime(waits.parent, (1, 1))
    site.pool.ads.append(ad("50.0", VacBatch="waits"))
    site.run(once=True)
    assert not old.parent.exists()
    assert waits.exists(), "its job is in the queue still"
    assert len(os.listdir(site.state / "vms")) == 2


def test_the_directory_of_vms_goes_a_week_after_they_left_the_queue(site: Site) -> None:
    """While the factory lives, however long they were in the queue; not before the schedd has answered."""
    batch = site.state / "vms" / "1764000000-0a0b0c0d"
    (batch / "0").mkdir(parents=True)
    os.utime(batch, (1, 1))
    site.patch.setattr(process, "CLEAN_UP_SECONDS", 0.0)
    there: list[bool] = []

    def sleep(_seconds: float) -> int | None:
        there.append(batch.exists())
        if len(there) == 1:
            site.pool.failing.clear()
            site.pool.ads.append(ad("50.0", RUNNING))
        elif len(there) == 2:
            site.pool.ads = []
        elif len(there) == 3:
            os.utime(batch, (1, 1))
        return None if len(there) < 4 else signal.SIGTERM

    site.pool.failing.add("jobs")
    signals: Any = sleep
    site.run(signals)
    assert there == [True, True, True, False], "unknown, in the queue, just gone, gone for a week"


def test_what_cannot_be_removed_is_logged_once_and_stops_nothing(site: Site) -> None:
    for name in ("old-1", "old-2"):
        (site.state / "vms" / name / "0" / PROXY_NAME / "x").mkdir(parents=True)
        for path in (site.state / "vms" / name / "0" / PROXY_NAME, site.state / "vms" / name):
            os.utime(path, (1, 1))
    site.patch.setattr(process, "CLEAN_UP_SECONDS", 0.0)
    real = leftovers.remove

    def remove(path: str) -> None:
        if "old-1" in path:
            raise VacError(f"{path}: cannot remove: Input/output error")
        real(path)

    site.patch.setattr(leftovers, "remove", remove)
    site.run(Signals(None, None, None))
    assert os.listdir(site.state / "vms" / "old-1") == ["0"]
    assert not (site.state / "vms" / "old-2").exists()
    assert site.log().count(f"{site.state}/vms/old-1: cannot remove: Input/output error") == 1


@pytest.mark.parametrize("kind", MADE)
def test_a_published_machinetype_of_any_damage_is_written_anew(site: Site, kind: str) -> None:
    path = site.state / "gridpp.json"
    path.write_text("x" * 100_000)
    MADE[kind](path)
    if kind == "a directory":
        with pytest.raises(VacError, match=r"gridpp\.json: cannot write"):
            site.run(once=True)
        return
    assert site.run(once=True) == 0
    assert json.loads(path.read_text())["name"] == "gridpp"


@pytest.mark.parametrize("kind", [*MADE, *UNREADABLE])
def test_a_machinetypes_file_of_any_damage_leaves_the_last_good_one_in_use(site: Site, kind: str) -> None:
    """The factory goes on, and its state file, which status and explain show, names the file."""
    site.write(max_wallclock_seconds=7200)
    content = site.file.read_text()
    notes: list[list[str]] = []
    with pytest.MonkeyPatch.context() as patch:

        def sleep(_seconds: float) -> int | None:
            notes.append(site.last()["reasons"])
            if len(notes) == 1 and kind in MADE:
                MADE[kind](site.file)
            elif len(notes) == 1:
                site.write()
                unreadable(patch, site.file, kind)
            return None if len(notes) < 3 else signal.SIGTERM

        signals: Any = sleep
        assert site.run(signals) == 0
    assert site.pool.submitted() == 4
    named = [reasons[0] for reasons in notes if "using the last good machinetype" in reasons[0]]
    # Its own time is not asked, and what is in it is the same.
    assert len(named) == (0 if kind == "from the future" else 2), content
    assert all("gridpp.json" in note and note.isprintable() for note in named)


def test_the_factorys_own_job(site: Site) -> None:
    commands = scheduler_job.describe(str(site.file))
    assert commands["universe"] == "scheduler"
    assert commands["on_exit_remove"] == "ExitBySignal =!= True && ExitCode =?= 42"
    assert (commands["kill_sig"], commands["hold_kill_sig"], commands["remove_kill_sig"]) == (
        "SIGTERM", "SIGUSR1", "SIGUSR2",
    )  # fmt: skip
    assert "PATH=/" in commands["environment"]
    assert "CONDOR_CONFIG=/etc/condor/condor_config" in commands["environment"]
    assert f"{process.OWN_JOB}=$(ClusterId).$(ProcId)" in commands["environment"]


def test_the_jobs_digest_follows_program_owner_and_description_only(site: Site) -> None:
    def digest() -> str:
        return scheduler_job.describe(str(site.file))["+VacFactoryDigest"]

    first = digest()
    site.write(memory_mb=3000, max_wallclock_seconds=7200)
    assert digest() == first, "the factory notices by itself"
    site.write(owner="other")
    second = digest()
    tree = site.path / "tree-2"
    site.patch.setattr(scheduler_job, "PROGRAM", str(tree))
    assert len({first, second, digest()}) == 3


@pytest.mark.parametrize("broken", [{"Owner": None}, {"ClusterId": "a"}, {"ProcId": None}])
def test_a_factorys_ad_without_what_no_user_can_change_is_reported(broken: dict[str, Any]) -> None:
    ad = {key: value for key, value in factory_ad(**broken).items() if value is not None}
    with pytest.raises(VacError, match="condor_q -long"):
        scheduler_job.jobs(StandInPool([ad]), {"vac"})  # type: ignore[arg-type]


def test_user_data_comes_through_the_proxy_beside_the_machinetype(site: Site) -> None:
    with web_server() as web, forward_proxy() as proxy:
        web.routes["/t"] = reply(b"#!/bin/sh\n")
        site.write(user_data=f"{web.url}/t")
        (site.path / "gridpp.http_proxy").write_text(json.dumps({"http_proxy": proxy.url, "no_proxy": []}))
        assert site.run(once=True) == 0
        assert proxy.requests == [f"GET {web.url}/t HTTP/1.1"]
        assert (site.state / "user_data").read_bytes() == b"#!/bin/sh\n"
        proxy.answer = "502 Bad Gateway"
        before = site.pool.submitted()
        assert site.run(once=True) == 1
    assert f"502 'Bad Gateway' (through the proxy 127.0.0.1:{proxy.port})" in site.last()["error"]
    assert site.pool.submitted() == before
