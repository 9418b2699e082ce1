# SPDX-License-Identifier: GPL-3.0-or-later
"""The factory of one machinetype: the process that HTCondor's scheduler universe keeps running.

``/usr/local/libexec/vac_factory MACHINETYPE.json`` and, by hand, ``condor_vac factory`` call ``run``.

================= ============================================================================================
signal or event   what the factory does
================= ============================================================================================
SIGTERM           ends after the present step, exit 0; the VMs stay, and HTCondor starts it again (schedd stop,
                  condor_vacate_job)
SIGUSR1           condor_hold: removes the VMs that have not started, exit 0; it stays held
SIGUSR2           condor_rm: the same, exit 42, which lets it leave the queue
machinetype file  read again when it changed; while the new one is wrong, the old one stays in use and is logged
lock held         waits a minute and exits 75, to be started again: a second factory waits
parent gone       the schedd that started it was killed: ends, so that the next schedd's can act
error at start    logs it, waits a minute, exits 1: HTCondor restarts it at once, without a back-off of its own
================= ============================================================================================

stdout is truncated at every start, so the log is ``factory.log`` in the state directory, rotated.
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import os
import pwd
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from condor_vac import __version__
from condor_vac.base import atomic
from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.shared import one_line
from condor_vac.condor.pool import Pool
from condor_vac.factory import leftovers, proxy, user_data_copy, vm_directories
from condor_vac.factory.cycle import Cycle
from condor_vac.model import machinetype
from condor_vac.model.machinetype import Machinetype
from condor_vac.policy.words import count

EXIT_LEAVE_QUEUE = 42
EXIT_STANDBY = 75
OWN_JOB = "VAC_FACTORY_JOB"
KEEP_DIRECTORIES_SECONDS = 7 * 86400
CLEAN_UP_SECONDS = 3600.0
RESTART_SECONDS = 60.0
LOG_BYTES, LOG_FILES = 1 << 20, 5

# A number, and its noun without the "s" of the plural.
_FIGURES = re.compile(r"[0-9]+(?:( [A-Za-z]+?)s?\b)?")

STOP, HOLD, REMOVE = signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2
_SIGNALS = {STOP, HOLD, REMOVE, signal.SIGINT}


def run(path: str, state: str | None = None, *, once: bool = False, bindings: str | None = None) -> int:
    """The factory of the machinetype in the file ``path``, until a signal ends it (or one cycle, with ``once``).

    ``state`` is its directory if it is not the machinetype's own. Returns the exit code. Raises VacError, after a
    pause if HTCondor would restart it at once.
    """
    # Blocked, not handled: a signal waits until the step is done, and the sleep takes it.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        return _run(path, state, once, bindings)
    except VacError:
        if OWN_JOB in os.environ:
            _sleep(RESTART_SECONDS)
        raise


def plan(path: str, state: str | None = None, bindings: str | None = None) -> dict[str, Any]:
    """What one cycle of that factory would do now: submit, remove, avoid_hosts, reasons, numbers. Raises VacError."""
    m = machinetype.load(path)
    _check_user(m)
    directory = os.path.abspath(state or m.state_directory)
    cycle = Cycle(Pool(bindings), directory, log=lambda line: print(line, file=sys.stderr))
    if os.path.isdir(directory):
        cycle.load()
    planned = cycle.plan(m, time.time())
    decision = planned.decision
    return {
        "submit": decision.submit,
        "remove": list(decision.remove),
        "avoid_hosts": list(decision.avoid_hosts),
        "reasons": [*decision.reasons, *(f"{v.action} {v.id}: {v.reason}" for v in planned.verdicts)],
        "numbers": dict(decision.numbers),
    }


def _run(path: str, state: str | None, once: bool, bindings: str | None) -> int:
    source = _Source(path)
    m = source.machinetype
    _check_user(m)
    directory = os.path.abspath(state or m.state_directory)
    if not os.path.isdir(directory):
        raise VacError(f"{directory}: no such directory; create it, owned by {m.owner}")
    log = _log(directory)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(atomic.locked(os.path.join(directory, "lock"), "check its owner", patience=0.0))
        except atomic.LockedError:
            log.warning("another factory of %s holds %s/lock: waiting a minute, then exiting", m.name, directory)
            _sleep(0.0 if once else RESTART_SECONDS)
            return EXIT_STANDBY
        return Factory(source, directory, log, Pool(bindings)).run(once)


class Factory:
    """The loop: cycles, signals, changes of the machinetype's file, old directories."""

    def __init__(self, source: _Source, directory: str, log: logging.Logger, pool: Pool) -> None:
        self._source = source
        self._directory = directory
        self._log = log
        self._cycle = Cycle(pool, directory, os.environ.get(OWN_JOB), log.info)
        self._parent = os.getppid()
        self._cleaned = 0.0
        self._logged: tuple[str, ...] | None = None
        self._stuck: set[str] = set()

    def run(self, once: bool) -> int:
        """Cycles until a signal ends them (or one, with ``once``); returns the exit code."""
        m = self._source.machinetype
        self._log.info("factory of %s, condor_vac %s, pid %d", m.name, __version__, os.getpid())
        self._cycle.load()
        while True:
            # A copy, so that a VM starts with the machinetype that its factory goes by.
            m = self._source.machinetype
            publish(m, self._directory)
            last = self._cycle.run(m, self._source.notes, self._source.proxy_file)
            self._report(last)
            self._clean_up()
            if once:
                return 1 if last["error"] else 0
            received = _sleep(float(m.cycle_seconds))
            if received is not None:
                return self._stop(received, m)
            if OWN_JOB in os.environ and os.getppid() != self._parent:
                self._log.warning("the schedd that started this factory is gone; stopping")
                return 0
            self._source.refresh()

    def _report(self, last: Any) -> None:
        """A line for every decision that does something or differs from the last by more than figures."""
        reasons = tuple(_FIGURES.sub(r"#\1", reason) for reason in last["reasons"])
        if last["submit"] or reasons != self._logged:
            level = logging.ERROR if last["error"] else logging.INFO
            text = one_line(" · ".join(last["reasons"]))
            self._log.log(level, "submit %d: %s", last["submit"], text or "no reason")
        self._logged = reasons

    def _clean_up(self) -> None:
        """Once an hour, remove the directories of VMs that left the queue a week ago."""
        now, in_queue = time.time(), self._cycle.batches
        # Until the schedd has answered nobody knows which VMs are there.
        if in_queue is None or now - self._cleaned < CLEAN_UP_SECONDS:
            return
        self._cleaned = now
        vm_directories.still_in_use(self._directory, in_queue, now)
        for path in vm_directories.outdated_proxies(self._directory, now - proxy.lifetime(self._source.machinetype)):
            self._attempt(proxy.remove, path)
        for path in vm_directories.old_directories(self._directory, in_queue, now - KEEP_DIRECTORIES_SECONDS):
            self._attempt(leftovers.remove, path)

    def _attempt(self, removal: Callable[[str], None], path: str) -> None:
        """Remove something; where that fails it is logged once, and tried again an hour later."""
        try:
            removal(path)
        except VacError as error:
            if path not in self._stuck:
                self._log.warning("%s", error)
            self._stuck.add(path)

    def _stop(self, received: int, m: Machinetype) -> int:
        self._log.info("%s: stopping", signal.Signals(received).name)
        if received in {HOLD, REMOVE}:
            try:
                gone = self._cycle.withdraw(m, "condor_vac: its factory was held or removed")
                self._log.info("removed %s that had not started", count(gone, "VM"))
            except VacError as error:
                self._log.error("VMs that have not started stay in the queue: %s", error)
        return EXIT_LEAVE_QUEUE if received == REMOVE else 0


class _Source:
    """The machinetype's file, read again when it changes. ``notes`` hold what is wrong with a new version.

    ``proxy_file`` is the path of its HTTP proxy, which is read whenever it is needed.
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self._stamp = self._stat()
        self.machinetype = machinetype.load(self._path)
        self.notes: list[str] = []
        self.proxy_file = user_data_copy.proxy_file(self._path)

    def refresh(self) -> None:
        """Take a changed file if it is right, else keep the old machinetype and note why."""
        stamp = self._stat()
        if stamp is not None and stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            new = machinetype.load(self._path)
            if (new.name, new.owner) != (self.machinetype.name, self.machinetype.owner):
                raise UsageError(f"{self._path}: name and owner cannot change while the factory runs")
        except VacError as error:
            self.notes = [f"using the last good machinetype: {error}"]
            return
        self.machinetype = new
        self.notes = []

    def _stat(self) -> tuple[int, ...] | None:
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns


def publish(m: Machinetype, directory: str) -> None:
    """The copy of the machinetype that VM jobs transfer; written if it differs. Raises VacError."""
    path = os.path.join(directory, f"{m.name}.json")
    data = json.dumps(m.to_mapping(), indent=1, sort_keys=True).encode() + b"\n"
    if not _has(path, data):
        # Its options may hold secrets of the experiment's.
        atomic.write(path, data, mode=0o640)


def _has(path: str, data: bytes) -> bool:
    """Whether the file is there with these contents."""
    try:
        return atomic.read(path, len(data)) == data
    except VacError:
        # It is written anew, and what prevents that is reported.
        return False


def _check_user(m: Machinetype) -> None:
    user = pwd.getpwuid(os.geteuid()).pw_name
    if user != m.owner:
        raise UsageError(f"{m.name}: owner is {m.owner}, but this is {user}; run the factory as {m.owner}")


def _log(directory: str) -> logging.Logger:
    path = os.path.join(directory, "factory.log")
    log = logging.getLogger("condor_vac.factory.process")
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        handler = logging.handlers.RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES)
    except OSError as error:
        raise VacError(f"{path}: cannot open the log: {error.strerror}; check its owner") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.handlers[:] = [handler]
    return log


def _sleep(seconds: float, signals: Sequence[int] = tuple(_SIGNALS)) -> int | None:
    """Wait; returns the signal that ended the wait, or None."""
    received = signal.sigtimedwait(set(signals), seconds)
    # Where the process was stopped (SIGSTOP) beyond the time, CPython returns a number that is no signal's.
    return received.si_signo if received is not None and received.si_signo in signals else None
