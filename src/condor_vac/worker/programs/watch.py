# SPDX-License-Identifier: GPL-3.0-or-later
"""``vac_watch``: checks every VM of this node once, as root; a systemd timer starts it every 30 seconds.

Records in the job's ad whether the VM works, stops VMs that are over a limit (power button, grace, destroy) and
cleans up what was left behind. Its state is under /run; if that or vac_watch itself is missing for a while,
no VM ends for it (condor_vac.worker.watch.rules).
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
import time
from dataclasses import replace

from condor_vac.base import atomic
from condor_vac.base.errors import VacError
from condor_vac.condor import chirp
from condor_vac.worker import libvirt, privileges, sandbox, shutdown_plan, startd
from condor_vac.worker import settings as settings_module
from condor_vac.worker.lease import store as lease_store
from condor_vac.worker.lease.store import Lease, Store
from condor_vac.worker.settings import Settings
from condor_vac.worker.vm import outputs
from condor_vac.worker.watch import cleanup, planned_shutdown, rules, vm_universe
from condor_vac.worker.watch.rules import Sample

# From the power button to the end: a VM writes its message and uploads logs in that time.
STOP_GRACE_SECONDS = 120.0
_CHIRP_SECONDS = 10.0
_WORK_SECONDS = 30.0
# How long a domain may be missing before vac_watch acts on its end in place of libvirt's hook.
_MISSING_SECONDS = 45.0
_STATE_LIMIT = 1 << 16


def main() -> int:
    """Entry point of ``/usr/local/libexec/vac_watch``; 1 when something could not be done in this run."""
    try:
        errors = Watch(Store(), settings_module.of_this_node()).run()
    except VacError as error:
        errors = [error]
    for found in errors:
        print(f"vac_watch: {found}", file=sys.stderr)
    return 1 if errors else 0


class Watch:
    """One run over the leases of a store."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.settings = settings
        self.directory = f"{store.run_directory}/watch"
        self.shutdowntime: int | None = None
        # The VMs whose slots other jobs are to get; None: not known.
        self.retiring: list[startd.Leaving] | None = []

    def run(self) -> list[VacError]:
        """Check every VM, then clean up; an error with one VM does not stop the check of the others."""
        os.makedirs(self.directory, mode=0o755, exist_ok=True)
        errors: list[VacError] = []
        try:
            self.shutdowntime = shutdown_plan.planned(self.store.run_directory)
        except VacError as error:
            errors.append(error)
        try:
            self.retiring = self._retiring()
        except VacError as error:
            self.retiring = None
            errors.append(error)
        # Before the leases are listed: a domain that is seen here and has no lease then belongs to no job.
        running = libvirt.active()
        for lease in self.store.all():
            try:
                self._check(lease, running.get(lease.domain))
            except VacError as error:
                errors.append(VacError(f"{lease.domain}: {error}"))
        errors += cleanup.tidy(self.store, self.settings, running, print)
        try:
            vm_universe.look(self.store.run_directory, self.settings, print)
        except VacError as error:
            errors.append(error)
        self._forget({lease.uuid for lease in self.store.all()})
        return errors

    def _retiring(self) -> list[startd.Leaving]:
        """Only a node whose VMs are its backfill asks its startd.

        The slots of a node that drains or restarts retire too; when its VMs end, the planned shutdown says.
        """
        if self.settings.backfill_notice is None or not self.store.all():
            return []
        return [one for one in startd.retiring(startd.daemons()) if one.is_vm and one.for_another]

    def _notice(self, lease: Lease, now: float) -> Lease:
        """The lease with the time by which its VM has to be gone for another job; what is not known changes nothing."""
        if self.retiring is None:
            return lease
        retires = any(lease.is_of(one.owner, one.job) for one in self.retiring)
        leaves = rules.leaves_at(lease, retires, self.settings.backfill_notice or 0, now)
        if leaves == lease.leaves_boottime:
            return lease
        what = "stays" if leaves is None else f"has {leaves - now:.0f} s to end: another job gets its slot"
        print(f"{lease.domain}: {what}")
        return self.store.update(lease.uuid, lambda current: current.with_leave(leaves)) or lease

    def _check(self, lease: Lease, domain: libvirt.Domain | None) -> None:
        previous = self._load(lease.uuid)
        if domain is None:
            self._missing(lease, previous)
            return
        if lease.started is None:
            lease = self.store.update(lease.uuid, Lease.with_start) or lease
        now = lease_store.boottime()
        heartbeat = heartbeat_time(lease, self.settings.execute)
        if domain.state in libvirt.PAUSED_STATES:
            sample = rules.paused(previous, now, domain.cpu_seconds, heartbeat)
        else:
            cpu = (domain.cpu_seconds, domain.processors)
            sample = rules.look(lease, previous, now, cpu, heartbeat)
        self._save(lease.uuid, sample)
        lease = self._notice(lease, now)
        self._limits(lease, domain, sample)
        if os.path.isdir(lease.sandbox):
            planned_shutdown.announce(lease, self.shutdowntime, self.settings.execute)
        if rules.should_publish(lease, sample):
            self._publish(lease, sample)
            sample = replace(sample, published=now, published_fraction=sample.fraction)
            self._save(lease.uuid, sample)

    def _limits(self, lease: Lease, domain: libvirt.Domain, sample: Sample) -> None:
        """Stop a VM that is over a limit: power button, and destroy where that had no effect in time."""
        if lease.stopping is None:
            stop = (
                rules.violation(lease, sample)
                or rules.shutdown_due(self.shutdowntime, time.time())
                or rules.leave_due(lease, sample.boottime)
                or self._outputs(lease)
            )
            if stop is None:
                return
            self.store.update(lease.uuid, lambda now: now.with_stop(stop.cause, stop.message, sample.boottime))
            print(f"{lease.domain}: {stop.message}: pressing its power button")
            if domain.state not in libvirt.PAUSED_STATES:
                libvirt.shut_down(lease.domain)
                return
        elif sample.boottime - float(lease.stopping["boottime"]) < STOP_GRACE_SECONDS:
            return
        print(f"{lease.domain}: did not shut down within {STOP_GRACE_SECONDS:.0f} s: destroying it")
        libvirt.destroy(lease.domain)

    def _outputs(self, lease: Lease) -> rules.Stop | None:
        if not os.path.isdir(lease.sandbox):
            return None
        with sandbox.opened(lease.sandbox, self.settings.execute, lease.uid) as fd:
            return rules.outputs_over(*outputs.usage(fd), self.settings.outputs_mb)

    def _missing(self, lease: Lease, previous: Sample | None) -> None:
        """No domain: not started yet, suspended to disk, or its end was not noticed."""
        if lease.started is None or lease.saved or not os.path.isdir(lease.sandbox):
            return
        now = lease_store.boottime()
        sample = previous or Sample(now, 0.0, now, None, now)
        if sample.missing_since is None:
            self._save(lease.uuid, replace(sample, missing_since=now))
        elif now - sample.missing_since >= _MISSING_SECONDS:
            cleanup.over(lease, self.store, self.settings, print)

    def _publish(self, lease: Lease, sample: Sample) -> None:
        attributes: dict[str, chirp.Value] = {
            "VacStarted": lease.started,
            "VacCpuSeconds": round(sample.cpu_seconds, 1),
            "VacCpuFraction": round(sample.fraction or 0.0, 3),
            "VacEvidenceTime": int(time.time()),
        }
        if sample.heartbeat is not None:
            attributes["VacHeartbeat"] = sample.heartbeat // 10**9
        privileges.run_as(
            lease.uid,
            lease.gid,
            lambda: chirp.set_attributes(lease.chirp_config, attributes, timeout=_CHIRP_SECONDS),
            timeout=_WORK_SECONDS,
        )

    def _load(self, uuid: str) -> Sample | None:
        """The previous sample; none, or one of another version, counts as none."""
        path = f"{self.directory}/{uuid}.json"
        if not os.path.exists(path):
            return None
        try:
            return Sample(**json.loads(atomic.read(path, _STATE_LIMIT)))
        except (ValueError, TypeError):
            return None

    def _save(self, uuid: str, sample: Sample) -> None:
        data = json.dumps(sample.to_mapping()).encode()
        atomic.write(f"{self.directory}/{uuid}.json", data, mode=0o644)

    def _forget(self, known: set[str]) -> None:
        for name in os.listdir(self.directory):
            if name.partition(".json")[0] not in known:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{self.directory}/{name}")


def heartbeat_time(lease: Lease, execute: str) -> int | None:
    """The mtime (ns) of the VM's heartbeat file; None if it is absent or not a plain file. Raises VacError."""
    if lease.heartbeat_file is None or not os.path.isdir(lease.sandbox):
        return None
    name = lease.heartbeat_file
    with sandbox.opened(lease.sandbox, execute, lease.uid) as fd:
        try:
            inner = os.open(
                os.path.basename(lease.joboutputs),
                os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC,
                dir_fd=fd,
            )
        except OSError:
            return None
        try:
            found = os.stat(name, dir_fd=inner, follow_symlinks=False)
        except OSError:
            return None
        finally:
            os.close(inner)
    return found.st_mtime_ns if stat.S_ISREG(found.st_mode) else None
