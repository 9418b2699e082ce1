# SPDX-License-Identifier: GPL-3.0-or-later
"""What vac_watch keeps of each VM between its runs: a JSON file for each lease, in a directory of root's.

Nothing depends on it for ever: a file that is missing or damaged counts as none, and the VM's grace begins anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Collection

from condor_vac.base import atomic
from condor_vac.base.errors import VacError
from condor_vac.worker.watch.rules import Sample

_LIMIT = 1 << 16
# The heartbeat is in ns, and on some file systems a VM gives its file any time of 64 bits in s.
_MOST = 1e30
_NEEDED = ("boottime", "cpu_seconds", "observed_since", "heartbeat_changed", "failures", "retry_at")
_PAST = ("boottime", "observed_since", "heartbeat_changed", "heartbeat_updated", "published", "missing_since")
_WHOLE = ("heartbeat", "failures")


class Samples:
    """The samples of one directory; what is damaged is named to ``log`` and removed."""

    def __init__(self, directory: str, log: Callable[[str], None]) -> None:
        self._directory = directory
        self._log = log

    def load(self, uuid: str, now: float) -> Sample | None:
        """The VM's last sample, None if there is none that can be used; ``now`` is CLOCK_BOOTTIME s."""
        path = self._path(uuid)
        if not os.path.lexists(path):
            return None
        try:
            return _sample(json.loads(atomic.read(path, _LIMIT)), now)
        except (VacError, ValueError, TypeError, RecursionError) as error:
            why = str(error).removeprefix(f"{path}: ")
            self._log(f"{path}: not a VM's last sample ({why}): removed; the VM's grace begins anew")
            _remove(path)
            return None

    def save(self, uuid: str, sample: Sample) -> None:
        """Keep the sample. Raises VacError."""
        atomic.write(self._path(uuid), json.dumps(sample.to_mapping()).encode(), mode=0o644)

    def forget(self, known: Collection[str]) -> None:
        """Remove what is of no VM with a UUID of ``known``."""
        for name in os.listdir(self._directory):
            if name.partition(".json")[0] not in known:
                _remove(f"{self._directory}/{name}")

    def _path(self, uuid: str) -> str:
        return f"{self._directory}/{uuid}.json"


def _sample(data: object, now: float) -> Sample:
    """The sample of ``to_mapping``. Raises ValueError, TypeError."""
    if not isinstance(data, dict):
        raise ValueError("not an object")
    for name in _NEEDED:
        if data.get(name, 0) is None:
            raise ValueError(f"{name}: not a number")
    for name, value in data.items():
        kinds = (int,) if name in _WHOLE else (int, float)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, kinds) or not -_MOST < value < _MOST
        ):
            raise ValueError(f"{name}: not a number")
        if name in _PAST and value is not None and value > now:
            raise ValueError(f"{name}: in the future")
    return Sample(**data)


def _remove(path: str) -> None:
    """Root's own directory: what is there may be anything that damage makes, and no user's."""
    with contextlib.suppress(FileNotFoundError):
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
