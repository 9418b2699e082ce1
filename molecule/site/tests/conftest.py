# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's pool in a box, and the directory in which its administrator types the README's commands."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared" / "tests"))

from boxes import box

__all__ = ["box"]
