# SPDX-License-Identifier: GPL-3.0-or-later
"""How a job hook, which runs as the job's user, asks ``vac_lease`` to grant or release a lease: by sudo."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from condor_vac.base import tools
from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.shared import LEASE_PROGRAM
from condor_vac.worker.lease.requests import AcquireRequest
from condor_vac.worker.lease.store import Lease

TIMEOUT_SECONDS = 90.0
_REFUSED = 2


def acquire(request: AcquireRequest) -> Lease:
    """The lease for the request.

    Raises UsageError for one that will never be granted here, VacError for one that cannot be granted now.
    """
    return Lease.from_mapping(_call("acquire", request._asdict()))


def release(uuid: str) -> None:
    """Release the lease unless its VM runs; one that is gone is fine. Raises VacError."""
    _call("release", {"uuid": uuid})


def end(sandbox: str, reason: str) -> None:
    """Report the end of the VM to the job in the sandbox, and release its lease. Raises VacError.

    ``reason`` is HTCondor's exit reason; a sandbox without a lease is fine.
    """
    _call("end", {"sandbox": sandbox, "reason": reason})


def _call(action: str, request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        answer = tools.run(
            ["sudo", "-n", LEASE_PROGRAM, action], timeout=TIMEOUT_SECONDS, stdin=json.dumps(request).encode()
        )
    except tools.ToolError as error:
        raise (UsageError if error.status == _REFUSED else VacError)(str(error)) from error
    try:
        parsed = json.loads(answer)
    except ValueError as error:
        raise VacError(f"vac_lease {action}: its answer is not JSON; are both of one version?") from error
    if not isinstance(parsed, dict):
        raise VacError(f"vac_lease {action}: its answer is not an object; are both of one version?")
    return parsed
