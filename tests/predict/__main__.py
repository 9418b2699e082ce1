# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m tests.predict [--replay FILE]``: a real pool and the simulator play the same scenario.

A head, three worker nodes of 8 slots and a black hole of 2, in a lab of their own (VAC_LAB=predict): cold start with
plenty of work, then the end of the work. The simulator plays it with the times that were measured in the pool. Exit
code 0 if slots in use and slots that work differ by less than 20 % of the pool at each moment after the first minute,
else 1. What was seen is .cache/predict/record.jsonl, the scenario .cache/predict/scenario.yml.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml

from condor_vac.simulate import scenario
from tests.demo.own_lab import Lent, OwnLab, lend, short
from tests.soak.course import ticking
from tests.soak.pool import NotDoneError, Pool

from . import course, curves, picture, record, report, scenario_file
from .play import Play
from .times import NotSeenError, measure

HERE = Path(__file__).resolve().parent
LAB_NAME = "predict"
ROOT = HERE.parents[1]
PICTURE = ROOT / "docs" / "predicted-pool.svg"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m tests.predict", description=(__doc__ or "").partition("\n")[0])
    top.add_argument("--replay", type=Path, metavar="FILE", help="compare what an earlier run has seen; needs no pool")
    top.add_argument("--image", choices=("prepared", "sid"), default="prepared", help="default %(default)s")
    top.add_argument("--picture", type=Path, default=PICTURE, metavar="FILE", help=f"default {short(PICTURE)}")
    top.add_argument("--keep", action="store_true", help="leave the machines running at the end")
    return top


def compare(seen: record.Record, place: Path, drawn: Path) -> tuple[list[str], bool]:
    """The report, and whether the prediction holds. Raises NotSeenError.

    The scenario goes to the directory ``place``, the picture to the file ``drawn``.
    """
    times = measure(seen, course.HOLE)
    written = place / "scenario.yml"
    written.write_text(yaml.safe_dump(scenario_file.content(times, seen.emptied), sort_keys=False), "utf-8")
    predicted = curves.predict(scenario.load(str(written)), course.HOLE)
    found = curves.differences(seen.looks, predicted)
    picture.draw(drawn, seen, predicted)
    lines = report.lines(seen, times, predicted, found)
    return lines, not report.too_far(found)


def play(lent: Lent, drawn: Path) -> int:
    """From nothing to the report. Raises StepError."""
    screen, place = lent.screen, lent.lab.cache
    lent.make_pool()
    try:
        with ticking(screen):
            seen = Play(Pool(lent.lab.inventories), screen, place / "raw.jsonl").run()
        seen.write(place / "record.jsonl")
        lines, good = compare(seen, place, drawn)
    except (NotDoneError, NotSeenError) as error:
        screen.say(f"predict: {error}")
        return 1
    screen.say("", *lines)
    return 0 if good else 1


def replay(path: Path, drawn: Path) -> int:
    """Compare what is in a file."""
    place = ROOT / ".cache" / LAB_NAME
    place.mkdir(parents=True, exist_ok=True)
    try:
        lines, good = compare(record.read(path), place, drawn)
    except (OSError, ValueError, KeyError, TypeError, NotSeenError) as error:
        print(f"predict: {path}: {error!r}; give a record of an earlier run", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0 if good else 1


def main() -> int:
    """Run it."""
    args = parser().parse_args()
    if args.replay:
        return replay(args.replay, args.picture)
    keep = f"The machines still run; stop them: VAC_LAB={LAB_NAME} python -m tests.lab down" if args.keep else ""
    lab = OwnLab(
        LAB_NAME,
        HERE / "site.yml",
        args.image,
        keep,
        "python -m tests.predict --keep leaves it up.",
        course.NODES,
        HERE / "inventory",
    )
    return lend(lab, lambda lent: play(lent, args.picture))


if __name__ == "__main__":
    sys.exit(main())
