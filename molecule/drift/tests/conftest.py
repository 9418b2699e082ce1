# SPDX-License-Identifier: GPL-3.0-or-later
"""The box on which everything drifts, with no VM but the tests' own."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared" / "tests"))

from boxes import alone, box

__all__ = ["alone", "box"]
