# SPDX-License-Identifier: GPL-3.0-or-later
"""What commands that write files of this repository from others have in common: comparing, writing, ``--check``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path


def outdated(root: Path, files: Mapping[str, str]) -> dict[str, str]:
    """Path → what it should hold, of the files that do not."""
    return {
        path: text
        for path, text in files.items()
        if not (root / path).exists() or (root / path).read_text("utf-8") != text
    }


def write(root: Path, stale: Mapping[str, str], command: str) -> int:
    """Write the files, or with ``--check`` name those that are out of date (exit code 1)."""
    check = "--check" in sys.argv[1:]
    for path, text in stale.items():
        if not check:
            (root / path).write_text(text, "utf-8")
        print(f"{path}: {f'out of date; run {command}' if check else 'written'}")
    return 1 if check and stale else 0
