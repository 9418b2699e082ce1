# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs' lives as their worker node knows them: what the node's programs wrote as root into the journal, and the leases.

Any user can write into the journal under any name; journald itself sets _UID and _SYSTEMD_UNIT
(systemd.journal-fields(7)).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from condor_vac.base import tools
from condor_vac.cli.trace_files import Step, step
from condor_vac.cli.trace_job import Name
from condor_vac.worker.lease.store import DOMAIN_PATTERN, UUID_PATTERN, Store
from condor_vac.worker.programs.lease_helper import GRANTED

# The newest lines of the journal that are read.
_MOST_LINES = 50_000
_SECONDS = 120.0
_OURS = ("_UID=0", "SYSLOG_IDENTIFIER=condor_vac", "+", "_UID=0", "_SYSTEMD_UNIT=vac_watch.service")
# How a line names a VM (Lease.label).
_LABEL = re.compile(rf"({DOMAIN_PATTERN}) \[({UUID_PATTERN})\]")
# What a line's text is called, the first that fits.
_STEPS = (
    (GRANTED, "lease"),
    (": started", "started"),
    ("pressing its power button", "stop"),
    ("destroying it", "stop"),
    ("lease released", "ended"),
)


class Line(NamedTuple):
    """A line of the journal: Unix s, the program, the text, and the VM that it names, if any."""

    time: float
    program: str
    text: str
    domain: str | None
    uuid: str | None


def lines(since: float | None) -> list[Line]:
    """What the node's programs have logged since then, the oldest first. Raises ToolError."""
    command = ["journalctl", "--quiet", "--no-pager", "--output=json", f"--lines={_MOST_LINES}"]
    command.append("--output-fields=MESSAGE,SYSLOG_IDENTIFIER")
    if since is not None:
        command.append(f"--since=@{int(since)}")
    found = (_line(text) for text in tools.run([*command, *_OURS], timeout=_SECONDS).split("\n"))
    return [line for line in found if line is not None]


def of_vm(name: Name, journal: Iterable[Line]) -> tuple[list[Step], list[str]]:
    """The steps of the VM, and the UUIDs of those that the name fits: two access points may number their jobs alike."""
    all_lines = list(journal)
    if name.uuid is not None:
        uuids = [name.uuid] if any(name.uuid in line.text for line in all_lines) else []
    else:
        ours = (line.uuid for line in all_lines if line.domain is not None and line.domain.endswith(f"_{name.job}"))
        uuids = list(dict.fromkeys(uuid for uuid in ours if uuid is not None))
    steps = [
        step(line.time, _what(line.text), line.program, line.text)
        for line in all_lines
        if any(uuid in line.text for uuid in uuids)
    ]
    return steps, uuids


def vms(journal: Iterable[Line]) -> list[dict[str, Any]]:
    """The node's VMs, by their leases: {id, uuid, domain, leased, started, ended, last}; Unix s or None."""
    found: dict[str, dict[str, Any]] = {}
    for line in journal:
        if line.uuid is None or line.domain is None:
            continue
        job = line.domain.rpartition("_")[2]
        fresh = {"id": job, "uuid": line.uuid, "domain": line.domain, "leased": None, "started": None, "ended": None}
        entry = found.setdefault(line.uuid, fresh)
        entry["last"] = step(line.time, "", "", line.text).text
        key = {"lease": "leased"}.get(_what(line.text), _what(line.text))
        if key in entry and entry[key] is None:
            entry[key] = line.time
    return list(found.values())


def running(store: Store | None = None) -> dict[str, str]:
    """The UUIDs of the VMs that have a lease now, and what they are called."""
    return {lease.uuid: lease.label for lease in (store or Store()).all()}


def _what(text: str) -> str:
    return next((what for part, what in _STEPS if part in text), "node")


def _line(text: str) -> Line | None:
    """The line, None for what journalctl would not write."""
    try:
        fields = json.loads(text, strict=False)
        when = int(fields["__REALTIME_TIMESTAMP"]) / 1e6
    except (ValueError, KeyError, TypeError):
        return None
    message = _text(fields.get("MESSAGE"))
    vm = _LABEL.search(message)
    program = _text(fields.get("SYSLOG_IDENTIFIER"))[:40] or "journal"
    return Line(when, program, message, vm[1] if vm else None, vm[2] if vm else None)


def _text(value: object) -> str:
    """A field's text; journalctl writes one that is not printable as its bytes' numbers."""
    if isinstance(value, list):
        numbers = [each for each in value if isinstance(each, int) and 0 <= each < 256]
        return bytes(numbers).decode("utf-8", "replace")
    return value if isinstance(value, str) else ""
