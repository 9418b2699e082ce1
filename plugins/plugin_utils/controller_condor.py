# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HTCondor's own tools, run on the controller."""

from __future__ import annotations

import os
import shutil
import subprocess

from ansible_collections.vacuum.htcondor.plugins.module_utils._command import C_LOCALE, Result
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import CommandError, ToolMissing

INSTALL = "install HTCondor's tools on the controller (package condor), or put them on PATH"


def tool(name: str, *arguments: str, timeout: float, remedy: str) -> Result:
    """Run a condor_* tool as this user; *timeout* in seconds. Raises ToolMissing, CommandError."""
    path = shutil.which(name)
    if path is None:
        raise ToolMissing(f"{name} is not on this controller", INSTALL)
    argv = [path, *arguments]
    environment = {**os.environ, **C_LOCALE}
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, env=environment, timeout=timeout
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{name} did not end within {timeout:.0f} s", remedy) from error
    except OSError as error:
        raise ToolMissing(f"cannot run {path}: {error.strerror}", INSTALL) from error
    texts = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
    result = Result(tuple(argv), done.returncode, *texts)
    if not result.ok:
        raise CommandError(f"{name} failed: {result.complaint()}", remedy, rc=result.rc)
    return result
