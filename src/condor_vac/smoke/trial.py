# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs smoke VMs: submits their jobs as the owner, follows them to their ends, and leaves nothing in any case."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.shared import JobStatus
from condor_vac.condor.pool import Pool, PoolError, by_id, job_id
from condor_vac.smoke import places, vms
from condor_vac.smoke.places import Place
from condor_vac.smoke.vms import Result, Vm
from condor_vac.worker import privileges

LOOK_SECONDS = 3.0
SUBMIT_SECONDS = 600.0
READ_SECONDS = 60.0
GONE_SECONDS = 120.0
REASON = "condor_vac smoke has ended"
_ON_NODE = (JobStatus.RUNNING, JobStatus.TRANSFERRING, JobStatus.SUSPENDED)

Progress = Callable[[str], None]
# (VM, its job's ad, its job's id) → why it does not start.
Why = Callable[[Vm, Mapping[str, Any], str], str]


class Limits(NamedTuple):
    """Seconds without a start or an end on a node after which an idle VM is given up, and those of one VM's run."""

    start: float = 600.0
    run: float = 900.0


class Trial:
    """One run of the command: its VMs, their jobs, and what has been found."""

    def __init__(self, wanted: Sequence[Vm], limits: Limits, why: Why, pool: Callable[[], Pool] = Pool) -> None:
        self.wanted = list(wanted)
        self.limits = limits
        self.why = why
        self.make_pool = pool
        self.token = secrets.token_hex(8)
        self.jobs: dict[str, Vm] = {}
        self.results: dict[str, Result] = {}
        self.busy: dict[str, float] = {}
        self.directory = ""
        self.stuck: list[str] = []
        self.identity = (os.geteuid(), os.getegid())

    def run(self, image: str, owner: str, progress: Progress) -> list[Result]:
        """Every VM's result, in the order of the VMs. Raises VacError; also then nothing is left.

        What is left of an earlier run that was killed is removed first; ``stuck`` says what of it could not be.
        """
        self.identity = _identity(owner)
        with places.new(*self.identity) as place:
            self.directory = place.path
            try:
                self._clean_up(progress)
                self._submit(image, owner)
                self._follow(progress)
            finally:
                self._clean(place, progress)
        return [self.results[vm.name] for vm in self.wanted]

    def _clean_up(self, progress: Progress) -> None:
        for place in places.abandoned():
            try:
                self._clean(place, progress)
            except (VacError, OSError) as error:
                self.stuck.append(f"of an earlier run, {place.path} is left: {error}")

    def _submit(self, image: str, owner: str) -> None:
        """Submit a job for each VM. The schedd takes who connects for the owner, so a process of the owner's does it.

        What was submitted before an error is in ``jobs`` as well, so that it is removed.
        """

        def work() -> dict[str, Any]:
            pool, found = self.make_pool(), {}
            try:
                for vm in self.wanted:
                    commands = vms.describe(vm, self.directory, image=image, owner=owner, token=self.token)
                    found[f"{pool.submit(commands, 1)}.0"] = vm.name
            except VacError as error:
                return {"jobs": found, "error": str(error)}
            return {"jobs": found, "error": None}

        answer = privileges.run_as(*self.identity, work, timeout=SUBMIT_SECONDS)
        by_name = {vm.name: vm for vm in self.wanted}
        self.jobs = {job: by_name[name] for job, name in answer["jobs"].items()}
        if answer["error"] is not None:
            raise VacError(answer["error"])

    def _follow(self, progress: Progress) -> None:
        pool = self.make_pool()
        self.busy = {vm.node.machine: time.monotonic() for vm in self.wanted}
        while len(self.results) < len(self.wanted):
            ads = {job_id(ad): ad for ad in pool.jobs(by_id(list(self.jobs)), vms.PROJECTION)}
            for job, vm in self.jobs.items():
                if vm.name not in self.results:
                    self._look(job, vm, ads.get(job))
            running = sum(ad.get("JobStatus") in _ON_NODE for ad in ads.values())
            progress(f"smoke: {len(self.results)} of {len(self.wanted)} VMs have ended, {running} run")
            if len(self.results) < len(self.wanted):
                time.sleep(LOOK_SECONDS)

    def _look(self, job: str, vm: Vm, ad: Mapping[str, Any] | None) -> None:
        now, machine = time.monotonic(), vm.node.machine
        if ad is None:
            self._end(vm, None, f"job {job} has left the queue; did somebody remove it?")
            return
        status, seconds = ad.get("JobStatus"), vms.seconds_of(ad, time.time())
        if status == JobStatus.COMPLETED:
            self._end(vm, seconds, self._read(vm, ad))
        elif status == JobStatus.HELD:
            self._end(vm, seconds, f"held: {ad.get('HoldReason') or 'no reason given'}")
        elif status == JobStatus.REMOVED:
            self._end(vm, seconds, f"job {job} was removed")
        elif status in _ON_NODE:
            self.busy[machine] = now
            if seconds is not None and seconds > self.limits.run:
                self._end(vm, seconds, f"did not end within {self.limits.run:g} s; see its console.log on the node")
        elif now - self.busy[machine] > self.limits.start:
            self._end(vm, None, f"did not start within {self.limits.start:g} s: {self.why(vm, ad, job)}", busy=False)

    def _read(self, vm: Vm, ad: Mapping[str, Any]) -> str:
        """Why the VM of a completed job is not well; empty if it is."""
        plain = {key: value for key, value in ad.items() if isinstance(value, (bool, int, float, str))}
        try:
            return str(
                privileges.run_as(
                    *self.identity,
                    lambda: vms.judge(vm, plain, f"{self.directory}/{vm.name}", self.token),
                    timeout=READ_SECONDS,
                )
            )
        except VacError as error:
            return str(error)

    def _end(self, vm: Vm, seconds: float | None, cause: str, *, busy: bool = True) -> None:
        self.results[vm.name] = Result(vm, not cause, seconds, vms.line(cause))
        if busy:
            self.busy[vm.node.machine] = time.monotonic()

    def _clean(self, place: Place, progress: Progress) -> None:
        """Remove the jobs of a directory, wait until they have left the queue, and remove it. Raises VacError.

        The jobs' owner does that: a schedd need not let root act on them.
        """
        mine = place.jobs()
        privileges.run_as(place.uid, place.gid, lambda: self._withdraw(mine, progress), timeout=2 * GONE_SECONDS)
        shutil.rmtree(place.path)

    def _withdraw(self, mine: str, progress: Progress) -> None:
        pool, deadline = self.make_pool(), time.monotonic() + GONE_SECONDS

        def jobs() -> list[str]:
            return [job_id(ad) for ad in pool.jobs(mine, ["ClusterId", "ProcId"])]

        pool.remove(jobs(), REASON)
        while left := jobs():
            progress(f"smoke: {len(left)} jobs are being removed")
            if time.monotonic() > deadline:
                raise PoolError(f"{len(left)} jobs stay in the queue: condor_rm -forcex {' '.join(left)}")
            time.sleep(1)


def _identity(owner: str) -> tuple[int, int]:
    try:
        user = pwd.getpwnam(owner)
    except KeyError as error:
        raise UsageError(f"--owner {owner}: no such user here; give an owner of VM jobs (worker_owners)") from error
    if os.geteuid() not in {0, user.pw_uid}:
        raise UsageError(f"run this as root, or as {owner}, who is to own the VM jobs")
    return user.pw_uid, user.pw_gid
