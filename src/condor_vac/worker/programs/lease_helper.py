# SPDX-License-Identifier: GPL-3.0-or-later
"""``vac_lease acquire|release|end|list``: the one command that a job's user may run as root (sudo).

The request is one JSON object on standard input (condor_vac.worker.lease.requests), the answer one on standard output.
The caller is the user that sudo names (SUDO_UID). Exit code 1: not now (another node or
a later try may succeed), 2: the request itself is wrong or not allowed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

from condor_vac.base.errors import UsageError, VacError
from condor_vac.worker import libvirt
from condor_vac.worker import settings as settings_module
from condor_vac.worker.lease import grant, requests
from condor_vac.worker.lease.release import release_locked
from condor_vac.worker.lease.requests import AcquireRequest, Caller, EndRequest, ReleaseRequest
from condor_vac.worker.lease.store import Lease, Store
from condor_vac.worker.settings import Settings


def main() -> int:
    """Entry point of ``/usr/local/libexec/vac_lease``."""
    verbs: dict[str, Callable[[], object]] = {"acquire": _acquire, "release": _release, "end": _end, "list": _list}
    try:
        if len(sys.argv) != 2 or sys.argv[1] not in verbs:
            raise UsageError(f"usage: vac_lease {'|'.join(verbs)}, with the request on standard input")
        print(json.dumps(verbs[sys.argv[1]]()))
    except UsageError as error:
        print(f"vac_lease: {error}", file=sys.stderr)
        return 2
    except VacError as error:
        print(f"vac_lease: {error}", file=sys.stderr)
        return 1
    return 0


def _acquire() -> object:
    request = AcquireRequest.from_mapping(_read())
    return grant.acquire(request, caller(), settings_module.of_this_node(), Store()).to_mapping()


def _release() -> object:
    request = ReleaseRequest.from_mapping(_read())
    return _answer(release_if_ended(request, caller(root_allowed=True), settings_module.of_this_node(), Store()))


def _end() -> object:
    request = EndRequest.from_mapping(_read())
    return _answer(report_end_and_release(request, caller(), settings_module.of_this_node(), Store()))


def _list() -> object:
    return [lease.to_mapping() for lease in Store().all()]


def _read() -> dict[str, object]:
    return requests.parse(sys.stdin.buffer.read(requests.LIMIT + 1))


def _answer(released: Lease | None) -> object:
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


def release_if_ended(request: ReleaseRequest, who: Caller, settings: Settings, store: Store) -> Lease | None:
    """Release the lease that is asked for if it is the caller's and its VM is gone.

    Returns it, None if there is none. Raises UsageError for another user's, VacError while the VM runs.
    """
    if _find(request, store) is None:
        return None
    running = libvirt.active()
    with store.lock():
        lease = _find(request, store)
        if lease is None:
            return None
        if who.uid not in (0, lease.uid):
            raise UsageError(f"{lease.uuid}: belongs to another user")
        if lease.domain in running:
            raise VacError(f"{lease.uuid}: its VM {lease.domain} still runs; end the VM first")
        release_locked(lease, settings, store)
        return lease


def report_end_and_release(request: EndRequest, who: Caller, settings: Settings, store: Store) -> Lease | None:
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
    return release_if_ended(ReleaseRequest(uuid=lease.uuid), who, settings, store)


def _find(request: ReleaseRequest, store: Store) -> Lease | None:
    if request.uuid is not None:
        return store.by_uuid(request.uuid)
    return None if request.domain is None else store.by_domain(request.domain)
