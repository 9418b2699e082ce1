# SPDX-License-Identifier: GPL-3.0-or-later
"""What the programs that a VM waits for import: every module is time at each VM's start and end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[5] / "src"
# Imports that take as long as the rest of a program, or that only people's commands need.
HEAVY = {
    "argparse", "dataclasses", "decimal", "email", "hashlib", "http.client", "inspect", "logging", "pathlib", "random",
    "shutil", "subprocess", "tempfile", "traceback", "urllib.parse", "urllib.request", "uuid",
    "condor_vac.cli.dispatch", "condor_vac.base.fetch", "condor_vac.worker.vm.user_proxy",
}  # fmt: skip
NOT_FOR = {
    "condor_vac.worker.programs.xml_script": {"condor_vac.model.machinetype", "condor_vac.condor.chirp", "socket"},
    "condor_vac.worker.programs.exit_hook": {
        "condor_vac.worker.vm.ending",
        "condor_vac.worker.lease.client",
        "condor_vac.worker.lease.store",
        "json",
    },
    "condor_vac.worker.programs.prepare_hook": {"socket"},
    "condor_vac.worker.programs.lease_helper": {"condor_vac.condor.chirp", "condor_vac.worker.vm.ending", "socket"},
}


@pytest.mark.parametrize(
    "module",
    [
        "condor_vac.worker.programs.prepare_hook",
        "condor_vac.worker.programs.exit_hook",
        "condor_vac.worker.programs.libvirt_hook",
        "condor_vac.worker.programs.xml_script",
        "condor_vac.worker.programs.lease_helper",
    ],
)
def test_nothing_is_imported_that_most_vms_do_not_need(module: str) -> None:
    script = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); import {module}; print(*sys.modules)"
    # Without site (-S), since that of an environment imports what it likes.
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert module in imported
    assert not imported & (HEAVY | NOT_FOR.get(module, set()))
