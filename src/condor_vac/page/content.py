# SPDX-License-Identifier: GPL-3.0-or-later
"""What the page shows, as plain data: one machinetype's figures, ends and hosts, and the nodes with findings of all."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from condor_vac.base.shared import one_line
from condor_vac.factory import day
from condor_vac.factory import state as factory_state
from condor_vac.factory.day import End, Seen
from condor_vac.factory.job_ad import ON_HOST
from condor_vac.factory.state import State
from condor_vac.model import outcome
from condor_vac.page import classes
from condor_vac.policy import observation as o
from condor_vac.policy import state as policy_state
from condor_vac.policy.laws import FAILURE_WORDS
from condor_vac.policy.words import count

# As many ends of a host as show that none succeeds there.
_ONLY_FAILURES = 3
# One may be chance.
_NODE_FAILURES = 2
# As the alert CondorVacVMsFail has it: ends of these kinds, more than so many in the last hour, and more than half.
FAILED_KINDS = frozenset({*FAILURE_WORDS, o.LOST})
_HOUR_SECONDS = 3600.0
_FEW_FAILURES = 4


@dataclass(frozen=True)
class Part:
    """A machinetype: its ``figures`` as ``condor_vac status`` has them, of the factory's last cycle.

    ``last`` is that cycle (``condor_vac.factory.state.LAST``; empty before the first), ``avoided`` the hosts that new
    VMs avoid, with the time until which (Unix s; None where it is not known).
    """

    name: str
    max_machines: int | None
    last: Mapping[str, Any]
    figures: Mapping[str, Any]
    avoided: Mapping[str, float | None]
    seen: Seen
    problems: Sequence[str]


@dataclass(frozen=True)
class Codes:
    """Ends of one code and kind; ``latest`` is the latest of them that has a message, or the latest."""

    code: int | None
    kind: str
    number: int
    latest: End


@dataclass(frozen=True)
class Host:
    """A host: its VMs now, and how those of the last day ended, by class. ``latest``: the latest that failed."""

    name: str
    now: int
    ends: Mapping[str, int]
    latest: End | None

    @property
    def failed(self) -> int:
        """How many ended as they must not."""
        return sum(number for name, number in self.ends.items() if name in classes.FAILED)


def part(name: str, max_machines: int | None, state: State, seen: Seen, problems: Sequence[str]) -> Part:
    """A machinetype from its factory's files."""
    policy = None if state.policy is None else policy_state.current(state.policy)
    known = {} if policy is None else policy["judgement"]["hosts"]
    avoided = {host: known.get(host, {}).get("until") for host in state.avoid}
    figures = day.figures(seen.vms)
    held = [f"{count(figures['held'], 'VM')} held; condor_vac status shows the reasons"] if figures["held"] else []
    return Part(name, max_machines, state.last, figures, avoided, seen, [*problems, *seen.problems, *held])


def failures(ends: Iterable[End], now: float) -> list[str]:
    """That most VMs of the last hour failed, if they did."""
    kinds = Counter(end.kind for end in ends if end.ended >= now - _HOUR_SECONDS)
    failed = {kind: number for kind, number in kinds.most_common() if kind in FAILED_KINDS}
    total, bad = sum(kinds.values()), sum(failed.values())
    if bad <= _FEW_FAILURES or bad <= total / 2:
        return []
    words = ", ".join(f"{kind} {number}" for kind, number in failed.items())
    return [f"{bad} of the {count(total, 'VM')} that ended in the last hour failed ({words})"]


def by_code(ends: Iterable[End]) -> list[Codes]:
    """The ends by code and kind, the commonest first."""
    groups: dict[tuple[int | None, str], list[End]] = defaultdict(list)
    for end in ends:
        groups[end.code, end.kind].append(end)
    found = [
        Codes(code, kind, len(each), max(each, key=lambda end: (bool(end.message), end.ended)))
        for (code, kind), each in groups.items()
    ]
    return sorted(found, key=lambda each: (-each.number, each.code or 0, each.kind))


def by_host(seen: Iterable[Seen]) -> list[Host]:
    """The hosts, those with most failures first."""
    ends: dict[str, Counter[str]] = defaultdict(Counter)
    now: Counter[str] = Counter()
    latest: dict[str, End] = {}
    for each in seen:
        now.update(vm.host for vm in each.vms if vm.host is not None and vm.state in ON_HOST)
        for end in each.ends:
            if end.host is None:
                continue
            of_class = classes.of_end(end)
            ends[end.host][of_class] += 1
            if of_class in classes.FAILED and (end.host not in latest or latest[end.host].ended < end.ended):
                latest[end.host] = end
    hosts = [Host(name, now[name], ends[name], latest.get(name)) for name in {*now, *ends}]
    return sorted(hosts, key=lambda host: (-host.failed, -sum(host.ends.values()), host.name))


def findings(host: Host) -> list[str]:
    """What is wrong with a node as far as its VMs show it."""
    found = []
    total = sum(host.ends.values())
    if total == host.failed >= _ONLY_FAILURES:
        found.append(f"all {total} VMs of the last day failed")
    if host.ends.get(classes.NODE, 0) >= _NODE_FAILURES:
        found.append(f"{count(host.ends[classes.NODE], 'VM')} failed by the node (5xx, lost or refused)")
    return found


def message(end: End) -> str:
    """What a VM's end is to a person: code or kind, and its message."""
    code = end.kind if end.code is None else str(end.code)
    return one_line(f"{code} {end.message or ''}", outcome.TEXT_LIMIT).strip()


def report(each: Part) -> dict[str, Any]:
    """A machinetype as JSON, the keys of ``condor_vac status --json`` among them."""
    return {
        **each.figures,
        "last": factory_state.shown(each.last),
        "max_machines": each.max_machines,
        "problems": list(each.problems),
        "avoid_hosts": dict(each.avoided),
        "ends": [{"code": one.code, "kind": one.kind, "number": one.number} for one in by_code(each.seen.ends)],
        "hosts": {
            host.name: {"running": host.now, "ended": sum(host.ends.values()), "failed": host.failed}
            for host in by_host([each.seen])
        },
    }
