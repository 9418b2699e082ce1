# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs from a checkout finds the programs' package without an installation."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
