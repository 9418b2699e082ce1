# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The collection's own programs, run on the controller from its sources."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src"


def run(words: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
    """``condor_vac`` with these words. Raises subprocess.TimeoutExpired after *timeout* seconds."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [sys.executable, "-m", "condor_vac", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env=environment, timeout=timeout)
