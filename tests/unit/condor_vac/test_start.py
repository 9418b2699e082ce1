# SPDX-License-Identifier: GPL-3.0-or-later
"""What the programs that a VM waits for import: every module is time at each VM's start and end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[3] / "src"
# Imports that take as long as the rest of a program, or that only people's commands need.
HEAVY = {
    "argparse", "dataclasses", "decimal", "email", "hashlib", "http.client", "inspect", "logging", "pathlib", "random",
    "shutil", "subprocess", "tempfile", "traceback", "urllib.parse", "urllib.request", "uuid",
    "condor_vac.cli", "condor_vac.fetch", "condor_vac.proxy",
}  # fmt: skip
NOT_FOR = {
    "condor_vac.domain": {"condor_vac.machinetype", "condor_vac.chirp", "socket"},
    "condor_vac.hooks.exit": {"condor_vac.ending", "condor_vac.lease_client", "condor_vac.leases", "json"},
    "condor_vac.hooks.prepare": {"socket"},
    "condor_vac.lease": {"condor_vac.chirp", "condor_vac.ending", "socket"},
}


@pytest.mark.parametrize(
    "module",
    [
        "condor_vac.hooks.prepare",
        "condor_vac.hooks.exit",
        "condor_vac.hooks.qemu",
        "condor_vac.domain",
        "condor_vac.lease",
    ],
)
def test_nothing_is_imported_that_most_vms_do_not_need(module: str) -> None:
    script = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); import {module}; print(*sys.modules)"
    # Without site (-S), since that of an environment imports what it likes.
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert module in imported
    assert not imported & (HEAVY | NOT_FOR.get(module, set()))
