# SPDX-License-Identifier: GPL-3.0-or-later
"""The images of which the last ``condor_vac image refresh`` could not ask the server, in a file of the store's.

VMs go on with the version that is there, so nothing else shows it: the doctor does. The store's lock protects it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from typing import NamedTuple

from condor_vac.base import atomic, json_text
from condor_vac.base.errors import VacError
from condor_vac.base.shared import one_line
from condor_vac.image.store import Store

# No image's name begins with a dot.
_NAME = ".refresh.json"
_LIMIT = 1 << 20
_TEXT_LIMIT = 300
# Unix s that are a date.
_LATEST = 1e11


class Failure(NamedTuple):
    """Since when an image could not be fetched anew (Unix s), and why the last time."""

    since: int
    error: str


def load(store: Store) -> dict[str, Failure]:
    """Name → failure; none from a file that nobody can read, which the next refresh writes anew."""
    try:
        found = json_text.loads(atomic.read(_path(store), _LIMIT))
    except (VacError, ValueError):
        return {}
    rows = found.items() if isinstance(found, dict) else ()
    return {str(name): Failure(*row) for name, row in rows if _is_failure(row)}


def save(store: Store, errors: Mapping[str, str], now: float) -> None:
    """Keep what went wrong (name → why); an image that failed before keeps its time. Raises VacError."""
    before = load(store)
    found = {
        name: Failure(before[name].since if name in before else int(now), one_line(error, _TEXT_LIMIT))
        for name, error in errors.items()
    }
    if found != before:
        atomic.write(_path(store), json.dumps(found, sort_keys=True).encode() + b"\n")


def clear(store: Store, names: Collection[str]) -> None:
    """The images of those names have been fetched, or are gone. Raises VacError."""
    others = {other: failure.error for other, failure in load(store).items() if other not in names}
    save(store, others, 0)


def _is_failure(row: object) -> bool:
    types = [type(value) for value in row] if isinstance(row, list) else []
    return types == [int, str] and isinstance(row, list) and 0 <= row[0] <= _LATEST


def _path(store: Store) -> str:
    return os.path.join(store.versions_directory, _NAME)
