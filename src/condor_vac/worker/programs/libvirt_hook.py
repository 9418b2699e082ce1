# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's hook for QEMU domains (``/etc/libvirt/hooks/qemu.d/condor_vac``): a VM's start and end at once.

Called as root: NAME OPERATION SUB-OPERATION EXTRA, with the domain's XML on standard input, which is not
needed. libvirt waits for it and holds the domain meanwhile, so it never asks libvirt anything, bounds its
time, and never fails: a VM's end cannot be refused. What it cannot do, vac_watch does later.

A VM's end is reported to its starter, and the starter may be waiting for libvirt: it asks vm-gahp for the VM's state
and does nothing else until the answer is there (BLOCKING requests, src/condor_starter.V6.1/vm_gahp_request.cpp).
So libvirt is held for HELD_SECONDS at most, also where another program holds the node's leases; then a process of its
own goes on, whose request is by then the first that the starter reads.
"""

from __future__ import annotations

import sys
import syslog

from condor_vac.base.errors import VacError
from condor_vac.worker import settings as settings_module
from condor_vac.worker.detached import detached
from condor_vac.worker.lease import console
from condor_vac.worker.lease.release import release_once
from condor_vac.worker.lease.store import Lease, Store
from condor_vac.worker.vm import ending

# Shutoff reasons after which the VM continues on another host or later (libvirt's hooks.html, since 9.10).
SAVED = "saved"
GOES_ON = frozenset({"migrated", "from snapshot"})
# The events that matter: operation and sub-operation.
STARTED = ("started", "begin")
GONE = ("release", "end")
# In most cases all is done in a fraction of it, so that HTCondor learns of a VM's end after its ad was changed. On a
# node whose processors are all busy three seconds may be too few.
HELD_SECONDS = 10.0
_STARTER_SECONDS = 60.0


def main() -> int:
    """Entry point; always 0, so that libvirt starts and ends domains whatever happens here."""
    arguments = [*sys.argv[1:5], *[""] * 4][:4]
    syslog.openlog("condor_vac", syslog.LOG_PID, syslog.LOG_DAEMON)
    detached(lambda: report(arguments), HELD_SECONDS)
    return 0


def report(arguments: list[str]) -> None:
    """`handle`, and what goes wrong into the system's log."""
    try:
        handle(*arguments, store=Store())
    except VacError as error:
        syslog.syslog(syslog.LOG_ERR, f"libvirt hook: {' '.join(arguments)}: {error}")


def handle(domain: str, operation: str, part: str, extra: str, *, store: Store) -> None:
    """Act on one event of one domain; domains without a lease are ignored. Raises VacError."""
    if (operation, part) not in {STARTED, GONE}:
        return
    found = store.by_domain(domain)
    if found is None:
        return
    if (operation, part) == STARTED:
        store.update(found.uuid, Lease.with_start)
        syslog.syslog(syslog.LOG_INFO, f"{domain_line(found)}: started")
    else:
        ended(found, extra, store)


def ended(found: Lease, reason: str, store: Store) -> None:
    """The domain is gone: record its end in the job's ad, then release the lease. Raises VacError."""
    if reason in GOES_ON:
        return
    now = store.update(found.uuid, Lease.with_saved if reason == SAVED else Lease.with_end)
    if now is None or reason == SAVED:
        return
    settings = settings_module.of_this_node()
    # First: if the ad cannot be changed, the job's files may be sent back before the next try.
    try:
        console.hand_over(now, settings.execute)
    finally:
        ending.finish(now, reason, settings.execute, starter_seconds=_STARTER_SECONDS)
    release_once(now, store)
    syslog.syslog(syslog.LOG_INFO, f"{domain_line(now)}: ended ({reason}): lease released")


def domain_line(found: Lease) -> str:
    """How logs name a VM."""
    return f"{found.label} ({found.machinetype}, {found.address})"
