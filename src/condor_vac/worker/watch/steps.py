# SPDX-License-Identifier: GPL-3.0-or-later
"""One step of vac_watch, apart from all others: what goes wrong in it costs what it is about, and nothing else."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from condor_vac.base.errors import VacError


def attempt(errors: list[VacError], step: Callable[[], object], name: str = "") -> None:
    """Do the step; what goes wrong is added to ``errors``, with the ``name`` of the VM that it is about."""
    try:
        step()
    except Exception as error:  # noqa: BLE001 - whatever it is, the other VMs of the node are looked at
        if not isinstance(error, (VacError, OSError)):
            traceback.print_exc()
        text = str(error) if isinstance(error, VacError) else f"{type(error).__name__}: {error}"
        errors.append(VacError(f"{name}: {text}" if name else text))
