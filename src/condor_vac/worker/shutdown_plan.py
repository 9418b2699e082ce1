# SPDX-License-Identifier: GPL-3.0-or-later
"""The planned shutdown of this worker node: one Unix time in a file of /run/condor_vac.

A reboot empties that directory: then the shutdown is over. ``condor_vac shutdowntime`` plans and cancels it.
"""

from __future__ import annotations

import os
import re

from condor_vac import RUN_DIRECTORY
from condor_vac.base import atomic
from condor_vac.base.errors import VacError

NAME = "shutdowntime"
_LIMIT = 64


def planned(run_directory: str | None = None) -> int | None:
    """The planned shutdown in Unix s, None while none is planned. Raises VacError for a file that holds none."""
    path = f"{run_directory or RUN_DIRECTORY}/{NAME}"
    if not os.path.lexists(path):
        return None
    text = atomic.read(path, _LIMIT).decode("ascii", "replace").strip()
    # Fewer digits are what damage left of a time.
    if not re.fullmatch(r"[0-9]{10,12}", text):
        raise VacError(f"{path}: holds no Unix time; run condor_vac shutdowntime set or cancel")
    return int(text)


def known() -> int | None:
    """``planned``, and None also where nobody can read it: vac_watch says so, and VMs go on as if none were planned."""
    try:
        return planned()
    except VacError:
        return None


def plan(when: int) -> None:
    """Plan a shutdown at a time (Unix s). Raises VacError."""
    try:
        atomic.make_directory(RUN_DIRECTORY)
    except OSError as error:
        raise VacError(f"{RUN_DIRECTORY}: {error.strerror}; plan a shutdown as root") from error
    atomic.write(f"{RUN_DIRECTORY}/{NAME}", f"{when}\n".encode())


def cancel() -> None:
    """Cancel the planned shutdown, if there is one. Raises VacError."""
    path = f"{RUN_DIRECTORY}/{NAME}"
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise VacError(f"{path}: {error.strerror}; cancel the shutdown as root") from error
