# SPDX-License-Identifier: GPL-3.0-or-later
"""What the last run of vac_watch could not do, a line for each, as a JSON list in /run/condor_vac.

``condor_vac doctor`` shows them, and vac_watch logs a line once and not in every run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from condor_vac.base import atomic
from condor_vac.base.errors import VacError

NAME = "troubles.json"
_LIMIT = 1 << 20


def read(run_directory: str) -> list[str]:
    """The lines of the last run; none if there are none, or nobody can read them."""
    try:
        found = json.loads(atomic.read(f"{run_directory}/{NAME}", _LIMIT))
    except (VacError, ValueError, RecursionError):
        return []
    return [line for line in found if isinstance(line, str)] if isinstance(found, list) else []


def write(run_directory: str, lines: Sequence[str]) -> None:
    """Keep the lines of this run. Raises VacError."""
    atomic.write(f"{run_directory}/{NAME}", json.dumps(list(lines)).encode() + b"\n")
