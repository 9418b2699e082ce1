# SPDX-License-Identifier: GPL-3.0-or-later
"""Troubles of sites: each makes faults of a scenario."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.lives.draws import HOUR, MINUTE, Data, even

ERRORS = ("600 Task queue unreachable", "400 Banned", "500 No CVMFS", "700 Agent died", None)
HOST_ERRORS = ("500 No CVMFS", "500 Disk full", "700 Agent died", "600 Cannot reach the queue", None)


@dataclass(frozen=True)
class Site:
    """What troubles may come to: the scenario's seconds, its number of hosts, its machinetypes."""

    duration: int
    hosts: int
    names: Sequence[str]

    def window(self, rng: random.Random, low: int, high: int) -> Data:
        """``{from, until}`` of a fault that lasts from ``low`` to ``high`` seconds."""
        begin = rng.randint(0, self.duration)
        return {"from": begin, "until": begin + even(rng, low, high)}

    def some_hosts(self, rng: random.Random, most: float) -> list[int]:
        """One host or more, at most this share of them."""
        return sorted(rng.sample(range(self.hosts), rng.randint(1, max(1, int(most * self.hosts)))))


def errors(site: Site, rng: random.Random) -> list[Data]:
    """An experiment's VMs all fail, from half an hour to four hours, once to three times."""
    name = rng.choice(site.names)
    return [
        {
            "kind": "error", "machinetype": name, **site.window(rng, HOUR // 2, 4 * HOUR),
            "message": rng.choice(ERRORS), "after": rng.choice([30, 60, 120, 300, 900]),
        }
        for _ in range(rng.randint(1, 3))
    ]  # fmt: skip


def site_error(site: Site, rng: random.Random) -> list[Data]:
    """Every VM of the site fails for an hour or two."""
    window = site.window(rng, HOUR // 2, 2 * HOUR)
    return [{"kind": "error", **window, "message": "500 No CVMFS", "after": rng.choice([60, 300])}]


def black_holes(site: Site, rng: random.Random) -> list[Data]:
    """Up to a tenth of the hosts fail every VM."""
    return [
        {
            "kind": "black_hole", "host": host, **site.window(rng, HOUR, 24 * HOUR),
            "message": rng.choice(HOST_ERRORS), "after": even(rng, 20, 400),
        }
        for host in site.some_hosts(rng, 0.1)
    ]  # fmt: skip


def hosts_lost(site: Site, rng: random.Random) -> list[Data]:
    """Up to half of the hosts vanish with their VMs."""
    return [{"kind": "hosts_lost", "hosts": site.some_hosts(rng, 0.5), **site.window(rng, 10 * MINUTE, 3 * HOUR)}]


def kills(site: Site, rng: random.Random) -> list[Data]:
    """The factory is killed, once or every few hours."""
    first, every = rng.randint(60, site.duration), rng.choice([10**9, even(rng, HOUR, 6 * HOUR)])
    return [{"kind": "factory_killed", "at": at} for at in range(first % every, site.duration, every)]


def factory_down(site: Site, rng: random.Random) -> list[Data]:
    """The factory is down for ten minutes to two hours."""
    return [{"kind": "factory_down", **site.window(rng, 10 * MINUTE, 2 * HOUR)}]


def schedd_unreachable(site: Site, rng: random.Random) -> list[Data]:
    """The schedd does not answer for ten minutes to an hour."""
    return [{"kind": "schedd_unreachable", **site.window(rng, 10 * MINUTE, HOUR)}]


def part_errors(site: Site, rng: random.Random) -> list[Data]:
    """A part of an experiment's VMs fail, for hours."""
    window = site.window(rng, HOUR, 12 * HOUR)
    what = {"message": rng.choice(ERRORS), "after": rng.choice([30, 120, 300])}
    return [{"kind": "error", "machinetype": rng.choice(site.names), **window, "share": _part(rng), **what}]


def part_black_holes(site: Site, rng: random.Random) -> list[Data]:
    """Up to a fifth of the hosts fail a part of their VMs."""
    return [
        {
            "kind": "black_hole", "host": host, **site.window(rng, HOUR, 24 * HOUR), "share": _part(rng),
            "message": rng.choice(HOST_ERRORS), "after": even(rng, 20, 400),
        }
        for host in site.some_hosts(rng, 0.2)
    ]  # fmt: skip


def _part(rng: random.Random) -> float:
    return round(rng.uniform(0.2, 0.8), 2)


def refusals(site: Site, rng: random.Random) -> list[Data]:
    """Up to a third of the hosts take VMs and give them back before they start."""
    hosts, window = site.some_hosts(rng, 0.3), site.window(rng, HOUR // 2, 6 * HOUR)
    return [{"kind": "refuse", "hosts": hosts, **window, "after": even(rng, 10, 300)}]


def holds(site: Site, rng: random.Random) -> list[Data]:
    """An experiment's VMs, or a part of them, are put on hold."""
    window = site.window(rng, 10 * MINUTE, 3 * HOUR)
    return [{"kind": "hold", "machinetype": rng.choice(site.names), **window, "share": rng.choice([0.1, 0.5, 1.0])}]


def expired_proxy(site: Site, rng: random.Random) -> list[Data]:
    """No VM of an experiment can be submitted for hours."""
    return [{"kind": "no_submissions", "machinetype": rng.choice(site.names), **site.window(rng, HOUR, 8 * HOUR)}]


def clock_steps(site: Site, rng: random.Random) -> list[Data]:
    """The access point's clock steps by a minute to two hours, forward or back, once or twice."""
    return [
        {
            "kind": "clock_step",
            "at": rng.randint(0, site.duration),
            "seconds": rng.choice([-1, 1]) * even(rng, 60, 7200),
        }
        for _ in range(rng.randint(1, 2))
    ]


TROUBLES: dict[str, Callable[[Site, random.Random], list[Data]]] = {
    each.__name__: each
    for each in (
        errors, part_errors, site_error, black_holes, part_black_holes, refusals, holds, hosts_lost, expired_proxy,
        clock_steps, kills, factory_down, schedd_unreachable,
    )
}  # fmt: skip
# How many troubles a life has: each number is as likely as the others of this list.
NUMBERS = (0, 0, 0, 1, 1, 2, 3)
