# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reconfigure, restart and drain one node's daemons without ending the jobs that run there, VMs or others.

The startd is asked to shut down *peacefully*: it accepts no new job, lets what runs run however long
it takes (MaxJobRetirementTime does not matter then: condor_startd.V6/Resource.cpp), exits, and is started
anew by the master. A graceful drain would give a VM only MaxJobRetirementTime, which is 0 by default.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.tools import (
    Condor,
    is_ready,
    leaves,
    pids,
    require_master,
)
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import CommandError, ModuleError

# How long daemons get to notice a SIGHUP, in seconds.
SETTLE = 2


@dataclass(frozen=True)
class Outcome:
    """The daemons after a request. ``pending``: what was asked for waits for ``jobs`` to end."""

    ad: dict[str, Any]
    jobs: list[dict[str, Any]] = field(default_factory=list)
    pending: bool = False


class Control:
    """Acts on the daemons of one node; *timeout* in seconds is for each thing that is waited for."""

    def __init__(self, condor: Condor, timeout: int, force: bool) -> None:
        self.condor = condor
        self.timeout = timeout
        self.force = force

    def ready(self) -> Outcome:
        """Wait until all daemons that should run are up. Raises ModuleError naming those that are not."""
        ad = self.condor.wait_ready(self.timeout)
        require_master(ad)
        if not is_ready(ad):
            raise ModuleError(
                f"HTCondor is not ready after {self.timeout} s: {', '.join(_laggards(ad))}",
                f"read the daemon's log in {self.condor.configuration().value('LOG')} on the node",
                daemons=states(ad),
            )
        return Outcome(ad, self.condor.running_jobs(ad))

    def reconfig(self) -> Outcome:
        """Let the daemons read their configuration. Raises ModuleError if one of them died of it."""
        before = require_master(self.condor.master())
        outcome = self.reread()
        died = [name for name, pid in pids(before).items() if pids(outcome.ad).get(name, pid) != pid]
        if died and is_ready(before):
            raise ModuleError(
                f"{', '.join(sorted(died))} did not survive the reconfig and was started again",
                f"read its log in {self.condor.configuration().value('LOG')} on the node",
                daemons=states(outcome.ad),
            )
        return outcome

    def reread(self) -> Outcome:
        """As `reconfig`, for daemons of which some may be down because of what they read before.

        By the signal that condor_reconfig's command amounts to (condor_master.V6/master.cpp): the command would
        be refused where the configuration on disk authenticates differently from the one that still runs.
        """
        os.kill(pids(require_master(self.condor.master()))["MASTER"], signal.SIGHUP)
        time.sleep(SETTLE)
        return self.ready()

    def start_anew(self) -> Outcome | None:
        """Restart a master that has nothing below it yet, by its service; None where it has, or no service runs it.

        So is a new installation: a reconfig would start its daemons with half of what is configured, only to
        stop them again.
        """
        before = pids(require_master(self.condor.master()))
        if set(before) - {"MASTER", "SHARED_PORT"} or not self.condor.restart_service(before["MASTER"]):
            return None
        self._require_new(before, ["MASTER"])
        return self.ready()

    def restart(self, scope: Sequence[str]) -> Outcome:
        """Restart the daemons in *scope* (MASTER: all), the startd only when its jobs have ended."""
        before = require_master(self.condor.master())
        everything = "MASTER" in scope
        startd = "STARTD" in pids(before) and (everything or "STARTD" in scope)
        if startd and not self.force:
            waiting = self._emptied() if everything else self._restart_peacefully(before)
            if waiting is not None:
                return waiting
        old = pids(before)
        if everything:
            self.condor.administer("condor_restart", self._manner, "-master")
        for daemon in [] if everything else scope:
            if daemon != "STARTD" or self.force:
                self.condor.administer("condor_restart", self._manner, f"-{daemon.lower()}")
        concerned = [name for name in old if name not in ("MASTER", "SHARED_PORT")] if everything else list(scope)
        self._require_new(old, concerned)
        return self.ready()

    def drain(self) -> Outcome:
        """Take the node out of the pool: no new job, and the startd off when its jobs have ended."""
        before = require_master(self.condor.master())
        if "STARTD" not in pids(before):
            return Outcome(before)
        self.condor.administer("condor_off", "-fast" if self.force else "-peaceful", "-startd")
        deadline = time.monotonic() + self.timeout
        while True:
            ad = self.condor.master()
            if "STARTD" not in pids(ad):
                return Outcome(ad)
            if time.monotonic() >= deadline:
                return Outcome(ad, self._jobs(ad), pending=True)
            time.sleep(1)

    def resume(self) -> Outcome:
        """Start the daemons that were switched off, those that still end once they have ended."""
        before = require_master(self.condor.master())
        leaving = [name for name in pids(before) if leaves(before, name)]
        for daemon in [*held(before), *leaving]:
            self.condor.administer("condor_on", f"-{daemon.lower()}")
        if "STARTD" in leaving and (jobs := self._jobs(before)):
            return Outcome(before, jobs, pending=True)  # which may run for days yet
        return self._waiting(before, leaving) or self.ready()

    @property
    def _manner(self) -> str:
        return "-fast" if self.force else "-graceful"

    def _emptied(self) -> Outcome | None:
        """Switch the startd off for a restart of everything; the Outcome only if jobs outlast the timeout.

        Then the startd alone restarts once they have ended, and the rest is for the next run.
        """
        return self.resume() if self.drain().pending else None

    def _restart_peacefully(self, before: dict[str, Any]) -> Outcome | None:
        """Restart the startd once its jobs have ended; the Outcome only if they still run after the timeout."""
        self.condor.administer("condor_restart", "-peaceful", "-startd")
        return self._waiting(before, ["STARTD"])

    def _waiting(self, before: dict[str, Any], daemons: Sequence[str]) -> Outcome | None:
        """Wait until *daemons* run anew; the Outcome only if jobs keep them from it for longer than the timeout."""
        if not self._wait_for_new(pids(before), daemons, self.timeout):
            return None
        ad = self.condor.master()
        jobs = self._jobs(ad)
        return Outcome(ad, jobs, pending=True) if jobs else None

    def _jobs(self, ad: dict[str, Any]) -> list[dict[str, Any]]:
        """The running jobs, from a startd that may be exiting just now."""
        try:
            return self.condor.running_jobs(ad)
        except CommandError:
            if self.condor.master().get("STARTD_PID") == ad.get("STARTD_PID"):
                raise
            return []

    def _require_new(self, old: dict[str, int], daemons: Sequence[str]) -> None:
        """Wait until each of *daemons* runs as a new process. Raises ModuleError naming those that do not."""
        late = self._wait_for_new(old, daemons, self.timeout)
        if late:
            raise ModuleError(
                f"{', '.join(late)} did not restart within {self.timeout} s",
                "read MasterLog on the node, or give the task a longer timeout",
            )

    def _wait_for_new(self, old: dict[str, int], daemons: Sequence[str], timeout: int) -> list[str]:
        """Wait until each of *daemons* runs as a new process; those that do not after *timeout* seconds."""
        deadline = time.monotonic() + timeout
        while True:
            running = pids(self.condor.master())
            late = [name for name in daemons if running.get(name, 0) in (0, old.get(name))]
            if not late or time.monotonic() >= deadline:
                return late
            time.sleep(1)


def held(ad: dict[str, Any]) -> list[str]:
    """The daemons that somebody switched off."""
    return sorted(name for name, state in states(ad).items() if state == "Hold")


def states(ad: dict[str, Any]) -> dict[str, str]:
    """State of each daemon, by name, in a master's ad."""
    return {name[:-4]: str(ad.get(name[:-4])) for name in ad if name.endswith("_PID")}


def _laggards(ad: dict[str, Any]) -> list[str]:
    late = [f"{name} {state}" for name, state in sorted(states(ad).items()) if state not in ("Alive", "Hold")]
    return late or [f"STARTD {ad.get('STARTD_State', 'starting')}"]
