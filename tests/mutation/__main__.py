# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutate modules and list what no test notices: ``python -m tests.mutation [--children N] [MODULE...]``.

"no end" counts mutants whose tests were ended after many times what they take: most have a loop without end, but on a
busy machine one may have been slow. Exits 1 if a mutant survives that tests/mutation/accepted.txt does not name, or if
one survives no more that it names; 2 if mutmut could not run. Takes minutes for each module. Run by a user, not by
root, it skips tests that mutants need.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.interpreters import NotMadeError
from tests.mutation import mutmut, results
from tests.mutation.modules import TARGETS, Target
from tests.mutation.results import Survivor

ACCEPTED = Path(__file__).resolve().parent / "accepted.txt"


def _arguments() -> argparse.Namespace:
    names = [target.name for target in TARGETS]
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description="Mutate modules by mutmut.")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(names)} (default: all)")
    parser.add_argument("--children", type=int, default=1, help="mutants that are tried at a time (default: 1)")
    found = parser.parse_args()
    if unknown := set(found.modules) - set(names):
        parser.error(f"no such module: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return found


def _tried(python: Path, target: Target, children: int) -> tuple[int, int, list[Survivor]]:
    print(f"mutation: {target.name}: {', '.join(target.tests)}", flush=True)
    with mutmut.locked(target):
        tree, path = mutmut.copy(target)
        mutmut.run(python, tree, target.name, children)
        return results.of(tree, path, target.path)


def main() -> int:
    """Try the modules, print a table of them and the survivors."""
    arguments = _arguments()
    targets = [target for target in TARGETS if target.name in arguments.modules or not arguments.modules]
    accepted = results.accepted(ACCEPTED.read_text("utf-8"))
    table, left = [], []
    named: set[str] = set()
    try:
        python = mutmut.environment()
        for target in targets:
            count, ended, survivors = _tried(python, target, arguments.children)
            new = [one for one in survivors if one.key not in accepted]
            named |= {one.key for one in survivors}
            left += new
            row = (count, count - ended - len(survivors), ended, len(survivors) - len(new), len(new))
            table.append(f"{target.path:50}" + "".join(f"{number:10}" for number in row))
            print(table[-1], flush=True)
    except (NotMadeError, mutmut.FailedError, ValueError) as error:
        print(f"mutation: {error}", file=sys.stderr)
        return 2
    stale = [key for key in accepted if key not in named and key.startswith(tuple(f"{one.path} " for one in targets))]
    print(
        f"\n{'module':50}{'mutants':>10}{'killed':>10}{'no end':>10}{'accepted':>10}{'survive':>10}", *table, sep="\n"
    )
    print(*(f"survives: {one}" for one in left), sep="\n")
    print(*(f"is killed now, remove it from {ACCEPTED.name}: {key}" for key in stale), sep="\n")
    return 1 if left or stale else 0


if __name__ == "__main__":
    sys.exit(main())
