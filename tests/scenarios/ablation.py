# SPDX-License-Identifier: GPL-3.0-or-later
"""Switches each mechanism of the policy off and prints what that costs in each scenario of docs/scenarios.

The cost is the net that is lost ((work - wasted) / work of the oracle); where there is no work, the slot hours that
are wasted in addition. A negative cost is a gain. Net is rounded to four digits; what is 0 then counts as unchanged.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "src"))

from condor_vac.simulate.play import OURS, play  # noqa: E402
from condor_vac.simulate.scenario import Scenario, load  # noqa: E402
from tests import progress  # noqa: E402
from tests.scenarios.generator import KINDS, scenario  # noqa: E402
from tests.scenarios.mechanisms import MECHANISMS  # noqa: E402
from tests.scenarios.table import SCENARIOS as ALL  # noqa: E402

# The largest pools take most of the time, and differ from cold_start in size alone.
LARGE = {"five_thousand", "defaults"}
SCENARIOS = [path for path in ALL if path.stem not in LARGE]
TARGET = ROOT / "docs" / "ablation-results.md"
NET_DIGITS, HOUR_DIGITS = 4, 1
HEAD = f"""# What each mechanism of the policy earns

Made by `python -m tests.scenarios.ablation --write`; do not edit. What the mechanisms are and which of them earn
nothing is in [factory.md](factory.md#what-each-mechanism-earns).

Each mechanism is switched off alone, in {len(SCENARIOS)} scenarios of `docs/scenarios`: all but the largest pools
({", ".join(sorted(LARGE))}). The cost is the net that is lost. Where there is no work, it is the slot hours (h) that
are wasted in addition. A negative cost is a gain: the figure is better without.
"""


@dataclass(frozen=True)
class Baseline:
    """What the whole policy comes to in one scenario, and the oracle's work there, in slot-seconds."""

    oracle: float
    net: float | None
    wasted_hours: float


@dataclass(frozen=True)
class Cost:
    """What one scenario loses without one mechanism: net, or slot hours where there is no work."""

    cost: float
    unit: str
    broken: int = 0  # caps exceeded and working VMs removed

    def __str__(self) -> str:
        digits = NET_DIGITS if self.unit == "net" else HOUR_DIGITS
        return f"{self.cost:+.{digits}f}{'' if self.unit == 'net' else ' h'}{' BROKEN' if self.broken else ''}"


def baseline(played: Scenario) -> Baseline:
    """The scenario with every mechanism."""
    oracle, ours = play(played, "oracle").meter, play(played, OURS).meter
    net = (ours.work - ours.wasted) / oracle.work if oracle.work else None
    return Baseline(oracle.work, net, ours.wasted / 3600)


def cost(played: Scenario, whole: Baseline, name: str) -> Cost:
    """The scenario without one mechanism."""
    with MECHANISMS[name].off():
        meter = play(played, OURS).meter
    broken = meter.cap_violations + meter.killed_working
    if whole.net is None:
        return Cost(round(meter.wasted / 3600 - whole.wasted_hours, HOUR_DIGITS), "slot_hours", broken)
    return Cost(round(whole.net - (meter.work - meter.wasted) / whole.oracle, NET_DIGITS), "net", broken)


def scenarios(files: Sequence[str | Path], seeds: int) -> dict[str, Scenario]:
    """Those of the files, by the files' names, and so many random ones of each kind."""
    drawn = [scenario(kind, seed) for kind in KINDS for seed in range(seeds)]
    return {Path(path).stem: load(str(path)) for path in files} | {each.name: each for each in drawn}


def ablate(played: Mapping[str, Scenario], names: Sequence[str], jobs: int) -> dict[str, dict[str, Cost]]:
    """What each scenario loses without each mechanism: ``{mechanism: {scenario: cost}}``."""
    found: dict[str, dict[str, Cost]] = {name: {} for name in names}
    with ProcessPoolExecutor(jobs) as pool:
        wholes = list(
            progress.watched(pool.map(baseline, played.values()), len(played), "scenarios with the whole policy")
        )
        tasks = [(name, label, whole) for name in names for label, whole in zip(played, wholes)]
        costs = pool.map(cost, *zip(*((played[label], whole, name) for name, label, whole in tasks)))
        lost_in_each = progress.watched(costs, len(tasks), "scenarios without one mechanism")
        for lost, (name, label, _) in zip(lost_in_each, tasks):
            found[name][label] = lost
    return found


def table(found: Mapping[str, Mapping[str, Cost]]) -> str:
    """One row for each mechanism: mean and extremes of the net, the hours, and how many scenarios change."""
    lines = ["| without | mean net lost | most lost | most gained | no work | changed |", "|---|--:|--:|--:|--:|--:|"]
    for name, costs in found.items():
        nets = [each.cost for each in costs.values() if each.unit == "net"] or [0.0]
        hours = sum(each.cost for each in costs.values() if each.unit != "net")
        changed = sum(bool(each.cost) for each in costs.values())
        most = (f"{sum(nets) / len(nets):+.4f}", f"{max(0.0, *nets):.4f}", f"{max(0.0, -min(nets)):.4f}")
        lines.append(f"| {name} | {' | '.join(most)} | {hours:+.1f} h | {changed} of {len(costs)} |")
    return "\n".join(lines)


def details(found: Mapping[str, Mapping[str, Cost]]) -> str:
    """For each mechanism the scenarios that change without it, the most costly first."""
    parts = []
    for name, costs in found.items():
        changed = sorted((item for item in costs.items() if item[1].cost or item[1].broken), key=_order)
        listed = ", ".join(f"{each} {lost}" for each, lost in changed)
        same = len(costs) - len(changed)
        rest = f"{'; ' if changed else ''}unchanged: {same} of {len(costs)}" if same else ""
        parts.append(f"- **{name}** ({MECHANISMS[name].without}): {listed}{rest}.")
    return "\n".join(parts)


def _order(item: tuple[str, Cost]) -> tuple[bool, float, str]:
    name, lost = item
    return lost.unit != "net", -lost.cost, name


def as_json(found: Mapping[str, Mapping[str, Cost]]) -> dict[str, Any]:
    """``{mechanism: {"without": text, "scenarios": {scenario: {"cost": number, "unit": text, "broken": number}}}}``."""
    return {
        name: {
            "without": MECHANISMS[name].without,
            "scenarios": {each: vars(lost) for each, lost in costs.items()},
        }
        for name, costs in found.items()
    }


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.scenarios.ablation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", nargs="*", metavar="SCENARIO.yml", help="default: all of docs/scenarios")
    parser.add_argument(
        "--mechanism", nargs="+", metavar="NAME", choices=MECHANISMS, help=f"only these: {', '.join(MECHANISMS)}"
    )
    parser.add_argument(
        "--random", type=int, default=0, metavar="N", help="play also N random scenarios of each kind (default: none)"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="processes (default: processors)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    where = f"{TARGET.relative_to(ROOT)}, which has all of docs/scenarios"
    parser.add_argument("--write", action="store_true", help=f"write {where}")
    parser.add_argument("--check", action="store_true", help="only check that this page is up to date (exit 1 if not)")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Print what is asked for; write or compare the page."""
    args = arguments(words)
    page = args.write or args.check
    files = SCENARIOS if page else args.scenario or SCENARIOS
    names = list(MECHANISMS) if page else args.mechanism or list(MECHANISMS)
    found = ablate(scenarios(files, 0 if page else args.random), names, args.jobs)
    if page:
        return _page(f"{HEAD}\n{table(found)}\n\n## In which scenarios\n\n{details(found)}\n", args.check)
    print(json.dumps(as_json(found), indent=1) if args.json else f"{table(found)}\n\n{details(found)}")
    return 0


def _page(text: str, check: bool) -> int:
    if not check:
        TARGET.write_text(text, "utf-8")
    elif TARGET.read_text("utf-8") != text:
        print(f"{TARGET.relative_to(ROOT)} is not what the code gives; run python -m tests.scenarios.ablation --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
