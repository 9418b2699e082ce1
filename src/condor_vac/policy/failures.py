# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether VMs fail on single hosts or all over the site: in the second case no host is to blame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from condor_vac.policy.host_trust import KEPT_HOSTS

# How many hosts must fail to be "all over": this share of those in use, and within these bounds (hosts). A few bad
# hosts are below it, an experiment that is down is above it within a batch or two. Ablation: failures_all_over.
HOSTS_SHARE = 1 / 5
FEWEST_HOSTS = 3
MOST_HOSTS = 10

_Value = TypeVar("_Value")


class Failure(NamedTuple):
    """The latest VM that failed on a host: when it asked for work, or died, and how it ended."""

    asked: float
    kind: str


class Failures:
    """The latest failure on each host, and the hosts that have been seen."""

    def __init__(self) -> None:
        self.in_a_row = 0  # VMs that ended without an answer since the last that gave one
        self.by_host: dict[str, Failure] = {}
        self.known_hosts: dict[str, float] = {}  # and when a VM was last seen there

    def saw(self, hosts: Iterable[str], now: float) -> None:
        """VMs run on these hosts."""
        self.known_hosts.update((host, now) for host in hosts)

    def forget(self, before: float) -> None:
        """Drop what is older, and of more than `KEPT_HOSTS` hosts the oldest."""
        by_host = {host: last for host, last in self.by_host.items() if last.asked > before}
        known = {host: at for host, at in self.known_hosts.items() if at > before}
        self.by_host = _newest(by_host, lambda host: by_host[host].asked)
        self.known_hosts = _newest(known, known.__getitem__)

    def since(self, answer: float) -> dict[str, Failure]:
        """The failures that came after an answer of another sort, by host."""
        return {host: last for host, last in self.by_host.items() if last.asked > answer}

    def all_over(self, answer: float) -> bool:
        """Whether VMs have failed on more hosts since ``answer`` than a few bad ones would be."""
        few = min(MOST_HOSTS, max(FEWEST_HOSTS, int(HOSTS_SHARE * len(self.known_hosts))))
        return len(self.since(answer)) >= max(1, min(few, len(self.known_hosts)))

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as JSON."""
        return {
            "in_a_row": self.in_a_row,
            "by_host": {host: list(last) for host, last in self.by_host.items()},
            "known_hosts": dict(self.known_hosts),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        self.in_a_row = state["in_a_row"]
        self.by_host = {host: Failure(*last) for host, last in state["by_host"].items()}
        self.known_hosts = dict(state["known_hosts"])


def _newest(of_hosts: dict[str, _Value], time: Callable[[str], float]) -> dict[str, _Value]:
    """The `KEPT_HOSTS` of the latest time."""
    if len(of_hosts) <= KEPT_HOSTS:
        return of_hosts
    return {host: of_hosts[host] for host in sorted(of_hosts, key=time)[-KEPT_HOSTS:]}
