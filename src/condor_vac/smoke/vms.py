# SPDX-License-Identifier: GPL-3.0-or-later
"""The smoke VMs: which there are, the description of each one's job, and what its end means."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.shared import DNS_DOMAIN, IMAGE_DIRECTORY, JobStatus, one_line
from condor_vac.factory import job_ad, submit_description, vm_jobs
from condor_vac.model import machinetype, outcome, outcome_record
from condor_vac.worker import network

WAYS = ("http", "nfs")
CODES = (200, 300)
IMAGE = f"{IMAGE_DIRECTORY}/vacuum-smoke.iso"
TEXT_LIMIT = 300
# Beyond any VM's own limits: what a command that was killed leaves goes by itself.
REMOVE_SECONDS = 7200
FIZZLE_SECONDS = 60
OUTPUT = "smoke.txt"
PROJECTION = (*vm_jobs.PROJECTION, "HoldReason", "LastRejMatchReason")

USER_DATA = """\
#!/usr/bin/bash
SMOKE_SHARING='##user_data_option_sharing##'
SMOKE_GATEWAY='##user_data_option_gateway##'
SMOKE_CODE='##user_data_option_code##'
SMOKE_TOKEN='##user_data_option_token##'
SMOKE_UUID='##user_data_uuid##'
"""


class Node(NamedTuple):
    """A worker node: its name for people, HTCondor's ``Machine``, its address for VMs, its ways of sharing."""

    name: str
    machine: str
    gateway: str
    sharing: tuple[str, ...]


class Vm(NamedTuple):
    """One VM to run: where, by which way of sharing, the code with which it is to end, and a name that is a file's."""

    node: Node
    sharing: str
    code: int
    name: str

    @property
    def check(self) -> str:
        """The column of the table."""
        return f"{self.sharing} {self.code}"


class Result(NamedTuple):
    """How a VM ended: ``seconds`` from its job's start, None without one; ``cause`` is empty if all is well."""

    vm: Vm
    good: bool
    seconds: float | None
    cause: str


def read_nodes(text: str) -> list[Node]:
    """The nodes of a JSON list of {name, machine, subnet, sharing}. Raises UsageError."""
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise UsageError(f"nodes: not JSON: {error}") from error
    if not isinstance(entries, list) or not entries:
        raise UsageError("nodes: must be a list of nodes, and at least one")
    return [_node(entry) for entry in entries]


def _node(entry: object) -> Node:
    if not isinstance(entry, dict):
        raise UsageError(f"nodes: {entry!r:.80}: must have machine, subnet and sharing")
    machine, subnet, sharing = (entry.get(key) for key in ("machine", "subnet", "sharing"))
    if not isinstance(machine, str) or not re.fullmatch(DNS_DOMAIN, machine, re.IGNORECASE):
        raise UsageError(f"nodes: machine: {machine!r:.80} is not a host name; give HTCondor's Machine of the node")
    if not isinstance(sharing, list) or not sharing or not all(way in WAYS for way in sharing):
        raise UsageError(f"nodes: {machine}: sharing: {sharing!r:.80}: must be a list of {' and '.join(WAYS)}")
    parsed = network.parse_subnet(str(subnet))
    gateway = f"{network.gateway(str(subnet))}/{parsed.prefixlen}"
    name = one_line(str(entry.get("name") or machine), 64)
    return Node(name, machine, gateway, tuple(way for way in WAYS if way in sharing))


def of_nodes(nodes: list[Node]) -> list[Vm]:
    """Every VM to run, first those of the first code on every node."""
    return [
        Vm(node, way, code, f"smoke-{number}-{way}-{code}")
        for code in CODES
        for number, node in enumerate(nodes)
        for way in node.sharing
    ]


def describe(vm: Vm, directory: str, *, image: str, owner: str, token: str) -> dict[str, str]:
    """Write the VM's files below ``directory`` and return the submit commands of its job. Raises VacError."""
    described = {
        "name": vm.name,
        "owner": owner,
        "kind": "cernvm",
        "image": image,
        "image_format": "iso",
        "user_data": f"{directory}/user_data",
        "user_data_options": {
            "sharing": vm.sharing,
            "gateway": vm.node.gateway,
            "code": str(vm.code),
            "token": token,
        },
        "memory_mb": 512,
        "cvmfs_cache_gb": 0,
        "scratch_gb": 1,
        "fizzle_seconds": FIZZLE_SECONDS,
        "sharing": vm.sharing,
        "requirements": f"TARGET.Machine == {submit_description.classad_string(vm.node.machine)}",
    }
    kind = machinetype.Machinetype.from_mapping(described, vm.name)
    file = f"{directory}/{vm.name}.json"
    place = f"{directory}/{vm.name}"
    try:
        os.mkdir(place, 0o700)
        for path, text in ((f"{directory}/user_data", USER_DATA), (file, json.dumps(described))):
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(text)
    except OSError as error:
        raise VacError(f"{error.filename}: {error.strerror}; check the access point's disk") from error
    return {
        **submit_description.describe(kind, machinetype_file=file),
        "initialdir": place,
        "log": "vm.log",
        "periodic_remove": f"JobStatus != {JobStatus.COMPLETED} && time() - QDate > {REMOVE_SECONDS}",
    }


def seconds_of(ad: Mapping[str, Any], now: float) -> float | None:
    """How long the job's present or last run has taken; None if it never started or the ad has no such times."""
    started = _time(ad, "JobCurrentStartDate")
    if started is None:
        return None
    over = ad.get("JobStatus") in {JobStatus.COMPLETED, JobStatus.HELD}
    ended = _time(ad, "VacEnded") or _time(ad, "EnteredCurrentStatus") if over else now
    return max(0.0, (ended or now) - started)


def judge(vm: Vm, given: Mapping[str, Any], directory: str, token: str) -> str:
    """Why the VM of a completed job is not as it should be, in one line; empty if it is.

    ``directory`` is where its outputs came to; it is read as the owner. What a VM or another user wrote into ad or
    outputs is data: it is shown as printable text. Raises VacError where the directory cannot be read.
    """
    ad = job_ad.with_message(outcome_record.completed({**given, "Iwd": directory}), FIZZLE_SECONDS)
    code = ad.get("ShutdownCode")
    if code != vm.code:
        return line(_wrong_end(ad, code, vm.code, directory))
    output = outcome.read_message(f"{directory}/joboutputs", OUTPUT)
    if output is None:
        return f"ended with {vm.code}, but its output {OUTPUT} did not come back"
    if f"smoke {token}".encode() not in output.splitlines():
        return f"ended with {vm.code}, but its output {OUTPUT} is not what it wrote"
    return ""


def _wrong_end(ad: Mapping[str, Any], code: object, wanted: int, directory: str) -> str:
    if code is not None:
        return f"ended with {code} instead of {wanted}: {ad.get('ShutdownMessage') or 'no text'}"
    console = (outcome.read_message(directory, submit_description.CONSOLE_LOG) or b"").decode("utf-8", "replace")
    last = console.strip().rpartition("\n")[2]
    cause = ad.get("VacCause") or "unknown cause"
    return f"ended without a shutdown message ({cause}); last line of its console: {last or 'none'}"


def line(text: object) -> str:
    """One printable line."""
    return one_line(str(text), TEXT_LIMIT)


def _time(ad: Mapping[str, Any], name: str) -> float | None:
    value = ad.get(name)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0 else None
