# SPDX-License-Identifier: GPL-3.0-or-later
"""``vac_lease acquire|release|end|list``: the one command that a job's user may run as root (sudo).

The request is one JSON object on standard input (condor_vac.worker.lease.requests), the answer one on standard output.
The caller is the user that sudo names (SUDO_UID). Exit code 1: not now (another node or
a later try may succeed), 2: the request itself is wrong or not allowed.

The caller may stop this program, and read nothing of what it prints. So the request is read first, a child that the
caller does not reach does the work (worker.detached), and its answer is printed last.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.shared import one_line
from condor_vac.worker import libvirt
from condor_vac.worker import settings as settings_module
from condor_vac.worker.detached import detached
from condor_vac.worker.lease import grant, requests
from condor_vac.worker.lease.release import give_console, release_once
from condor_vac.worker.lease.requests import AcquireRequest, Caller, EndRequest, ReleaseRequest
from condor_vac.worker.lease.store import Lease, Store
from condor_vac.worker.settings import Settings

Log = Callable[[str], None]
# Less than the hooks wait for it.
ANSWER_SECONDS = 85.0
# What a line of the log says of a new lease; condor_vac trace looks for it.
GRANTED = "lease granted"
_LOG_LIMIT = 1000


def main() -> int:
    """Entry point of ``/usr/local/libexec/vac_lease``."""
    try:
        if len(sys.argv) != 2 or sys.argv[1] not in _VERBS:
            raise UsageError(f"usage: vac_lease {'|'.join(_VERBS)}, with the request on standard input")
        verb = sys.argv[1]
        request = {} if verb == "list" else requests.parse(sys.stdin.buffer.read(requests.LIMIT + 1))
        who = Caller(os.getuid(), os.getgid()) if verb == "list" else caller(root_allowed=verb == "release")
    except UsageError as error:
        print(f"vac_lease: {error}", file=sys.stderr)
        return 2
    record: list[str] = []
    answer = detached(lambda: serve(verb, request, who, record.append), ANSWER_SECONDS, lambda: _write(record))
    if answer is None:
        print("vac_lease: no answer; what went wrong is in the system's log", file=sys.stderr)
        return 1
    status, given, notes = json.loads(answer)
    for note in notes:
        print(f"vac_lease: {note}", file=sys.stderr)
    if status == 0:
        print(json.dumps(given))
    return int(status)


def serve(verb: str, request: dict[str, object], who: Caller, record: Log) -> bytes:
    """Do it: JSON of the exit code, the answer and lines for the caller. ``record`` gets lines for the node's log."""
    notes: list[str] = []
    status, given = 0, None
    try:
        given = _VERBS[verb](request, who, notes.append, record)
    except VacError as error:
        notes.append(str(error))
        status = 2 if isinstance(error, UsageError) else 1
        record(f"{request.get('domain') or request.get('uuid') or request.get('sandbox')}: {verb}: {error}")
    return json.dumps([status, given, notes]).encode()


def _write(lines: list[str]) -> None:
    """Into the node's log, where a caller cannot write as root."""
    import syslog  # noqa: PLC0415 - the caller has its answer by now

    syslog.openlog("condor_vac", syslog.LOG_PID, syslog.LOG_DAEMON)
    for line in lines:
        syslog.syslog(syslog.LOG_INFO, one_line(f"vac_lease: {line}", _LOG_LIMIT))


def _acquire(request: dict[str, object], who: Caller, log: Log, record: Log) -> object:
    wanted = AcquireRequest.from_mapping(request)
    lease = grant.acquire(wanted, who, settings_module.of_this_node(), Store(), log)
    record(f"{lease.label}: {GRANTED} to its prepare hook: {lease.address}, {lease.machinetype}")
    return lease.to_mapping()


def _release(request: dict[str, object], who: Caller, log: Log, record: Log) -> object:
    wanted = ReleaseRequest.from_mapping(request)
    return _answer(release_if_ended(wanted, who, settings_module.of_this_node(), Store(), log), "release", record)


def _end(request: dict[str, object], who: Caller, log: Log, record: Log) -> object:
    wanted = EndRequest.from_mapping(request)
    released = report_end_and_release(wanted, who, settings_module.of_this_node(), Store(), log)
    return _answer(released, f"exit hook ({wanted.reason})", record)


def _list(_request: dict[str, object], _who: Caller, log: Log, _record: Log) -> object:
    leases, damaged = Store().read()
    for one in damaged:
        log(one.reason)
    return [lease.to_mapping() for lease in leases]


_VERBS: dict[str, Callable[[dict[str, object], Caller, Log, Log], object]] = {
    "acquire": _acquire,
    "release": _release,
    "end": _end,
    "list": _list,
}


def _answer(released: Lease | None, why: str, record: Log) -> object:
    if released is not None:
        record(f"{released.label}: {why}: lease released")
    return {"released": None if released is None else released.uuid}


def caller(*, root_allowed: bool = False) -> Caller:
    """The user who ran sudo, or root itself where that is allowed. Raises UsageError."""
    if os.geteuid() != 0:
        raise UsageError("must run as root; call it by sudo")
    try:
        found = Caller(int(os.environ.get("SUDO_UID", "0")), int(os.environ.get("SUDO_GID", "0")))
    except ValueError as error:
        raise UsageError(f"SUDO_UID, SUDO_GID: {error}; call it by sudo") from error
    if found.uid < 1 and not root_allowed:
        raise UsageError("a lease belongs to a job's user, not to root; call it by sudo from the job")
    return found


def release_if_ended(
    request: ReleaseRequest, who: Caller, settings: Settings, store: Store, log: Log = print
) -> Lease | None:
    """Release the lease that is asked for if it is the caller's and its VM is gone.

    Returns it, None if there is none. Raises UsageError for another user's, VacError while the VM runs.
    """
    lease = _find(request, store)
    if lease is None:
        return None
    if who.uid not in (0, lease.uid):
        raise UsageError(f"{lease.uuid}: belongs to another user")
    if lease.domain in libvirt.active():
        raise VacError(f"{lease.uuid}: its VM {lease.domain} still runs; end the VM first")
    give_console(lease, settings, log)
    return lease if release_once(lease, store) else None


def report_end_and_release(
    request: EndRequest, who: Caller, settings: Settings, store: Store, log: Log = print
) -> Lease | None:
    """Report to the job in the caller's own sandbox how its VM ended, as the caller, and release its lease.

    Returns the lease, None if there is none or if its VM has not started: HTCondor 23 may start it even now (an
    eviction while the prepare hook ends), and without its ISO that start would fail and cost the node its VM universe.
    vac_watch releases that lease when the sandbox is gone. Raises VacError when the ad cannot be changed or while the
    VM runs.
    """
    from condor_vac.worker.vm import ending  # noqa: PLC0415 - 1 ms of 21, at no VM's start

    mine = (one for one in store.all() if one.sandbox == request.sandbox and one.uid == who.uid)
    lease = next(mine, None)
    if lease is None or (lease.started is None and request.reason != "exit"):
        return None
    ending.finish(lease, request.reason, settings.execute)
    return release_if_ended(ReleaseRequest(uuid=lease.uuid), who, settings, store, log)


def _find(request: ReleaseRequest, store: Store) -> Lease | None:
    if request.uuid is not None:
        return store.by_uuid(request.uuid)
    return None if request.domain is None else store.by_domain(request.domain)
