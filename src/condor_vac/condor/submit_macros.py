# SPDX-License-Identifier: GPL-3.0-or-later
"""A submit file's commands with its macros expanded: by HTCondor's own parser where its bindings are, else here.

HTCondor's parser also reads if and else. It ends the whole process at a macro that names itself (seen with 25.14), so
it runs in one of its own. ``include`` is never read: it may run a command.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from typing import NamedTuple

from condor_vac.condor import submit_parser

_MACRO = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_.]*)(?::([^()]*))?\)")
# What condor_submit fills in for each job.
_OF_A_JOB = frozenset(
    {"cluster", "clusterid", "process", "procid", "node", "step", "row", "item", "itemindex", "submittime", "jobid"}
)
_DEPTH = 32
_TIMEOUT_SECONDS = 30
_REFUSED = re.compile(r"^\s*(include|use|error|warning)\b(?!\s*=)", re.IGNORECASE | re.MULTILINE)
_BY_HTCONDOR = """
import json, sys
try:
    from htcondor2 import Submit
except ImportError:
    from htcondor import Submit
read = Submit(sys.stdin.read())
print(json.dumps({key: [read[key], read.expand(key)] for key in read.keys()}))
"""


class Commands(NamedTuple):
    """Commands of a submit file by lower-case name (``+name`` for those of the ad).

    ``values`` are expanded as far as the file defines it; ``macros`` are names that only other lines of the file use;
    ``of_a_job`` are commands whose value differs from job to job.
    """

    values: dict[str, str]
    macros: frozenset[str]
    of_a_job: frozenset[str]


def read(path: str, text: str) -> Commands:
    """The commands of a file's text. Raises UsageError naming the line (of ``path``)."""
    found = _by_htcondor(text)
    if found is None:
        raw = {key.lower(): value for key, value in submit_parser.parse(path, text).items()}
        found = {key: (value, None) for key, value in raw.items()}
    raw = {key: value for key, (value, _expanded) in found.items()}
    values = {}
    for key, (value, by_htcondor) in found.items():
        ours = _expand(value, raw, _DEPTH)
        # An undefined macro is nothing to HTCondor; here it stays, so that it can be named.
        values[key] = ours if by_htcondor is None or _MACRO.search(ours) else by_htcondor
    named = frozenset(name.lower() for value in raw.values() for name, _default in _MACRO.findall(value))
    of_a_job = frozenset(
        key for key in raw if any(name.lower() in _OF_A_JOB for name, _rest in _MACRO.findall(values[key]))
    )
    return Commands(values, named & set(raw), of_a_job)


def _expand(value: str, raw: Mapping[str, str], depth: int) -> str:
    """The value with the file's own macros in it, as far as they are defined."""

    def one(found: re.Match[str]) -> str:
        name = found[1].lower()
        if found.start() and value[found.start() - 1] == "$":
            return found[0]
        if name in raw and depth > 0:
            return _expand(raw[name], raw, depth - 1)
        return found[0] if found[2] is None or name in _OF_A_JOB else found[2]

    return _MACRO.sub(one, value)


def _by_htcondor(text: str) -> dict[str, tuple[str, str | None]] | None:
    """Command → its value as written and as HTCondor expands it; None where HTCondor cannot read the file."""
    if _REFUSED.search(text) or not submit_parser.has_one_job(text):
        return None
    try:
        answer = subprocess.run(
            [sys.executable, "-c", _BY_HTCONDOR],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return None
    if answer.returncode != 0:
        return None
    read: dict[str, tuple[str, str]] = json.loads(answer.stdout)
    return {re.sub(r"^my\.", "+", key.lower()): (value, expanded) for key, (value, expanded) in read.items()}
