# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs of the site's pool: its batch jobs, and the VM jobs of the collection."""

from __future__ import annotations

import json
import time
from typing import Any

from boxes import LOOK_SECONDS, Box

from condor_vac.model import outcome_record

# For what hangs.
PATIENCE_SECONDS = 1200
BATCH = """executable = /bin/sleep
arguments = {seconds}
request_memory = 64
initialdir = /home/batch
log = batch.log
requirements = {requirements}
queue
"""


def batch(box: Box, seconds: int, requirements: str = "True") -> str:
    """Submit a batch job that takes so long; its cluster."""
    box.put("/home/batch/sub", BATCH.format(seconds=seconds, requirements=requirements).encode())
    return box.run("runuser -u batch -- condor_submit -terse /home/batch/sub").split(".")[0]


def ads(box: Box, which: str) -> list[dict[str, Any]]:
    """The ads of jobs, from the queue and then from the history; ``which`` as condor_q takes it.

    A starter that ends may take no attribute but the first, the record of the others.
    """
    texts = [box.run(f"{tool} -json {which}") for tool in ("condor_q -allusers", "condor_history")]
    return [dict(outcome_record.completed(ad)) for text in texts for ad in json.loads(text or "[]")]


def job(box: Box, cluster: str) -> dict[str, Any]:
    """A job's ad, from queue or history."""
    return ads(box, cluster)[0]


def until(what: str, wanted: Any) -> Any:
    """The first true value of ``wanted()``."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := wanted()):
        assert time.monotonic() < deadline, what
        time.sleep(LOOK_SECONDS)
    return found


def vms(box: Box, constraint: str) -> list[dict[str, Any]]:
    """The factory's VM jobs that meet a constraint, in the queue or ended."""
    return ads(box, f"-constraint 'JobUniverse == 13 && ({constraint})'")
