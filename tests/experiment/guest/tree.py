# SPDX-License-Identifier: GPL-3.0-or-later
"""What only the tests' images have: files of the checkout, and the table that modprobe reads."""

from __future__ import annotations

import os
from pathlib import Path

from condor_vac.smoke import cpio
from condor_vac.smoke.closure import Modules


def entries(root: Path) -> list[cpio.Entry]:
    """The regular files under `root`, modes kept."""
    found = []
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            found.append(cpio.regular(str(path.relative_to(root)), path.read_bytes(), os.access(path, os.X_OK)))
    return found


def dependency_table(modules: Modules, names: list[str]) -> str:
    """modules.dep for these modules, all in one directory (format: modules.dep(5))."""
    lines = []
    for name in names:
        others = [f"{other}.ko" for other in reversed(modules.closure(modules.depends(name)))]
        lines.append(f"{name}.ko: {' '.join(others)}".rstrip())
    return "\n".join(lines) + "\n"
