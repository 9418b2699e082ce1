# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cycle does to the files of its VMs: proxies, the template at a URL, and directories that may go."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import VacError
from condor_vac.factory import cycle as factory_cycle
from condor_vac.factory import proxy, user_data_copy
from condor_vac.model.machinetype import PROXY_NAME
from condor_vac.policy.observation import Decision
from tests.integration.factory.greedy import Policy as Greedy
from tests.unit.condor_vac.factory.factory_cycles import M, cycle
from tests.unit.condor_vac.standins import (
    COMPLETED,
    HELD,
    IDLE,
    NOW,
    RUNNING,
    StandInPool,
    ad,
    factory_ad,
)


class Proxies:
    """Instead of condor_vac.factory.proxy: which directory got or lost a proxy, relative to the state directory."""

    def __init__(self, directory: Path, credential: object) -> None:
        self.directory = directory
        self.credential = credential
        self.renewed: list[str] = []
        self.removed: list[str] = []

    def of_machinetype(self, _machinetype: Any) -> object:
        return self.credential

    def renew(self, credential: object, directory: str, _machinetype: Any, now: float) -> bool:
        assert (credential, now) == (self.credential, NOW)
        self.renewed.append(os.path.relpath(directory, self.directory))
        return True

    def remove(self, directory: str) -> None:
        self.removed.append(os.path.relpath(directory, self.directory))


QUEUE = (
    ad("50.0", IDLE, VacBatch="b-1"),
    ad("50.1", RUNNING, VacBatch="b-1"),
    ad("50.2", HELD, VacBatch="b-1", HoldReasonCode=1),
    ad("50.3", COMPLETED, VacBatch="b-1", ShutdownCode=200),
    ad("51.0", IDLE, VacBatch="b-2"),
    # Of a submit file by hand: it has no directory here.
    ad("52.0", IDLE, VacBatch=None),
)


@pytest.mark.parametrize("credential", [object(), None])
def test_who_waits_has_a_proxy_that_lasts_and_who_ended_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, credential: object
) -> None:
    proxies = Proxies(tmp_path, credential)
    monkeypatch.setattr(factory_cycle, "proxy", proxies)
    pool = StandInPool([factory_ad(), *QUEUE])
    last = cycle(pool, tmp_path).run(M)
    assert (last["error"], last["submit"]) == (None, 1)
    (batch,) = os.listdir(tmp_path / "vms")
    assert proxies.renewed == (["vms/b-1/0", "vms/b-2/0", f"vms/{batch}/0"] if credential else [])
    assert proxies.removed == ["vms/b-1/3"]


def test_a_proxy_that_cannot_be_made_stops_submission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def expired(*_: Any) -> bool:
        raise VacError("user_data_proxy_cert: ends too soon; renew it")

    proxies = Proxies(tmp_path, object())
    monkeypatch.setattr(proxies, "renew", expired)
    monkeypatch.setattr(factory_cycle, "proxy", proxies)
    pool = StandInPool([factory_ad()])
    last = cycle(pool, tmp_path).run(M)
    assert "ends too soon" in last["error"]
    assert pool.submitted() == 0


@pytest.mark.parametrize(
    ("ads", "wanted", "asked"),
    [([], 2, True), ([ad("50.0", IDLE)], 0, True), ([ad("50.0", RUNNING)], 0, False), ([], 0, False)],
)
def test_the_template_is_read_again_before_a_vm_can_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ads: list[dict[str, Any]], wanted: int, asked: bool
) -> None:
    calls: list[str] = []

    def refresh(_machinetype: Any, directory: str, _proxy_file: str | None) -> list[str]:
        assert not pool.submitted(), "before the submission"
        calls.append(directory)
        return ["user_data: the copy of an hour ago serves"]

    monkeypatch.setattr(user_data_copy, "refresh", refresh)
    monkeypatch.setattr(Greedy, "decide", lambda *_: Decision(wanted, (), (), ("because",)))
    pool = StandInPool([factory_ad(), *ads])
    last = cycle(pool, tmp_path).run(M)
    assert last["error"] is None
    assert calls == ([str(tmp_path)] if asked else [])
    assert ("user_data: the copy of an hour ago serves" in last["reasons"]) is asked


def test_a_template_that_cannot_be_had_stops_submission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any) -> list[str]:
        raise VacError("user_data: 404")

    monkeypatch.setattr(user_data_copy, "refresh", gone)
    pool = StandInPool([factory_ad()])
    assert "404" in cycle(pool, tmp_path).run(M)["error"]
    assert pool.submitted() == 0


def test_directories_of_jobs_in_the_queue_are_those_of_the_last_answer(tmp_path: Path) -> None:
    """What it showed before the schedd failed holds until it answers; before its first answer nothing is known."""
    pool = StandInPool([factory_ad(), *QUEUE])
    factory = cycle(pool, tmp_path)
    pool.failing.add("jobs")
    factory.run(M)
    assert factory.batches is None
    pool.failing.clear()
    factory.run(M)
    assert factory.batches == {"b-1", "b-2"}
    pool.ads = [factory_ad(), ad("60.0", RUNNING, VacBatch="b-3")]
    pool.failing.add("jobs")
    factory.run(M)
    assert factory.batches == {"b-1", "b-2"}
    pool.failing.clear()
    factory.run(M)
    assert factory.batches == {"b-3"}


def nested(path: Path) -> None:
    """1,100 directories, one in the other: more than a recursion takes."""
    here = os.getcwd()
    path.mkdir()
    try:
        os.chdir(path)
        for _ in range(1100):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)


def closed(path: Path) -> None:
    (path / "inner").mkdir(parents=True)
    (path / "inner").chmod(0)
    path.chmod(0)


def of_the_future(path: Path) -> None:
    path.write_text("x")
    os.utime(path, (4e9, 4e9))


SENT_BACK: dict[str, Callable[[Path], None]] = {
    "a directory": lambda path: (path / "inner").mkdir(parents=True),
    "directories in directories": nested,
    "directories without rights": closed,
    "a link": lambda path: path.symlink_to(path.parents[2]),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a FIFO": os.mkfifo,
    "a file of the future": of_the_future,
}


@pytest.mark.parametrize("kind", SENT_BACK)
def test_what_a_host_sends_back_as_a_proxy_is_removed_and_stops_nothing(tmp_path: Path, kind: str) -> None:
    vms = tmp_path / "vms" / "b-1"
    for number in "013":
        (vms / number).mkdir(parents=True)
    SENT_BACK[kind](vms / "3" / PROXY_NAME)
    last = cycle(StandInPool([factory_ad(), *QUEUE]), tmp_path).run(M)
    assert (last["error"], last["submit"]) == (None, 1)
    assert os.listdir(vms / "3") == []
    assert sorted(os.listdir(vms)) == ["0", "1", "3"], "nothing else"


@pytest.mark.parametrize("kind", SENT_BACK)
def test_what_is_in_the_place_of_a_waiting_vms_proxy_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(proxy, "make", lambda *_: proxy.Proxy(b"pem", "subject", NOW))
    SENT_BACK[kind](tmp_path / PROXY_NAME)
    assert proxy.renew(None, str(tmp_path), M, NOW)  # type: ignore[arg-type]
    assert (tmp_path / PROXY_NAME).read_bytes() == b"pem"
    assert os.listdir(tmp_path) == [PROXY_NAME]


def test_a_proxy_that_cannot_be_put_or_removed_in_one_vms_directory_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(proxy, "of_machinetype", lambda _: object())
    monkeypatch.setattr(proxy, "make", lambda *_: proxy.Proxy(b"pem", "subject", NOW))
    (tmp_path / "vms" / "b-2" / "0").mkdir(parents=True)
    (tmp_path / "vms" / "b-1").write_text("not a directory")
    factory = cycle(StandInPool([factory_ad(), *QUEUE]), tmp_path)
    last = factory.run(M)
    assert (last["error"], last["submit"]) == (None, 1)
    assert (tmp_path / "vms" / "b-2" / "0" / PROXY_NAME).exists()
    assert any("b-1/0" in reason and "no new proxy" in reason for reason in last["reasons"])
    assert any("b-1/3" in reason and "Not a directory" in reason for reason in last["reasons"])
    factory.run(M)
    assert capsys.readouterr().out.count("b-1/0") == 1, "named once in the log"


def test_a_job_that_names_another_ones_directory_does_not_take_its_proxy(tmp_path: Path) -> None:
    """Its host may write VacBatch; the other VM waits."""
    waits = tmp_path / "vms" / "b-2" / "0"
    waits.mkdir(parents=True)
    (waits / PROXY_NAME).write_text("pem")
    forged = ad("60.0", COMPLETED, VacBatch="b-2", ShutdownCode=200)
    pool = StandInPool([factory_ad(), ad("51.0", IDLE, VacBatch="b-2"), forged])
    assert cycle(pool, tmp_path).run(M)["error"] is None
    assert (waits / PROXY_NAME).exists()
    pool.ads = [each for each in pool.ads if each.get("VacBatch") != "b-2" or each == forged]
    cycle(pool, tmp_path).run(M)
    assert not (waits / PROXY_NAME).exists(), "of a VM that has ended"
