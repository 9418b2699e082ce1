# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays every scenario of docs/scenarios with every policy and writes docs/simulation-results.md.

``python -m tests.scenarios.table`` writes it, ``--check`` says whether it is as the code has it (exit 1 if not).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "src"))

from condor_vac.simulate.play import POLICIES, compare  # noqa: E402
from condor_vac.simulate.scenario import load  # noqa: E402

TARGET = ROOT / "docs" / "simulation-results.md"
SCENARIOS = sorted((ROOT / "docs" / "scenarios").glob("*.yml"))
HEAD = """# What the policies do in the scenarios

Made by `python -m tests.scenarios.table`; do not edit. The scenarios are in `docs/scenarios/`, what the figures
mean is in [simulator.md](simulator.md), why `vacuum` does what it does in [factory.md](factory.md).

`oracle` knows the task queues; it is the reference, not a competitor. **Bold**: the best of the others.
"""


def play(path: Path) -> dict[str, Any]:
    """The figures of one scenario."""
    return compare(load(str(path)), POLICIES, timeline=False)


def document(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole page."""
    parts = [HEAD]
    for title, figure in (
        ("Net: (work - wasted) / work of the oracle", _net),
        ("Minutes to 90 % of the oracle's peak", _minutes),
        ("Seconds that a task waited on average while a slot that could have taken it did no work", _wait),
        ("VMs that started and did no task", lambda found: str(found["wasted_starts"])),
    ):
        parts.append(f"\n## {title}\n\n| scenario | {' | '.join(POLICIES)} |\n|---{'|--:' * len(POLICIES)}|\n")
        for name, result in results.items():
            cells = {policy: figure(found) for policy, found in result["policies"].items()}
            if figure is _net:
                cells = _best(cells, result)
            parts.append(f"| {name} | {' | '.join(cells.values())} |\n")
    return "".join(parts)


def _net(found: Mapping[str, Any]) -> str:
    return "no work" if found["net"] is None else f"{found['net']:.3f}"


def _minutes(found: Mapping[str, Any]) -> str:
    seconds = found["seconds_to_90_percent"]
    return "never" if seconds is None else f"{seconds / 60:.0f}"


def _wait(found: Mapping[str, Any]) -> str:
    seconds = found["mean_wait_seconds"]
    return "no work" if seconds is None else f"{seconds:.0f}"


def _best(cells: Mapping[str, str], result: Mapping[str, Any]) -> dict[str, str]:
    nets = {name: found["net"] for name, found in result["policies"].items() if name != "oracle"}
    if None in nets.values():
        return dict(cells)
    best = max(nets.values())
    return {name: f"**{cell}**" if nets.get(name, -9) >= best - 5e-7 else cell for name, cell in cells.items()}


def main() -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether the page is up to date")
    args = parser.parse_args()
    with ProcessPoolExecutor() as pool:
        results = {}
        for path, result in zip(SCENARIOS, pool.map(play, SCENARIOS)):
            results[path.stem] = result
            print(f"{path.stem} played", file=sys.stderr)
    page = document(results)
    if args.check:
        if TARGET.read_text("utf-8") == page:
            return 0
        print(f"{TARGET.relative_to(ROOT)} is not what the code gives; run python -m tests.scenarios.table")
        return 1
    TARGET.write_text(page, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
