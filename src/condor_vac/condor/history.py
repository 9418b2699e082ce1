# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs that have left the queue, one at a time from condor_history: a history may be larger than the memory.

It reads the access point's own files, which go back as far as MAX_HISTORY_LOG and MAX_HISTORY_ROTATIONS let them. The
bindings' ``history`` gives a list of all, from the schedd, which parses 10,000 ads at most for a caller
(HISTORY_HELPER_MAX_HISTORY) and starts a helper for each question. condor_history prints expressions as it finds them
(``-jsonl``) and evaluates none but the constraint's, and it leaves out an ad of which it finds no end.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, Any, cast

from condor_vac.base import json_text, tools
from condor_vac.base.errors import VacError
from condor_vac.base.shared import one_line
from condor_vac.condor.pool import DEFAULT_CONFIG, PoolError, Unreadable

# Of one ad's projection. What is longer was made so.
_LINE = 1 << 16
_MESSAGE = 4096
# How condor_history writes what is no plain value (ClassAdJsonUnParser).
_EXPRESSION = re.compile(r"/Expr\((.*)\)/", re.DOTALL)


def ads(
    constraint: str, projection: Sequence[str], limit: int | None = None, since: str | None = None
) -> Iterator[dict[str, Any] | VacError]:
    """The ads that match, the last to leave first, with the attributes of ``projection`` that they have.

    At most ``limit`` of them, and none that is not after the first for which the expression ``since`` is true.

    Numbers, truth values and texts are Python's; an expression is a text in ``/Expr(…)/``. An ad that cannot be read is
    a VacError in its place. Raises PoolError if condor_history is missing or fails.
    """
    program = tools.find("condor_history")
    if program is None:
        raise PoolError("condor_history: not found; run this on an access point")
    argv = [program, "-jsonl", "-attributes", ",".join(projection), "-constraint", constraint]
    argv += [] if limit is None else ["-limit", str(limit)]
    argv += [] if since is None else ["-since", since]
    environment = {
        "PATH": tools.SYSTEM_PATH,
        "LC_ALL": "C.UTF-8",
        "CONDOR_CONFIG": os.environ.get("CONDOR_CONFIG", DEFAULT_CONFIG),
    }
    with tempfile.TemporaryFile() as words:
        with subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=words, env=environment
        ) as running:
            yield from _read(cast("IO[bytes]", running.stdout))
        if running.returncode != 0:
            words.seek(0)
            text = one_line(words.read(_MESSAGE).decode("utf-8", "replace"), 300) or "no output"
            raise PoolError(f"condor_history: exit code {running.returncode}: {text}")


def jobs(
    constraint: str, projection: Sequence[str], limit: int, since: str | None = None
) -> Iterator[dict[str, Any] | VacError]:
    """The same with readable ads as `Pool.jobs` gives them. Raises PoolError."""
    for ad in ads(constraint, projection, limit, since):
        yield ad if isinstance(ad, VacError) else _plain(ad, projection)


def _read(lines: IO[bytes]) -> Iterator[dict[str, Any] | VacError]:
    while True:
        line = lines.readline(_LINE)
        if not line:
            return
        if len(line) == _LINE and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = lines.readline(_LINE)
            yield VacError(f"an ad has more than {_LINE} characters")
            continue
        if line.strip():
            yield _ad(line)


def _ad(line: bytes) -> dict[str, Any] | VacError:
    text = line.decode("utf-8", "replace")
    try:
        # A deep list may pass here and be too deep to be written again.
        found = json.loads(json_text.without_depth(text))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return VacError(f"{one_line(text, 80)} is no ad")
    # An attribute that is there and undefined, as HTCondor copies what a slot's ad has not: MachineAttrX0.
    return {key: value for key, value in found.items() if value is not None}


def _plain(ad: dict[str, Any], projection: Sequence[str]) -> dict[str, Any]:
    """The projected attributes; names in ads have no case."""
    names = {name.lower(): name for name in projection}
    return {names[key.lower()]: _value(value) for key, value in ad.items() if key.lower() in names}


def _value(value: Any) -> Any:
    if isinstance(value, (bool, int, float)):
        return value
    if not isinstance(value, str):
        return Unreadable(json.dumps(value))
    expression = _EXPRESSION.fullmatch(value)
    return Unreadable(expression[1]) if expression else value
