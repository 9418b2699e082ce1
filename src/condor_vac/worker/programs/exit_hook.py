# SPDX-License-Identifier: GPL-3.0-or-later
"""The JOB_EXIT hook, for HTCondor before 25.4 only (25.4 and later run the job again when there is one).

Runs as the job's user in the sandbox, argv[1] is exit, remove, hold or evict, the job ad is on standard
input. HTCondor ignores its output and exit code and gives it 30 s. libvirt's hook has usually done the work
before; then this finds no lease.
"""

from __future__ import annotations

import os
import sys

from condor_vac import RUN_DIRECTORY
from condor_vac.base.errors import VacError

LEASES = f"{RUN_DIRECTORY}/leases"
# A lease is some 2 KiB.
_LEASE_LIMIT = 1 << 16


def main() -> int:
    """Entry point; 1 with a line on standard error when something could not be done."""
    reason = sys.argv[1] if len(sys.argv) > 1 else "exit"
    try:
        sandbox = os.environ.get("_CONDOR_SCRATCH_DIR") or os.getcwd()
        if leased(sandbox, LEASES):
            from condor_vac.worker.lease import client as lease_client  # noqa: PLC0415 - 8 ms of 15

            lease_client.end(sandbox, reason)
    except (VacError, OSError) as error:
        print(f"vac_exit_hook: {error}", file=sys.stderr)
        return 1
    return 0


def leased(sandbox: str, directory: str) -> bool:
    """Whether a lease may name the sandbox, whose path JSON writes as it is; vac_lease reads it properly.

    A lease that cannot be read may be the one, so that vac_lease is asked then; others are none of this job's.
    Raises OSError where the leases cannot be listed.
    """
    named = os.fsencode(f'"{sandbox}"')
    unread = False
    try:
        for name in os.listdir(directory):
            text = _text(f"{directory}/{name}")
            if text is not None and named in text:
                return True
            unread = unread or text is None
    except FileNotFoundError:
        return False
    return unread


def _text(path: str) -> bytes | None:
    """The lease; None if it cannot be read. One that is gone was released meanwhile, and is nobody's."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.read(fd, _LEASE_LIMIT)
        finally:
            os.close(fd)
    except FileNotFoundError:
        return b""
    except OSError:
        return None
