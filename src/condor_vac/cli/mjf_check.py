# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac mjf-check``: check that machine and job features conform to the note (HSF-TN-2016-02).

Each location is a directory or an http(s) URL: machinefeatures or jobfeatures itself, or what holds both (a
VM's /etc, a sandbox, http://169.254.169.253). Exit code 1 when there is an ERROR (with --strict a WARNING too).
"""

from __future__ import annotations

import argparse
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict

from condor_vac.base import atomic
from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.shared import one_line
from condor_vac.model import machine_job_features as mjf
from condor_vac.model.machine_job_features import Finding

_VALUE_LIMIT = 4096
_TIMEOUT_SECONDS = 10.0
_WHERES = (mjf.MACHINE, mjf.JOB)


class UnreadableError(VacError):
    """One key is there and cannot be read: an ERROR of that key, not the end of the check."""


# Reads one key below a location; None when it is absent. Raises UnreadableError, or VacError for them all.
Reader = Callable[[str, str], "str | None"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``condor_vac mjf-check``."""
    parser.add_argument(
        "locations",
        nargs="*",
        metavar="DIR-or-URL",
        help="default: $MACHINEFEATURES and $JOBFEATURES, as a job finds them",
    )
    parser.add_argument("--strict", action="store_true", help="a WARNING is a failure too")
    parser.add_argument("--json", action="store_true", help="print locations, counts and findings as JSON")


def run(args: argparse.Namespace) -> int:
    """Check, print, and return 0 (conforms) or 1."""
    locations = args.locations or [
        os.environ[name] for name in ("MACHINEFEATURES", "JOBFEATURES") if name in os.environ
    ]
    if not locations:
        raise UsageError("no location and neither $MACHINEFEATURES nor $JOBFEATURES is set; give a DIR or URL")
    features: dict[str, dict[str, str]] = {}
    places: dict[str, str] = {}
    unreadable: list[Finding] = []
    for location in locations:
        for where, base in _bases(location.rstrip("/") or "/").items():
            if where in places:
                raise UsageError(f"{location}: {where} was given already as {places[where]}; give it once")
            places[where] = base
            features[where], faults = _read_all(where, base)
            unreadable += faults
    faulty = {finding.key for finding in unreadable}
    findings = unreadable + [finding for finding in mjf.check(features) if finding.key not in faulty]
    _print(places, findings, as_json=args.json)
    failing = {mjf.ERROR, mjf.WARNING} if args.strict else {mjf.ERROR}
    return 1 if any(finding.severity in failing for finding in findings) else 0


def _print(places: dict[str, str], findings: list[Finding], *, as_json: bool) -> None:
    counts = {
        name: sum(finding.severity == name for finding in findings) for name in (mjf.ERROR, mjf.WARNING, mjf.INFO)
    }
    if as_json:
        result = {
            "locations": places,
            "errors": counts[mjf.ERROR],
            "warnings": counts[mjf.WARNING],
            "findings": [asdict(finding) for finding in findings],
        }
        print(json.dumps(result))
        return
    for finding in findings:
        text = one_line(f"{finding.where}/{finding.key}: {finding.message}")
        print(f"{finding.severity:8}{text}")
    checked = ", ".join(f"{where} at {base}" for where, base in places.items())
    print(f"{counts[mjf.ERROR]} errors, {counts[mjf.WARNING]} warnings in {checked}")


def _bases(location: str) -> dict[str, str]:
    """machinefeatures, jobfeatures or both → the base that ``location`` means. Raises UsageError."""
    reader = _reader(location)
    last = location.rpartition("/")[2]
    if last in _WHERES:
        return {last: location}
    inside = {where: f"{location.rstrip('/')}/{where}" for where in _WHERES}
    if any(os.path.isdir(base) or _has_keys(reader, base, where) for where, base in inside.items()):
        return inside
    found = {where: location for where in _WHERES if _has_keys(reader, location, where)}
    if len(found) != 1:
        raise UsageError(f"{location}: no machine or job features found; give their directory or URL")
    return found


def _has_keys(reader: Reader, base: str, where: str) -> bool:
    for key in mjf.KEYS:
        try:
            if key.where == where and reader(base, key.name) is not None:
                return True
        except UnreadableError:
            return True
    return False


def _read_all(where: str, base: str) -> tuple[dict[str, str], list[Finding]]:
    """Key to contents, and a finding for each key that is there and cannot be read."""
    reader = _read_url if base.startswith("http") else _read_file
    values: dict[str, str] = {}
    faults = []
    for name in (key.name for key in mjf.KEYS if key.where == where):
        try:
            value = reader(base, name)
        except UnreadableError as error:
            faults.append(Finding(mjf.ERROR, where, name, str(error)))
            continue
        if value is not None:
            values[name] = value
    return values, faults


def _reader(location: str) -> Reader:
    """The note: a leading slash is a directory, http:// or https:// a URL; here any other path is one as well."""
    if location.startswith(("http://", "https://")):
        return _read_url
    if "://" in location:
        raise UsageError(f"{location}: must be a directory or an http or https URL")
    if not os.path.isdir(location):
        raise UsageError(f"{location}: not a directory; give where the features are")
    return _read_file


def _read_file(base: str, key: str) -> str | None:
    path = os.path.join(base, key)
    if not os.path.lexists(path):
        return None
    try:
        return _text(atomic.read(path, _VALUE_LIMIT))
    except VacError as error:
        raise UnreadableError(str(error)) from error


def _read_url(base: str, key: str) -> str | None:
    """Never through a proxy: the addresses are the node's own, and only the VM itself may ask there."""
    url = f"{base}/{key}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_TIMEOUT_SECONDS) as answer:
            data = answer.read(_VALUE_LIMIT + 1)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise UnreadableError(f"{url}: HTTP status {error.code}; it must be 200, or 404 for no key") from error
    except (OSError, ValueError) as error:
        raise VacError(f"{url}: cannot read: {error}; check the address, and run this on the VM") from error
    if len(data) > _VALUE_LIMIT:
        raise UnreadableError(f"{url}: more than {_VALUE_LIMIT} bytes; this is not a feature")
    return _text(data)


def _text(data: bytes) -> str:
    """Contents as consumers read them: without the white space at both ends."""
    return data.decode("utf-8", "replace").strip()
