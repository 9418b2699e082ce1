# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac simulate SCENARIO.yml… --policy NAME…``: play scenarios and compare policies, see docs/simulator.md.

``--json``: ``{"scenario": NAME, "policies": {POLICY: figures}}`` with the figures of
`condor_vac.simulate.meter.Meter.result`; for several scenarios a list of these. Exit 1 if a policy exceeded
a cap or removed a VM that worked, 2 if a scenario or a name is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from condor_vac.base import table as tables
from condor_vac.base.errors import UsageError
from condor_vac.cli.parser import did_you_mean
from condor_vac.cli.progress import ProgressLine
from condor_vac.simulate import plot
from condor_vac.simulate.play import OLD_NAMES, OURS, POLICIES, compare
from condor_vac.simulate.scenario import Scenario, load

_COLUMNS = (
    *("POLICY", "NET", "WORK", "WASTED", "WAIT", "TO 90 %"),
    *("STARTS", "WASTED STARTS", "PEAK", "IDLE", "CAPS", "KILLED"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``condor_vac simulate``."""
    parser.add_argument("scenario", metavar="SCENARIO.yml", nargs="*", help="scenario files (docs/simulator.md)")
    parser.add_argument(
        "--policy", metavar="NAME", nargs="+", action="extend", help=f"{', '.join(POLICIES)}; {OURS} if not given"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--plot", metavar="FILE.png", help="draw slots over time (PNG, SVG or PDF by its name)")
    parser.add_argument("--seed", type=int, metavar="N", help="use this seed instead of the scenarios' own")


def run(args: argparse.Namespace) -> int:
    """Play, print, draw. Raises UsageError for a wrong file or name, VacError if the plot cannot be written."""
    files, policies = _sort(args.scenario, args.policy or [OURS])
    if args.seed is not None and args.seed < 0:
        raise UsageError(f"--seed: is {args.seed}; give a whole number of 0 or more")
    scenarios = [load(name) for name in files]
    if args.seed is not None:
        scenarios = [replace(scenario, seed=args.seed) for scenario in scenarios]
    if args.plot:
        plot.check(args.plot)
    results = [_play(scenario, policies) for scenario in scenarios]
    if args.plot:
        plot.draw(args.plot, list(zip(scenarios, results)))
    if args.json:
        json.dump(results if len(results) > 1 else results[0], sys.stdout)
        print()
    else:
        print("\n\n".join(table(result) for result in results))
    return 1 if any(map(_broken, results)) else 0


def _sort(scenarios: Sequence[str], words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Files and policies; a file that follows ``--policy NAME`` has a dot or a slash in its name."""
    files = [*scenarios, *(word for word in words if "." in word or "/" in word)]
    policies = [word for word in words if word not in files] or [OURS]
    for name in policies:
        if name not in {*POLICIES, *OLD_NAMES}:
            hint = did_you_mean(name, POLICIES) or f"; give one of {', '.join(POLICIES)}"
            raise UsageError(f"--policy: {name!r} is unknown{hint}")
    if not files:
        raise UsageError("give at least one SCENARIO.yml; docs/scenarios/ has some")
    return files, list(dict.fromkeys(policies))


def _broken(result: Mapping[str, Any]) -> bool:
    return any(found["cap_violations"] or found["killed_working"] for found in result["policies"].values())


def _play(scenario: Scenario, policies: Sequence[str]) -> dict[str, Any]:
    line = ProgressLine()

    def progress(policy: str, now: float) -> None:
        share = 100 * now / scenario.duration
        line.show(f"{scenario.name}: {policy}: {share:.0f} % of {scenario.duration:.0f} s")

    try:
        return compare(scenario, policies, progress=progress)
    finally:
        line.end()


def table(result: Mapping[str, Any]) -> str:
    """One scenario's figures for a terminal; per machinetype too where there are several."""
    rows: list[Sequence[str]] = [_COLUMNS]
    for policy, found in result["policies"].items():
        rows.append(_row(policy, found))
        if len(found["per_machinetype"]) > 1:
            rows.extend(_row(f"  {name}", figures) for name, figures in found["per_machinetype"].items())
    return "\n".join([result["scenario"], *tables.columns(rows, tables.terminal(), figures=True)])


def _row(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    reached = found["seconds_to_90_percent"]
    return (
        name,
        "-" if found["net"] is None else f"{found['net']:.3f}",
        "-" if found["efficiency"] is None else f"{found['efficiency']:.3f}",
        f"{found['wasted_slot_seconds'] / 3600:.1f} h",
        "-" if found["mean_wait_seconds"] is None else f"{found['mean_wait_seconds']:.0f} s",
        "never" if reached is None else f"{reached / 60:.0f} min",
        *(str(found[key]) for key in ("vm_starts", "wasted_starts", "peak_machines", "peak_idle")),
        *(str(found[key]) for key in ("cap_violations", "killed_working")),
    )
