# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong, and what to do about it: the one form in which condor_vac's diagnoses are given."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it must be, and what to do about it; a ``note`` is to be known, and nothing wrong.

    ``later``: nothing is wrong yet, and will be unless that is done.
    """

    what: str
    remedy: str
    note: bool = False
    later: bool = False
