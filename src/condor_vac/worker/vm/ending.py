# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of a VM: how it ended goes into the job's ad, what it left is made ready to go back.

Of three callers the first does it, once: libvirt's hook the moment QEMU is gone, the JOB_EXIT hook
where HTCondor can bear one (before 25.4), and vac_watch when neither came. All of it is done as the job's
user; if the ad could not be changed, the claim is released and the next caller tries again.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from condor_vac.base import atomic
from condor_vac.condor import chirp
from condor_vac.model import outcome, outcome_record
from condor_vac.worker import privileges, sandbox
from condor_vac.worker.lease.store import Lease
from condor_vac.worker.vm import disks, outputs

CLAIM = ".vac_ended"
_DONE = b"done\n"
# HTCondor waits for the JOB_EXIT hook for 30 s by default: some for the starter, the rest for the files.
_STARTER_SECONDS = 15.0
_FILES_SECONDS = 10.0
# libvirt's reasons for the end of a domain whose QEMU died, or whose kernel panicked.
_CRASHES = frozenset({"crashed", "failed"})
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def finish(lease: Lease, reason: str, execute: str, *, starter_seconds: float = _STARTER_SECONDS) -> bool:
    """Do what a VM's end needs, as the job's user; False if it has been done before.

    ``reason`` is libvirt's shutoff reason or HTCondor's exit reason (``removed`` and the like);
    ``starter_seconds`` is how long the job's starter may take to answer. Raises VacError when the job's ad could
    not be changed; then the next caller tries again.
    """

    def work() -> bool:
        return _finish(lease, reason, execute, starter_seconds)

    return bool(privileges.run_as(lease.uid, lease.gid, work, timeout=starter_seconds + _FILES_SECONDS))


def attributes(lease: Lease, message: bytes | None, reason: str) -> dict[str, chirp.Value]:
    """The attributes of the VM's end for the job's ad; every one is always among them.

    All of them in one come first: the starter may be about to end.
    """
    left = message
    if message is None and lease.stopping is not None:
        message = str(lease.stopping["message"]).encode()
    runtime = lease.runtime()
    result = outcome.parse(message, runtime, lease.fizzle_seconds)
    cause = _cause(lease, left, reason, result)
    # The end of a VM that HTCondor removed shows nothing about the experiment or the site; one that crashed early
    # did not find that there is no work.
    taken_away, crashed = cause == "removed", cause in _CRASHES and result.kind == "fizzle"
    found: dict[str, chirp.Value] = {
        "ShutdownCode": result.code,
        "ShutdownMessage": result.text,
        "VacCause": cause,
        "VacRuntime": int(runtime),
        "VacKind": "none" if taken_away else "site" if crashed else result.kind,
        "VacAbort": result.abort and not taken_away,
        "VacEnded": lease.ended if lease.ended is not None else int(time.time()),
    }
    return {outcome_record.NAME: outcome_record.write(found), **identity(lease), **found}


def identity(lease: Lease) -> dict[str, chirp.Value]:
    """What joins a job's ad with the lines of its node's log: the VM's UUID, and when it got its lease (Unix s)."""
    return {"VacUUID": lease.uuid, "VacLeased": lease.created}


def _cause(lease: Lease, left: bytes | None, reason: str, result: outcome.Outcome) -> str:
    if lease.stopping is not None:
        return str(lease.stopping["cause"])
    if lease.leaves is not None and result.kind == "host_request":
        return outcome_record.BACKFILL
    if left is not None and result.code is not None:
        return "message"
    if reason in {"destroyed", "remove", "hold", "evict"}:
        return "removed"
    if reason in _CRASHES:
        return reason
    return "fizzle" if result.kind == "fizzle" else "none"


def _finish(lease: Lease, reason: str, execute: str, starter_seconds: float) -> bool:
    with sandbox.opened(lease.sandbox, execute, lease.uid) as fd, _claimed(fd) as mine:
        if not mine:
            return False
        outputs.open_up(fd)
        found = attributes(lease, _message(fd), reason)
        # Files first, while the starter may still be waiting for libvirt: as soon as it hears of the VM's end it
        # sends the sandbox back. Each is done also if the one before it fails.
        with contextlib.ExitStack() as always:
            always.callback(disks.remove, fd)
            always.callback(chirp.set_attributes, lease.chirp_config, found, timeout=starter_seconds)
            outputs.keep_safe_files(fd)
        return True


@contextlib.contextmanager
def _claimed(fd: int) -> Iterator[bool]:
    """Hold the ending's lock; False if the work was done by somebody who held it before.

    The lock dies with its process, and only finished work is marked: who is killed half-way, or fails, leaves
    the whole to the next caller.
    """
    with atomic.locked(CLAIM, "check the job's sandbox", dir_fd=fd) as claim:
        done = os.read(claim, len(_DONE)) == _DONE
        yield not done
        if not done:
            os.pwrite(claim, _DONE, 0)


def _message(fd: int) -> bytes | None:
    """What the VM left as its shutdown message; see condor_vac.model.outcome for what counts as none.

    An earlier try that could not change the ad has moved a plain message and left any other where it was.
    """
    for name in (outputs.NAME, outputs.ASIDE):
        try:
            directory = os.open(name, _OPEN_DIRECTORY, dir_fd=fd)
        except OSError:
            continue
        try:
            message = outcome.read_message(directory)
        finally:
            os.close(directory)
        if message is not None:
            return message
    return None
