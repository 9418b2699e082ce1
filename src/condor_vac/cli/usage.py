# SPDX-License-Identifier: GPL-3.0-or-later
"""What the VMs of a month used, for each machinetype and VO, from HTCondor's history on this access point.

A VM counts in the month (UTC) in which it ended, with all its time. HOURS are hours of the wall clock from its
match to its end, times its processors; CPU is what it used of them, as libvirt counts it. A VM whose job
HTCondor started again counts once, with its last start; EARLIER has the hours of the starts before, and of jobs
that were removed while they waited. HOURS*B and CPU*B are times the BENCHMARK of one processor. Sums of
AUDITOR's records are the same (docs/accounting.md). A VM comes into the history when it leaves the queue, an
hour after its end.

--csv and --json: seconds, and benchmark hours; month, machinetype, vo, benchmark, vms, wall_seconds (each VM
once), processor_seconds, cpu_seconds, earlier_processor_seconds, benchmark_hours, benchmark_cpu_hours; null or
empty: not known. --json besides: from and to (Unix s), oldest (the first end in the history), damaged and
repeated (ads that were not counted).

Exit code: 0 good, 1 an ad cannot be counted, or there is no history, 2 bad usage.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from condor_vac.base import table
from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.shared import Universe, one_line
from condor_vac.cli import survey
from condor_vac.condor import history
from condor_vac.condor.pool import job_id, owned
from condor_vac.model import accounting
from condor_vac.model.accounting import Use
from condor_vac.policy.words import count

_SHOWN = 5
_COLUMNS = ("MACHINETYPE", "VO", "BENCHMARK", "VMS", "HOURS", "CPU", "EARLIER", "HOURS*B", "CPU*B")
_SUMS = (
    "vms", "wall_seconds", "processor_seconds", "cpu_seconds", "earlier_processor_seconds", "benchmark_hours",
    "benchmark_cpu_hours",
)  # fmt: skip


@dataclass
class Month:
    """``start`` and ``end`` are Unix s of its first moment and of that of the next. ``rows`` are by (machinetype, VO,
    benchmark).
    """

    name: str
    start: int
    end: int
    rows: dict[tuple[str, str, str], dict[str, float]] = field(default_factory=dict)
    oldest: int | None = None
    damaged: list[str] = field(default_factory=list)
    damage: int = 0
    repeated: int = 0
    _seen: set[int] = field(default_factory=set)

    def take(self, ad: Mapping[str, Any], now: float) -> None:
        """Count the VM of this ad, if it ended in the month. Raises VacError for an ad that cannot be counted."""
        use = accounting.use(ad, now)
        if use is None:
            return
        self.oldest = min(self.oldest or use.ended, use.ended)
        if not self.start <= use.ended < self.end:
            return
        # Some 60 bytes for a VM. A schedd that dies between the history and its queue's log writes a job again.
        key = hash(use.job)
        if key in self._seen:
            self.repeated += 1
            return
        self._seen.add(key)
        self._add(use)

    def refuse(self, job: str, error: VacError) -> None:
        """Remember an ad that is not counted; the words of the first few."""
        self.damage += 1
        if len(self.damaged) < _SHOWN:
            self.damaged.append(f"{job}: {error}")

    def _add(self, use: Use) -> None:
        row = self.rows.setdefault((use.machinetype, use.vo or "", use.benchmark or ""), dict.fromkeys(_SUMS, 0))
        processor_seconds = use.wall_seconds * use.processors
        for key, value in (
            ("vms", use.vms),
            ("wall_seconds", use.wall_seconds),
            ("processor_seconds", processor_seconds),
            ("cpu_seconds", use.cpu_seconds),
            ("earlier_processor_seconds", use.earlier_seconds * use.processors),
            ("benchmark_hours", processor_seconds * use.per_processor / 3600),
            ("benchmark_cpu_hours", use.cpu_seconds * use.per_processor / 3600),
        ):
            row[key] += value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``condor_vac usage``."""
    parser.description = __doc__
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--month", metavar="YYYY-MM", help="which month (the present one)")
    parser.add_argument("--owner", action="append", default=[], metavar="USER", help="count this user's VMs as well")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the result as JSON")
    form.add_argument("--csv", action="store_true", help="print the result as CSV")
    survey.add_places(parser)


def run(args: argparse.Namespace) -> int:
    """Print the month; 1 if an ad could not be counted."""
    now = survey.now()
    month = _month(args.month or datetime.fromtimestamp(now, timezone.utc).strftime("%Y-%m"))
    owners = {*survey.owners(args), *args.owner}
    if not owners:
        raise UsageError(f"no machinetype in {args.machinetypes} or {args.state}; name the VMs' owner with --owner")
    constraint = f"JobUniverse =?= {Universe.VM} && {owned(owners)} && isString(VacMachinetype)"
    for ad in history.ads(constraint, accounting.PROJECTION):
        try:
            if isinstance(ad, VacError):
                raise ad
            month.take(ad, now)
        except VacError as error:
            month.refuse("an ad of the history" if isinstance(ad, VacError) else f"job {job_id(ad)}", error)
    _print(args, month)
    _warn(month)
    return 1 if month.damage else 0


def _month(word: str) -> Month:
    if not re.fullmatch(r"[12][0-9]{3}-(0[1-9]|1[0-2])", word):
        raise UsageError(f"--month: {word!r} is not a month of the form 2026-11")
    year, number = int(word[:4]), int(word[5:])
    following = (year + 1, 1) if number == 12 else (year, number + 1)
    start, end = (int(datetime(*each, 1, tzinfo=timezone.utc).timestamp()) for each in ((year, number), following))
    return Month(word, start, end)


def _records(month: Month) -> Iterator[dict[str, Any]]:
    for (machinetype, vo, benchmark), sums in sorted(month.rows.items()):
        rounded = {key: round(value, 6) for key, value in sums.items()}
        names = {"month": month.name, "machinetype": machinetype, "vo": vo or None, "benchmark": benchmark or None}
        yield {**names, **rounded}


def _print(args: argparse.Namespace, month: Month) -> None:
    rows = list(_records(month))
    if args.json:
        more = {"from": month.start, "to": month.end, "oldest": month.oldest}
        left = {"damaged": month.damage, "repeated": month.repeated}
        print(json.dumps({"month": month.name, **more, **left, "rows": rows}, indent=1))
    elif args.csv:
        names = ("month", "machinetype", "vo", "benchmark", *_SUMS)
        writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        total: dict[str, Any] = {key: sum(row[key] for row in rows) for key in _SUMS}
        total.update(machinetype="total", vo=None, benchmark=None)
        if len({row["benchmark"] for row in rows}) > 1:
            total.update(benchmark_hours=None, benchmark_cpu_hours=None)
        lines = [_COLUMNS, *(_row(row) for row in [*rows, total])]
        print(f"VMs that ended in {month.name} (UTC)")
        print("\n".join(table.columns(lines, table.terminal(), figures=True)))


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    def hours(key: str) -> str:
        return f"{row[key] / 3600:.1f}"

    def benchmarked(key: str) -> str:
        return f"{row[key]:.1f}" if row[key] else "-"

    return (
        row["machinetype"],
        row["vo"] or "-",
        row["benchmark"] or "-",
        str(row["vms"]),
        hours("processor_seconds"),
        hours("cpu_seconds"),
        hours("earlier_processor_seconds"),
        benchmarked("benchmark_hours"),
        benchmarked("benchmark_cpu_hours"),
    )


def _warn(month: Month) -> None:
    """On standard error, so that CSV and JSON stay as they are."""
    for words in month.damaged:
        print(f"condor_vac usage: {one_line(words, 300)}; not counted", file=sys.stderr)
    if month.damage > _SHOWN:
        print(f"condor_vac usage: and {count(month.damage - _SHOWN, 'more ad')}; not counted", file=sys.stderr)
    if month.repeated:
        print(f"condor_vac usage: {count(month.repeated, 'ad')} twice in the history: counted once", file=sys.stderr)
    if month.oldest is None or month.oldest >= month.start:
        when = "no VM" if month.oldest is None else f"no VM that ended before {_date(month.oldest)}"
        print(
            f"condor_vac usage: HTCondor's history has {when}: the month may be incomplete, see MAX_HISTORY_ROTATIONS",
            file=sys.stderr,
        )


def _date(moment: int) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
