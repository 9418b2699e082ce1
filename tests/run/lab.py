# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own command stops its nodes: it knows what they consist of."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.run import processes
from tests.run.running import ROOT

DOWN = (sys.executable, "-m", "tests.lab", "down", "--everywhere")
LIMIT_SECONDS = 600


class NotDownError(Exception):
    """The lab's nodes could not be stopped."""


def down() -> None:
    """Stop the nodes of all labs. In a session of its own, so that no Ctrl-C stops it half-way. Raises NotDownError."""
    environment = {name: value for name, value in os.environ.items() if name not in {processes.RUN, processes.STAGE}}
    try:
        done = subprocess.run(
            DOWN,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotDownError(f"the lab's nodes did not stop within {LIMIT_SECONDS} s") from error
    if done.returncode != 0:
        raise NotDownError(f"stopping the lab's nodes failed (exit code {done.returncode})")
