# SPDX-License-Identifier: GPL-3.0-or-later
"""The box that gets bad values, with no VM in it: a VM's boot takes the emulated processor for minutes."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared" / "tests"))

from boxes import alone, box

__all__ = ["alone", "box"]
