# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong in a scenario, and when: the entries of ``faults`` in its file, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from condor_vac.simulate.values import Reader, count, counts, maybe, number, part, step, text

# The keys of each kind, beside "kind" itself. A moment has "at"; what lasts has "from" and "until".
_KEYS: dict[str, tuple[str, ...]] = {
    "error": ("from", "machinetype", "share", "message", "after"),
    "black_hole": ("from", "hosts", "share", "message", "after"),
    "refuse": ("from", "hosts", "machinetype", "after"),
    "hold": ("from", "machinetype", "share"),
    "no_submissions": ("from", "machinetype"),
    "factory_killed": ("at", "machinetype"),
    "factory_down": ("from",),
    "schedd_unreachable": ("from",),
    "hosts_lost": ("from", "hosts"),
    "clock_step": ("at", "seconds"),
    "queue_emptied": ("at", "machinetype"),
}
KINDS = tuple(_KEYS)
# What happens to a VM that is matched in the window, in the place of its boot.
STRIKING = frozenset({"error", "black_hole", "refuse", "hold"})


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong from ``start`` until ``end`` (s); which fields count depends on ``kind``."""

    kind: str
    start: float
    end: float
    machinetype: str | None = None
    hosts: tuple[int, ...] = ()
    message: str | None = None
    after: float = 0.0
    share: float = 1.0
    seconds: float = 0.0

    def covers(self, now: float) -> bool:
        """Whether the fault is on at ``now``; the end is no longer part of it."""
        return self.start <= now < self.end

    def concerns(self, machinetype: str, host: int) -> bool:
        """Whether a VM of this machinetype on this host is one that it strikes (if it is on, and of its share)."""
        return self.machinetype in (None, machinetype) and (not self.hosts or host in self.hosts)


def read(data: Any, where: str, hosts: int, names: Sequence[str], duration: float) -> Fault:
    """The fault in one entry of a file, for a pool of so many hosts and these machinetypes. Raises UsageError."""
    reader = Reader(data, where)
    kind = reader.take("kind", text)
    if kind not in _KEYS:
        raise reader.fail("kind", f"is {kind!r}; give one of {', '.join(KINDS)}")
    keys = _KEYS[kind]
    if "at" in keys:
        start = end = reader.take("at", number)
    else:
        start, end = reader.take("from", number, 0.0), reader.take("until", number, duration)
    fault = Fault(
        kind=kind,
        start=start,
        end=end,
        machinetype=_machinetype(reader, names) if "machinetype" in keys else None,
        hosts=_hosts(reader, hosts) if "hosts" in keys else (),
        message=reader.take("message", maybe(text), None) if "message" in keys else None,
        after=reader.take("after", number, 0.0) if "after" in keys else 0.0,
        share=reader.take("share", part, 1.0) if "share" in keys else 1.0,
        seconds=reader.take("seconds", step) if "seconds" in keys else 0.0,
    )
    reader.done()
    return fault


def _machinetype(reader: Reader, names: Sequence[str]) -> str | None:
    name: str | None = reader.take("machinetype", maybe(text), None)
    if name is not None and name not in names:
        raise reader.fail("machinetype", f"is {name!r}; give one of {', '.join(names)}")
    return name


def _hosts(reader: Reader, hosts: int) -> tuple[int, ...]:
    """The numbers in ``host`` or ``hosts``."""
    if "host" in reader.left and "hosts" in reader.left:
        raise reader.fail("host", "is there beside hosts; remove one of them")
    key = "host" if "host" in reader.left else "hosts"
    numbers = [reader.take(key, count)] if key == "host" else reader.take(key, counts)
    for value in numbers:
        if value >= hosts:
            raise reader.fail(key, f"{value} does not exist; hosts are numbered 0 to {hosts - 1}")
    return tuple(numbers)
