# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts are avoided after failures, longer each time, and cleared by work."""

from __future__ import annotations

import pytest

from condor_vac.policy import failures as policy_failures
from condor_vac.policy import host_trust
from condor_vac.policy.failures import Failure, Failures
from condor_vac.policy.host_trust import LONGEST_SECONDS, HostTrust


def test_a_host_is_avoided_after_two_failures_longer_each_time_and_cleared_by_work() -> None:
    trust = HostTrust(600.0)
    trust.failed("wn-1", 0.0, 50.0)
    assert trust.avoided(51.0) == ()
    trust.failed("wn-1", 0.0, 60.0)
    assert trust.avoided(61.0) == ("wn-1",)
    assert trust.avoided(660.0) == ()
    spans = []
    start = 700.0
    for _ in range(4):
        trust.failed("wn-1", start, start + 10)
        spans.append(trust.records["wn-1"].until - start - 10)
        start = trust.records["wn-1"].until + 1
    assert spans == [1200.0, 2400.0, LONGEST_SECONDS, LONGEST_SECONDS]
    trust.worked("wn-1")
    assert trust.records == {}


def test_a_host_is_forgiven_once_and_not_after_it_was_avoided_again() -> None:
    trust = HostTrust(600.0)
    for host, rounds in (("wn-1", 1), ("wn-2", 2)):
        for start in range(0, rounds * 10_000, 10_000):
            trust.failed(host, start, start + 10.0)
            trust.failed(host, start, start + 20.0)
    assert trust.avoided(10_021.0) == ("wn-2",)
    trust.forgive("wn-1")
    trust.forgive("wn-2")
    trust.forgive("wn-3")
    assert list(trust.records) == ["wn-2"]


def test_a_node_with_ever_new_names_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hosts that are avoided stay."""
    monkeypatch.setattr(host_trust, "KEPT_HOSTS", 10)
    trust = HostTrust(600.0)
    for moment in (1.0, 2.0):
        trust.failed("bad", 0.0, moment)
    for number in range(100):
        trust.failed(f"name-{number}", 10.0, 20.0 + number)
    assert sorted(trust.records) == sorted(["bad", *(f"name-{number}" for number in range(91, 100))])
    assert trust.avoided(130.0) == ("bad",)
    trust.failed("name-99", 10.0, 130.0)
    assert len(trust.records) == 10
    assert trust.avoided(131.0) == ("bad", "name-99")


def test_of_more_hosts_than_a_pool_has_the_latest_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_failures, "KEPT_HOSTS", 10)
    failures = Failures()
    for number in range(25):
        failures.saw([f"name-{number}"], 100.0 + number)
        failures.by_host[f"name-{number}"] = Failure(200.0 + number, "site")
        failures.forget(0.0)
    wanted = {f"name-{number}" for number in range(15, 25)}
    assert set(failures.known_hosts) == set(failures.by_host) == wanted
    failures.forget(222.0)
    assert set(failures.by_host) == {"name-23", "name-24"}
