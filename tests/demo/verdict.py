# SPDX-License-Identifier: GPL-3.0-or-later
"""What came of the demo: HTCondor's own records as a table, and whether all is as promised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .pool import Record
from .sample import NO_WORK, SUCCESS, Sample, count, made

LEAST_AT_ONCE = 6
ROW = "  {:<8}{:<7}{:>5}  {:<11}{:<7}{:>8}{:>8}  {}"
HEADER = ROW.format("VM", "for", "code", "kind", "host", "start", "life", "message")


@dataclass(frozen=True)
class Check:
    """One thing that the demo promises, and whether it is so."""

    good: bool
    text: str

    def __str__(self) -> str:
        """As the demo prints it."""
        return f"  {'yes' if self.good else 'NO '}  {self.text}"


def table(records: Sequence[Record], began: float) -> list[str]:
    """A row for each VM that ended; its start is given from the demo's begin, Unix time ``began``."""
    return [HEADER, *(_row(ad, began) for ad in records)]


def _row(ad: Record, began: float) -> str:
    start = f"{ad['JobStartDate'] - began:.0f} s" if "JobStartDate" in ad else "?"
    return ROW.format(
        vm_name(ad),
        ad.get("VacMachinetype", "?"),
        _text(ad.get("ShutdownCode")),
        _text(ad.get("VacKind")),
        host(ad),
        start,
        f"{_text(ad.get('VacRuntime'))} s",
        ad.get("ShutdownMessage") or "",
    ).rstrip()


def vm_name(ad: Record) -> str:
    """The id of the VM's job."""
    return f"{ad['ClusterId']}.{ad['ProcId']}"


def host(ad: Record) -> str:
    """The machine on which the VM ran, without its domain."""
    return str(ad.get("LastRemoteHost") or "?").rpartition("@")[2].partition(".")[0]


def _text(value: Any) -> str:
    return "?" if value is None else str(value)


def checks(samples: Sequence[Sample], records: Sequence[Record]) -> list[Check]:
    """What the demo promises: growth, work by at least `LEAST_AT_ONCE` VMs at once, its end, decline."""
    running = max((sample.total("running") for sample in samples), default=0)
    at_work = max((min(sample.total("running"), sample.total("at_work")) for sample in samples), default=0)
    found = [
        Check(
            at_work >= LEAST_AT_ONCE,
            f"{count(running)} ran at once, {at_work} of them at work (at least {LEAST_AT_ONCE})",
        )
    ]
    for name in samples[-1].experiments if samples else ():
        found += _of_experiment(name, samples, records)
    return found


def _of_experiment(name: str, samples: Sequence[Sample], records: Sequence[Record]) -> list[Check]:
    last = samples[-1].experiments[name]
    codes = [str(ad.get("ShutdownCode")) for ad in records if ad.get("VacMachinetype") == name]
    worked, idled = codes.count(SUCCESS), codes.count(NO_WORK)
    batches = [each.number for each in made(samples) if each.name == name]
    # On a busy host the first look may come after the first decision.
    first = samples[0].experiments[name].alive or (batches or [0])[0]
    most = max(sample.experiments[name].alive for sample in samples)
    return [
        Check(0 < first < most, f"{name}: its factory began with {count(first)} and went up to {most}"),
        Check(worked > 0, f"{name}: {count(worked)} did tasks and ended with {SUCCESS} (at least 1)"),
        Check(idled > 0, f"{name}: {count(idled)} found no work and ended with {NO_WORK} (at least 1)"),
        Check(
            last.done > 0 and not (last.left or last.at_work),
            f"{name}: {last.done} of {last.done + last.left + last.at_work} tasks are done",
        ),
        Check(not last.alive, f"{name}: since then its factory has made no VM"),
    ]
