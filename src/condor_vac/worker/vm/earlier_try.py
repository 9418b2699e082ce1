# SPDX-License-Identifier: GPL-3.0-or-later
"""A try of the same job on this node that has not ended yet, whose end would end the VM of the next.

HTCondor calls a job's VM by the job's id. When a starter dies by a signal its startd kills the domain of that name
(VMUniverseMgr::killVM, condor_startd.V6/vmuniverse_mgr.cpp), whichever try it belongs to. With HTCondor 25.14 a starter
whose PREPARE_JOB hook failed hangs until the startd kills it, 70 s later; the schedd tries the job again after 10 s.
"""

from __future__ import annotations

import contextlib
import os
import re
import time

from condor_vac.base.errors import VacError
from condor_vac.worker import sandbox

# The hook has 120 s by HTCondor's default, and vac_lease may need some.
PATIENCE_SECONDS = 80.0
_POLL_SECONDS = 0.5
_DIRECTORY = r"dir_([0-9]{1,10})"
_ADS = ("scratch/.job.ad", ".job.ad")
_AD_LIMIT = 1 << 20


def wait(cluster: int, proc: int, own: str, execute: str, patience: float = PATIENCE_SECONDS) -> None:
    """Return once no other starter below ``execute`` has this job; ``own`` is this try's sandbox. Raises VacError."""
    deadline = time.monotonic() + patience
    while True:
        found = _others(cluster, proc, own, execute)
        if not found:
            return
        if time.monotonic() >= deadline:
            raise VacError(f"an earlier try of this job has not ended on this node: its starter is {found[0]}")
        time.sleep(_POLL_SECONDS)


def _others(cluster: int, proc: int, own: str, execute: str) -> list[int]:
    """The processes of the other starters that have the job's ad and live."""
    mine = os.path.basename(sandbox.job_directory(own, execute))
    found = []
    for name in os.listdir(execute):
        match = re.fullmatch(_DIRECTORY, name)
        if (
            match
            and name != mine
            and os.path.exists(f"/proc/{match[1]}")
            and _is_of(f"{execute}/{name}", cluster, proc)
        ):
            found.append(int(match[1]))
    return found


def _is_of(directory: str, cluster: int, proc: int) -> bool:
    """Whether a sandbox is this job's; what another user owns is not, whatever it says."""
    for name in _ADS:
        with contextlib.suppress(OSError):
            fd = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if os.fstat(fd).st_uid != os.geteuid():
                    return False
                text = os.read(fd, _AD_LIMIT).decode("utf-8", "replace")
            finally:
                os.close(fd)
            numbers = dict(re.findall(r"^(ClusterId|ProcId) = ([0-9]{1,10})$", text, re.MULTILINE))
            return (numbers.get("ClusterId"), numbers.get("ProcId")) == (str(cluster), str(proc))
    return False
