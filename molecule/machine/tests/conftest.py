# SPDX-License-Identifier: GPL-3.0-or-later
"""The box on an emulated machine, whose VMs run by nested KVM and mount from the kernel's NFS server."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared" / "tests"))

from boxes import alone, box

__all__ = ["alone", "box"]
