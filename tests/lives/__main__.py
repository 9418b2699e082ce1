# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays random site lives with ours and all peers: ``make lives N=200``.

Exit code 0; 1 if a rule is broken (a cap exceeded, a working VM removed, VMs without any work that run away).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from tests import progress
from tests.lives import report
from tests.lives.generator import LABELS, Life, life
from tests.lives.score import Score, score

# Seeds that --only looks through for each life that it is to find.
LOOK_THROUGH = 500


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.lives", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--number", type=int, default=None, metavar="N", help="of lives; default: 1 with --show, else 200"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the first life (default: %(default)s)")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="LABEL", help="lives with all these labels, e.g. low_cpu bursts"
    )
    parser.add_argument("--show", action="store_true", help="print the lives as scenario files, and play nothing")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="processes (default: processors)")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    args = parser.parse_args(words)
    if args.number is None:
        args.number = 1 if args.show else 200
    if args.number < 1:
        parser.error(f"--number: is {args.number}; give 1 or more")
    for word in args.only:
        if word not in LABELS:
            parser.error(f"--only: {word!r} is unknown; give one of {', '.join(sorted(LABELS))}")
    return args


def seeds(first: int, number: int, only: Sequence[str]) -> list[int]:
    """So many seeds from ``first`` on, of lives that have all these labels; fewer if they are too rare."""
    if not only:
        return list(range(first, first + number))
    looked = range(first, first + LOOK_THROUGH * number)
    return list(itertools.islice((seed for seed in looked if life(seed).labels >= set(only)), number))


def play(wanted: Sequence[int], jobs: int) -> list[Score]:
    """The scores of these seeds, in so many processes."""
    with ProcessPoolExecutor(min(jobs, len(wanted))) as pool:
        return list(progress.watched(pool.map(score, wanted), len(wanted), "lives"))


def as_yaml(shown: Life) -> str:
    """A scenario file."""
    import yaml  # noqa: PLC0415 - only to show one

    text: str = yaml.safe_dump(shown.data, sort_keys=False, width=120, default_flow_style=None)
    return f"# {shown.line()}\n{text}"


def as_json(scores: Sequence[Score]) -> dict[str, Any]:
    """``{"goals": {text: met}, "rules": {text: met}, "lives": [score]}``."""
    return {
        "goals": dict(report.goals(scores)),
        "rules": dict(report.rules(scores)),
        "lives": [each.as_json() for each in scores],
    }


def main(words: Sequence[str] | None = None) -> int:
    """Play, or show."""
    args = arguments(words)
    wanted = seeds(args.seed, args.number, args.only)
    if not wanted:
        print(f"no life has all of {', '.join(args.only)}", file=sys.stderr)
        return 2
    if args.show:
        print("---\n".join(as_yaml(life(seed)) for seed in wanted), end="")
        return 0
    scores = play(wanted, args.jobs)
    print(json.dumps(as_json(scores), indent=1) if args.json else report.text(scores))
    return int(any(each.breaks_a_rule for each in scores))


if __name__ == "__main__":
    sys.exit(main())
