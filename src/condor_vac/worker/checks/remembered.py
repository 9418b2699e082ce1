# SPDX-License-Identifier: GPL-3.0-or-later
"""How many checks of the last whole ``condor_vac doctor`` had findings: the doctor leaves it, and vac_watch gives it to
the startd's ad, for the inventory plugin and the module pool_info."""

from __future__ import annotations

import os
import time

from condor_vac.base import atomic
from condor_vac.base.errors import VacError

NAME = "doctor_findings"
# Older ones say nothing about the node of today: the role monitoring runs the doctor every hour.
KEPT_SECONDS = 2 * 86400.0
_LIMIT = 16


def leave(run_directory: str, findings: int) -> None:
    """Remember a number of checks. Raises VacError."""
    try:
        atomic.make_directory(run_directory)
    except OSError as error:
        raise VacError(f"{run_directory}: {error.strerror}; check it") from error
    atomic.write(f"{run_directory}/{NAME}", f"{findings}\n".encode(), mode=0o644)


def number(run_directory: str) -> int:
    """That number; 0 where the doctor found nothing, has not run or ran long ago. Raises VacError."""
    path = f"{run_directory}/{NAME}"
    try:
        age = time.time() - os.stat(path).st_mtime
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise VacError(f"{path}: {error.strerror}; remove it and run condor_vac doctor") from error
    if not 0 <= age < KEPT_SECONDS:
        return 0
    text = atomic.read(path, _LIMIT).decode("ascii", "replace").strip()
    if not (text.isascii() and text.isdigit()):
        raise VacError(f"{path}: {text!r} is not a number; remove it and run condor_vac doctor")
    return int(text)
