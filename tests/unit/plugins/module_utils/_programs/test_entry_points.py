# SPDX-License-Identifier: GPL-3.0-or-later
"""The scripts that the module programs installs, run as programs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.vacuum.htcondor.plugins.module_utils._programs.entry_points import SETS, EntryPoint
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import LIBVIRT_HOOK

PROBE = "def main():\n    print('ran')\n    return 7\n"


@pytest.fixture
def hook(tmp_path: Path) -> Path:
    """libvirt's hook over a stand-in for the package."""
    module = SETS["worker"][LIBVIRT_HOOK]
    program = tmp_path.joinpath("current", *module.split(".")).with_suffix(".py")
    program.parent.mkdir(parents=True)
    program.write_text(PROBE)
    path = tmp_path / "hook"
    path.write_text(EntryPoint("hook", module).script(sys.executable, str(tmp_path / "current")))
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("operation", "part", "acts"),
    [
        ("prepare", "begin", False),
        ("start", "begin", False),
        ("started", "begin", True),
        ("stopped", "end", False),
        ("release", "end", True),
        ("release", "begin", False),
    ],
)
def test_libvirts_hook_starts_only_for_events_that_say_something(
    hook: Path, operation: str, part: str, acts: bool
) -> None:
    done = subprocess.run([hook, "vac_box_1.0", operation, part, "-"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == ((7, "ran\n") if acts else (0, ""))


def test_libvirts_hook_without_arguments_does_nothing(hook: Path) -> None:
    assert subprocess.run([hook], check=False).returncode == 0
