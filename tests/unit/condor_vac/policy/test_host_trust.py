# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts are avoided after failures, longer each time, and cleared by work."""

from __future__ import annotations

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
