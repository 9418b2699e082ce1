# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the demo waits: counted in processor time, from the last news on."""

from __future__ import annotations

import os

import pytest

from tests.demo import patience
from tests.demo.patience import Patience


class Host:
    """A clock and a processor's share, both set by the test."""

    def __init__(self, share: float = 1.0) -> None:
        self.now = 1000.0
        self.share = share
        self.patience = Patience(100, lambda: self.now, lambda: self.share)

    def wait(self, seconds: float, seen: object = "same") -> bool:
        """Checks each 10 s; what the last check returned."""
        going_on = True
        for _ in range(int(seconds / 10)):
            self.now += 10
            going_on = self.patience.take(seen)
        return going_on


def test_it_ends_when_nothing_happens_on_an_idle_host() -> None:
    host = Host()
    assert host.wait(110)
    assert not host.wait(10)


def test_each_news_gives_all_of_it_again() -> None:
    host = Host()
    assert all(host.wait(90, seen) for seen in range(20))
    assert host.wait(110, 20)
    assert not host.wait(10, 20)


@pytest.mark.parametrize("share", [0.5, 0.1, 0.02])
def test_a_busy_host_has_so_much_more_time(share: float) -> None:
    host = Host(share)
    assert host.wait(10 + 99 / share)
    assert not host.wait(20 / share)


def test_the_sleep_of_a_host_does_not_count_as_no_progress() -> None:
    host = Host()
    host.wait(20)
    host.now += 3600
    assert host.patience.take("same")


@pytest.mark.parametrize(("load", "share"), [(0.0, 1.0), (1.5, 1.0), (2.0, 1.0), (4.0, 0.5), (20.0, 0.1)])
def test_the_share_of_a_processor_follows_the_load(load: float, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 99.0, 99.0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    assert patience.share() == pytest.approx(share)
