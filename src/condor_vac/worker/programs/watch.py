# SPDX-License-Identifier: GPL-3.0-or-later
"""``vac_watch``: checks every VM of this node once, as root; a systemd timer starts it every 30 seconds.

Records in the job's ad whether the VM works, stops VMs that are over a limit (power button, grace, destroy) and
cleans up what was left behind. Its state is under /run; if that or vac_watch itself is missing for a while,
no VM ends for it (condor_vac.worker.watch.rules).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from condor_vac.base import atomic
from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.shared import one_line
from condor_vac.condor import chirp
from condor_vac.image.store import Store as Images
from condor_vac.worker import libvirt, privileges, sandbox, shutdown_plan, startd, troubles
from condor_vac.worker import settings as settings_module
from condor_vac.worker.checks import remembered
from condor_vac.worker.lease import store as lease_store
from condor_vac.worker.lease.store import Lease, Store
from condor_vac.worker.settings import Settings
from condor_vac.worker.vm import ending, outputs
from condor_vac.worker.watch import chores, cleanup, node_ad, planned_shutdown, rules, vm_universe
from condor_vac.worker.watch.chores import Chore
from condor_vac.worker.watch.rules import Sample
from condor_vac.worker.watch.samples import Samples
from condor_vac.worker.watch.steps import attempt

# From the power button to the end: a VM writes its message and uploads logs in that time.
STOP_GRACE_SECONDS = 120.0
# What each kind of work for a VM's job may take.
_CHIRP_SECONDS = 3.0
_WORK_SECONDS = 5.0
_END_SECONDS = 10.0
_STARTD_SECONDS = 15.0
# What a run waits for the leases' lock, in all.
_LOCK_SECONDS = 15.0
# How long a domain may be missing before vac_watch acts on its end in place of libvirt's hook.
_MISSING_SECONDS = 45.0
# What a message may be long.
_LINE = 1000
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def main() -> int:
    """Entry point of ``/usr/local/libexec/vac_watch``; 1 when something could not be done in this run."""
    store = Store(patience=_LOCK_SECONDS)
    try:
        errors = Watch(store, settings_module.of_this_node()).run()
    except VacError as error:
        errors = [error]
    lines = list(dict.fromkeys(one_line(str(error), _LINE) for error in errors))
    # Once in the log; `condor_vac doctor` shows what is still so.
    known = troubles.read(store.run_directory)
    for line in lines:
        if line not in known:
            print(f"vac_watch: {line}", file=sys.stderr)
    try:
        troubles.write(store.run_directory, lines)
    except VacError as error:
        print(f"vac_watch: {error}", file=sys.stderr)
        return 1
    return 1 if lines else 0


class Watch:
    """One run over the leases of a store."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.settings = settings
        self.directory = f"{store.run_directory}/watch"
        self.samples = Samples(self.directory, print)
        self.shutdowntime: int | None = None
        self.plan_known = False
        # The VMs whose slots other jobs are to get; None: not known.
        self.retiring: list[startd.Leaving] | None = []
        # What is done as the VMs' users, last.
        self.chores: list[Chore] = []

    def run(self) -> list[VacError]:
        """Check every VM, then clean up; an error with one VM, or in one step, does not stop the others.

        Raises VacError if libvirt or the leases cannot be asked: then nothing is judged and nothing cleaned.
        """
        try:
            atomic.make_directory(self.directory)
        except OSError as error:
            raise VacError(f"{self.directory}: {error.strerror}; check {self.store.run_directory}") from error
        errors: list[VacError] = []
        self.chores.clear()
        attempt(errors, self._read_plan)
        attempt(errors, self._ask_startd)
        # Before the leases are listed: a domain that is seen here and has no lease then belongs to no job.
        running = libvirt.active()
        for lease in self.store.all():
            attempt(errors, partial(self._check, lease, running.get(lease.domain)), lease.label)
        errors += cleanup.tidy(self.store, self.settings, running, print)
        attempt(errors, lambda: vm_universe.look(self.store.run_directory, self.settings, print))
        self._give_node_ad(errors)
        errors += chores.work(self.chores, self.samples, lease_store.boottime(), print)
        attempt(errors, self._forget)
        return errors

    def _read_plan(self) -> None:
        self.plan_known = False
        self.shutdowntime = shutdown_plan.planned(self.store.run_directory)
        self.plan_known = True

    def _give_node_ad(self, errors: list[VacError]) -> None:
        """Of what cannot be read the startd's ad keeps what was published."""
        wanted = node_ad.of_plan(self.shutdowntime) if self.plan_known else {}
        attempt(errors, lambda: wanted.update(node_ad.of_images(Images(self.settings.image_dir).names())))
        attempt(errors, lambda: wanted.update(node_ad.of_findings(remembered.number(self.store.run_directory))))
        attempt(errors, lambda: node_ad.publish(self.store.run_directory, wanted, print))

    def _ask_startd(self) -> None:
        self.retiring = None
        self.retiring = self._retiring()

    def _retiring(self) -> list[startd.Leaving]:
        """Only a node whose VMs are its backfill asks its startd.

        The slots of a node that drains or restarts retire too; when its VMs end, the planned shutdown says.
        """
        if self.settings.backfill_notice is None or not self.store.all():
            return []
        master = startd.daemons(_STARTD_SECONDS)
        return [one for one in startd.retiring(master, _STARTD_SECONDS) if one.is_vm and one.for_another]

    def _notice(self, lease: Lease, now: float) -> Lease:
        """The lease with the time by which its VM has to be gone for another job; what is not known changes nothing."""
        if self.retiring is None:
            return lease
        retires = any(lease.is_of(one.owner, one.job) for one in self.retiring)
        leaves = rules.leaves_at(lease, retires, self.settings.backfill_notice or 0, now)
        if leaves == lease.leaves_boottime:
            return lease
        what = "stays" if leaves is None else f"has {leaves - now:.0f} s to end: another job gets its slot"
        print(f"{lease.label}: {what}")
        return self.store.update(lease.uuid, lambda current: current.with_leave(leaves)) or lease

    def _check(self, lease: Lease, domain: libvirt.Domain | None) -> None:
        now = lease_store.boottime()
        previous = self.samples.load(lease.uuid, now)
        if domain is None:
            self._missing(lease, previous, now)
            return
        if lease.started is None:
            lease = self.store.update(lease.uuid, Lease.with_start) or lease
        gone = sandbox.is_gone(lease.sandbox)
        heartbeat = None
        # A sandbox that its user made something else is no way out of limits; what it is, looking at outputs says.
        with contextlib.suppress(UsageError):
            heartbeat = None if gone else heartbeat_time(lease, self.settings.execute)
        if domain.state in libvirt.PAUSED_STATES:
            sample = rules.paused(previous, now, domain.cpu_seconds, heartbeat)
        else:
            cpu = (domain.cpu_seconds, domain.processors)
            sample = rules.look(lease, previous, now, cpu, heartbeat)
        try:
            lease = self._notice(lease, now)
            self._limits(lease, domain, sample, gone=gone)
        finally:
            self.samples.save(lease.uuid, sample)
        if not gone:
            self._plan_chores(lease, sample)

    def _plan_chores(self, lease: Lease, sample: Sample) -> None:
        """What its user and its starter are needed for, when every VM has been checked."""
        if rules.should_publish(lease, sample):
            self.chores.append(Chore(lease, _CHIRP_SECONDS, partial(self._publish, lease, sample)))
        if not planned_shutdown.is_announced(lease, self.shutdowntime, self.settings.execute):
            announce = partial(planned_shutdown.announce, lease, self.shutdowntime, self.settings.execute)
            self.chores.append(Chore(lease, _WORK_SECONDS, announce))

    def _limits(self, lease: Lease, domain: libvirt.Domain, sample: Sample, *, gone: bool) -> None:
        """Stop a VM that is over a limit: power button, and destroy where that had no effect in time."""
        if lease.stopping is None:
            stop = (
                rules.violation(lease, sample)
                or rules.shutdown_due(self.shutdowntime, time.time())
                or rules.leave_due(lease, sample.boottime)
                or (None if gone else self._outputs(lease))
            )
            if stop is None:
                return
            self.store.update(lease.uuid, lambda now: now.with_stop(stop.cause, stop.message, sample.boottime))
            print(f"{lease.label}: {stop.message}: pressing its power button")
            if domain.state not in libvirt.PAUSED_STATES:
                self._end(lease, libvirt.shut_down)
                return
        elif sample.boottime - float(lease.stopping["boottime"]) < STOP_GRACE_SECONDS:
            return
        print(f"{lease.label}: did not shut down within {STOP_GRACE_SECONDS:.0f} s: destroying it")
        self._end(lease, libvirt.destroy)

    def _end(self, lease: Lease, how: Callable[[str], bool]) -> None:
        if not how(lease.uuid):
            print(f"{lease.label}: no domain has its lease's UUID: a domain of this name is another VM's, and is left")

    def _outputs(self, lease: Lease) -> rules.Stop | None:
        with sandbox.opened(lease.sandbox, self.settings.execute, lease.uid) as fd:
            return rules.outputs_over(outputs.usage(fd), self.settings.outputs_mb)

    def _missing(self, lease: Lease, previous: Sample | None, now: float) -> None:
        """No domain: not started yet, suspended to disk, or its end was not noticed."""
        if lease.started is None or lease.saved or sandbox.is_gone(lease.sandbox):
            return
        sample = previous or Sample(now, 0.0, now, None, now)
        if sample.missing_since is None:
            self.samples.save(lease.uuid, replace(sample, missing_since=now))
        elif now - sample.missing_since >= _MISSING_SECONDS:
            over = partial(cleanup.over, lease, self.store, self.settings, print)
            self.chores.append(Chore(lease, _END_SECONDS, over))

    def _publish(self, lease: Lease, sample: Sample, seconds: float) -> None:
        clock = time.time()
        attributes: dict[str, chirp.Value] = {
            "VacStarted": lease.started,
            "VacCpuSeconds": round(sample.cpu_seconds, 1),
            "VacCpuFraction": round(sample.fraction or 0.0, 3),
            "VacEvidenceTime": int(clock),
        }
        if sample.published is None:
            attributes.update(ending.identity(lease))
        # When it was seen, not the file's own time, which the VM sets as it likes.
        if sample.heartbeat_updated is not None:
            attributes["VacHeartbeat"] = int(clock - (sample.boottime - sample.heartbeat_updated))
        privileges.run_as(
            lease.uid,
            lease.gid,
            lambda: chirp.set_attributes(lease.chirp_config, attributes, timeout=seconds),
            # The time of a process, so that what the starter did not do is said in the starter's words.
            timeout=seconds + 1.0,
        )
        done = replace(sample, published=sample.boottime, published_fraction=sample.fraction)
        self.samples.save(lease.uuid, done)

    def _forget(self) -> None:
        """Remove the samples of VMs that have no lease any more."""
        leases, damaged = self.store.read()
        self.samples.forget({one.uuid for one in leases} | {bad.uuid for bad in damaged})


def heartbeat_time(lease: Lease, execute: str) -> int | None:
    """The mtime (ns) of the VM's heartbeat file; None if it is absent or not a plain file.

    Raises VacError where the file system does not say: that is no fault of the VM's.
    """
    if lease.heartbeat_file is None:
        return None
    outputs_name = os.path.basename(lease.joboutputs)
    try:
        with sandbox.opened(lease.sandbox, execute, lease.uid) as fd:
            inner = os.open(outputs_name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            try:
                found = os.stat(lease.heartbeat_file, dir_fd=inner, follow_symlinks=False)
            finally:
                os.close(inner)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise VacError(f"{lease.joboutputs}: cannot be looked at: {error.strerror}; check the disk") from error
    return found.st_mtime_ns if stat.S_ISREG(found.st_mode) else None
