# SPDX-License-Identifier: GPL-3.0-or-later
"""How a job hook, which runs as the job's user, asks ``vac_lease`` for a lease or gives one back: by sudo."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from condor_vac.base import tools
from condor_vac.base.errors import UsageError, VacError
from condor_vac.worker.lease.store import Lease

PROGRAM = "/usr/local/libexec/vac_lease"
TIMEOUT_SECONDS = 90.0
_REFUSED = 2


def acquire(request: Mapping[str, Any]) -> Lease:
    """The lease for the request (keys: condor_vac.worker.lease.grant.CHECKS).

    Raises UsageError for one that will never be granted here, VacError for one that cannot be granted now.
    """
    return Lease.from_mapping(_call("acquire", request))


def release(uuid: str) -> None:
    """Give the lease back; one that is gone is fine. Raises VacError."""
    _call("release", {"uuid": uuid})


def end(sandbox: str, reason: str) -> None:
    """Have the job in the sandbox told of its VM's end, and give its lease back. Raises VacError.

    ``reason`` is HTCondor's exit reason; a sandbox without a lease is fine.
    """
    _call("release", {"sandbox": sandbox, "reason": reason})


def _call(action: str, request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        answer = tools.run(["sudo", "-n", PROGRAM, action], timeout=TIMEOUT_SECONDS, stdin=json.dumps(request).encode())
    except tools.ToolError as error:
        raise (UsageError if error.status == _REFUSED else VacError)(str(error)) from error
    try:
        parsed = json.loads(answer)
    except ValueError as error:
        raise VacError(f"vac_lease {action}: its answer is not JSON; are both of one version?") from error
    if not isinstance(parsed, dict):
        raise VacError(f"vac_lease {action}: its answer is no object; are both of one version?")
    return parsed
