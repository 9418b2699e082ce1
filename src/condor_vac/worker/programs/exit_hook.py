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


def main() -> int:
    """Entry point; 1 with a line on standard error when something could not be done."""
    sandbox = os.environ.get("_CONDOR_SCRATCH_DIR", os.getcwd())
    reason = sys.argv[1] if len(sys.argv) > 1 else "exit"
    try:
        if leased(sandbox, LEASES):
            from condor_vac.worker.lease import client as lease_client  # noqa: PLC0415 - 8 ms of 15

            lease_client.end(sandbox, reason)
    except VacError as error:
        print(f"vac_exit_hook: {error}", file=sys.stderr)
        return 1
    return 0


def leased(sandbox: str, directory: str) -> bool:
    """Whether a lease may name the sandbox, whose path JSON writes as it is; vac_lease reads it properly.

    Raises VacError.
    """
    named = f'"{sandbox}"'
    try:
        for name in os.listdir(directory):
            try:
                with open(f"{directory}/{name}", encoding="utf-8") as stream:
                    text = stream.read()
            except FileNotFoundError:
                # Released meanwhile: then it is another job's, or there is nothing to do.
                continue
            if named in text:
                return True
    except FileNotFoundError:
        return False
    except (OSError, UnicodeDecodeError) as error:
        raise VacError(f"{directory}: {error}; check its owner and mode") from error
    return False
