# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job's user may ask ``vac_lease`` for: one JSON object for each verb, checked before anything is done."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from condor_vac.base import fields
from condor_vac.base.errors import UsageError
from condor_vac.worker.lease.store import DOMAIN_PATTERN

LIMIT = 1 << 16
# Why HTCondor ends a job (its JOB_EXIT hook's argument).
ENDINGS = ("exit", "remove", "hold", "evict")
_YEAR = 366 * 86400


class Caller(NamedTuple):
    """Who called sudo."""

    uid: int
    gid: int


class AcquireRequest(NamedTuple):
    """``acquire``: a lease for the VM of a sandbox. Times are in seconds, None is what the node chooses."""

    sandbox: str
    domain: str
    machinetype: str
    fizzle_seconds: int
    max_wallclock_seconds: int
    heartbeat_seconds: int
    evidence_cpu_fraction: float
    sharing: str
    chirp_config: str | None = None
    heartbeat_file: str | None = None
    images: tuple[str, ...] = ()

    @classmethod
    def from_mapping(cls, data: object) -> AcquireRequest:
        """The checked request. Raises UsageError."""
        values = fields.check_all(data, _CHECKS, _REQUIRED, "request")
        return cls(**{**values, "images": tuple(values.get("images", ()))})


class ReleaseRequest(NamedTuple):
    """``release``: the lease with this uuid, or that of this domain."""

    uuid: str | None = None
    domain: str | None = None

    @classmethod
    def from_mapping(cls, data: dict[str, Any]) -> ReleaseRequest:
        """The checked request. Raises UsageError."""
        if set(data) not in ({"uuid"}, {"domain"}) or not all(isinstance(value, str) for value in data.values()):
            raise UsageError('request: must be {"uuid": …} or {"domain": …}')
        return cls(**data)


class EndRequest(NamedTuple):
    """``end``: the VM of this sandbox is over, ``reason`` is HTCondor's: one of ENDINGS."""

    sandbox: str
    reason: str

    @classmethod
    def from_mapping(cls, data: dict[str, Any]) -> EndRequest:
        """The checked request. Raises UsageError."""
        good = set(data) == set(cls._fields) and isinstance(data["sandbox"], str) and data["reason"] in ENDINGS
        if not good:
            raise UsageError(f'request: must be {{"sandbox": …, "reason": …}}, the reason one of {", ".join(ENDINGS)}')
        return cls(**data)


_CHECKS: dict[str, fields.Check] = {
    "sandbox": fields.absolute_path,
    "domain": fields.matching(DOMAIN_PATTERN, "must be HTCondor's name of a VM, USER_CLUSTER.PROC"),
    "sharing": fields.one_of("nfs", "http", "both"),
    "machinetype": fields.machinetype_name,
    "chirp_config": fields.optional(fields.absolute_path),
    "fizzle_seconds": fields.integer(0, _YEAR),
    "max_wallclock_seconds": fields.integer(0, _YEAR),
    "heartbeat_file": fields.optional(fields.file_name),
    "heartbeat_seconds": fields.integer(0, _YEAR),
    "evidence_cpu_fraction": fields.number(0.0, 1.0),
    "images": fields.list_of(fields.file_name),
}
_REQUIRED = set(AcquireRequest._fields) - set(AcquireRequest._field_defaults)


def parse(data: bytes) -> dict[str, Any]:
    """The JSON object of a request. Raises UsageError."""
    if len(data) > LIMIT:
        raise UsageError(f"request: more than {LIMIT} bytes")
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"request: not valid JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise UsageError("request: must be one JSON object")
    return parsed
