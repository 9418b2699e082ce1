# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m tests.constraints`` (``make constraints``): write tests/constraints.txt and tests/cores/oldest.txt anew.

pip finds, on each Python, the newest versions that the requirements admit; nothing is installed. Where Pythons need
different versions, the lines have markers. Needs a network and Python 3.9 to 3.13 on this machine.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests import interpreters
from tests.interpreters import Version, dotted

TESTS = Path(__file__).resolve().parent
# The tests' own environment is of a Python of one of these; Debian 12 has 3.11, Debian 13 has 3.13.
FULL: tuple[Version, ...] = ((3, 11), (3, 12), (3, 13))
# On these only the tests of src/condor_vac run.
PART: tuple[Version, ...] = ((3, 9), (3, 10))
# ansible-core 2.16, the oldest that is supported, runs on Python 3.10 to 3.12.
OLDEST_CORE: Version = (3, 11)
HEAD = """\
# Made by `make constraints`; do not edit. Versions of everything in the tests' Python environment, for the Pythons
# {pythons}; of those before {full} only what tests/pythons/requirements.txt needs.
"""
OLDEST_HEAD = """\
# Made by `make constraints`; do not edit. The last ansible-core {wanted} and what it needs, for tests/cores.
"""
OLDEST_WANTED = "ansible-core==2.16.*"
Pins = Mapping[str, str]


def resolve(python: Path, requirements: Sequence[str]) -> dict[str, str]:
    """Versions by normalised name, as pip would install them into an empty environment of *python*."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run((python, "-m", "venv", f"{directory}/venv"), check=True)
        report = Path(directory, "report.json")
        words = ("install", "--quiet", "--disable-pip-version-check", "--dry-run", "--ignore-installed")
        pip = (f"{directory}/venv/bin/python", "-m", "pip", *words, "--report", str(report), *requirements)
        subprocess.run(pip, check=True)
        installed = json.loads(report.read_text("utf-8"))["install"]
    return {_normal(one["metadata"]["name"]): one["metadata"]["version"] for one in installed}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def merge(resolved: Mapping[Version, Pins], full: Sequence[Version]) -> list[str]:
    """Lines of a constraints file, one for each version of a package, with markers where Pythons differ.

    A Python that is not in *full* has only a part of the packages: it does not affect the others.
    """
    lines = []
    for name in sorted({name for pins in resolved.values() for name in pins}):
        runs: list[tuple[Version, str | None]] = []
        for python in sorted(resolved):
            pin = resolved[python].get(name)
            if pin is None and python not in full:
                continue
            if not runs or runs[-1][1] != pin:
                runs.append((python, pin))
        lines += [f"{name}=={pin}{_marker(runs, number)}" for number, (_, pin) in enumerate(runs) if pin is not None]
    return lines


def _marker(runs: Sequence[tuple[Version, str | None]], number: int) -> str:
    """From the run's first Python to the next run's; the first and the last run have no end on their side."""
    parts = []
    if number > 0:
        parts.append(f'python_version >= "{dotted(runs[number][0])}"')
    if number + 1 < len(runs):
        parts.append(f'python_version < "{dotted(runs[number + 1][0])}"')
    return f" ; {' and '.join(parts)}" if parts else ""


def main() -> int:
    """Write both files; 1 if this machine lacks a Python."""
    pythons = interpreters.find()
    if lacking := [dotted(version) for version in (*PART, *FULL) if version not in pythons]:
        print(f"constraints: this machine lacks Python {', '.join(lacking)}", file=sys.stderr)
        return 1
    resolved = {}
    for version in (*PART, *FULL):
        print(f"constraints: Python {dotted(version)}", flush=True)
        needed = TESTS / ("requirements.txt" if version in FULL else "pythons/requirements.txt")
        resolved[version] = resolve(pythons[version], ("-r", str(needed)))
    oldest = merge({OLDEST_CORE: resolve(pythons[OLDEST_CORE], (OLDEST_WANTED,))}, [OLDEST_CORE])
    head = HEAD.format(pythons=", ".join(map(dotted, resolved)), full=dotted(FULL[0]))
    (TESTS / "constraints.txt").write_text("\n".join([head.rstrip(), *merge(resolved, FULL), ""]), "utf-8")
    head = OLDEST_HEAD.format(wanted=OLDEST_WANTED.partition("==")[2])
    (TESTS / "cores/oldest.txt").write_text("\n".join([head.rstrip(), *oldest, ""]), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
