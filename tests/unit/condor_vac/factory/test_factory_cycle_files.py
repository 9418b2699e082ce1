# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cycle does to the files of its VMs: proxies, the template at a URL, and directories that may go."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import VacError
from condor_vac.factory import cycle as factory_cycle
from condor_vac.factory import user_data_copy
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


def test_directories_of_jobs_in_the_queue_are_known_also_those_of_earlier_cycles(tmp_path: Path) -> None:
    pool = StandInPool([factory_ad(), *QUEUE])
    factory = cycle(pool, tmp_path)
    factory.run(M)
    first = set(factory.batches)
    assert first >= {"b-1", "b-2"}
    pool.ads = [factory_ad(), ad("60.0", RUNNING, VacBatch="b-3")]
    factory.run(M)
    assert factory.batches >= first | {"b-3"}
