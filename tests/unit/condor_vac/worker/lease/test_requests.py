# SPDX-License-Identifier: GPL-3.0-or-later
"""The requests that vac_lease takes, to their last field, and what it says of any other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from condor_vac.base.errors import UsageError
from condor_vac.worker.lease import requests
from condor_vac.worker.lease.requests import AcquireRequest, EndRequest, ReleaseRequest

UUID = "01234567-89ab-cdef-0123-456789abcdef"
LEAST: dict[str, Any] = {
    "sandbox": "/x/dir_1",
    "domain": "v_1.0",
    "machinetype": "t",
    "fizzle_seconds": 1,
    "max_wallclock_seconds": 2,
    "heartbeat_seconds": 3,
    "evidence_cpu_fraction": 0.5,
    "sharing": "nfs",
}


def refused(make: Any, data: object) -> str:
    with pytest.raises(UsageError) as found:
        make(data)
    return str(found.value)


def test_the_least_and_the_most_that_is_asked_for() -> None:
    assert AcquireRequest.from_mapping(LEAST) == AcquireRequest(**LEAST)
    more: dict[str, Any] = {
        "chirp_config": "/x/c",
        "heartbeat_file": "beat",
        "images": ["a.iso", "b.qcow2"],
    }
    found = AcquireRequest.from_mapping({**LEAST, **more})
    assert found == AcquireRequest(**LEAST, **{**more, "images": ("a.iso", "b.qcow2")})


@pytest.mark.parametrize("name", LEAST)
def test_each_of_the_least_is_needed(name: str) -> None:
    message = refused(AcquireRequest.from_mapping, {key: value for key, value in LEAST.items() if key != name})
    assert message.startswith(f"request: {name}: ")


@pytest.mark.parametrize("data", [None, [], "x", 1])
def test_a_request_for_a_lease_is_an_object(data: object) -> None:
    assert refused(AcquireRequest.from_mapping, data).startswith("request: ")


def test_nobody_chooses_the_uuid() -> None:
    assert refused(AcquireRequest.from_mapping, {**LEAST, "uuid": UUID}).startswith("request: 'uuid': unknown key")


def test_a_release_names_one_lease() -> None:
    assert ReleaseRequest.from_mapping({"uuid": "u"}) == ReleaseRequest(uuid="u", domain=None)
    assert ReleaseRequest.from_mapping({"domain": "d"}) == ReleaseRequest(uuid=None, domain="d")


@pytest.mark.parametrize(
    "data",
    [{}, {"uuid": "u", "domain": "d"}, {"uuid": 1}, {"uuid": None}, {"domain": ["d"]}, {"UUID": "u"}, {"x": "y"}],
)
def test_any_other_release_is_refused(data: dict[str, Any]) -> None:
    assert refused(ReleaseRequest.from_mapping, data) == 'request: must be {"uuid": …} or {"domain": …}'


@pytest.mark.parametrize("reason", requests.ENDINGS)
def test_an_end_has_htcondors_reason(reason: str) -> None:
    assert EndRequest.from_mapping({"sandbox": "/x", "reason": reason}) == EndRequest("/x", reason)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"sandbox": "/x"},
        {"reason": "exit"},
        {"sandbox": "/x", "reason": "shutdown"},
        {"sandbox": 1, "reason": "exit"},
        {"sandbox": "/x", "reason": "exit", "uid": 0},
    ],
)
def test_any_other_end_is_refused(data: dict[str, Any]) -> None:
    assert refused(EndRequest.from_mapping, data) == (
        'request: must be {"sandbox": …, "reason": …}, the reason one of exit, remove, hold, evict'
    )


def test_a_request_has_at_most_64_kib() -> None:
    text = json.dumps({"x": "y"}).encode()
    assert requests.parse(text.ljust(65536)) == {"x": "y"}
    assert refused(requests.parse, text.ljust(65537)) == "request: more than 65536 bytes"


def test_what_is_not_json_or_no_object_is_said() -> None:
    assert refused(requests.parse, b"{").startswith("request: not valid JSON: Expecting")
    assert refused(requests.parse, b"[1]") == "request: must be one JSON object"
