# SPDX-License-Identifier: GPL-3.0-or-later
"""One cycle of a factory: observe the queue, let the policy decide, act, and give the reasons.

Fails closed: whatever cannot be read, understood or written ends the cycle before anything is submitted. A
submission is announced in the state file before it is made (``Pending``) and confirmed by the next answer
of the schedd, so that no VM is submitted twice and none is lost when the factory or the schedd dies in
between.
"""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from condor_vac.base.errors import VacError
from condor_vac.base.shared import JobStatus
from condor_vac.condor.pool import Pool, PoolError
from condor_vac.factory import proxy, stuck_jobs, submit_description, user_data_copy, vm_jobs
from condor_vac.factory import state as factory_state
from condor_vac.factory.state import Pending, State
from condor_vac.model.machinetype import PROXY_NAME, Machinetype
from condor_vac.model.machinetype_keys import POLICY
from condor_vac.policy.control_law import MEMORY_SECONDS, Policy
from condor_vac.policy.observation import Decision, Ended, Limits, Observation
from condor_vac.policy.words import count

# Enough to judge by when a factory starts: the newest VMs that have left the queue.
HISTORY_LIMIT = 1000
_ACTIVE = frozenset({JobStatus.IDLE, JobStatus.RUNNING})
_IDLE = f"JobStatus == {JobStatus.IDLE}"


@dataclass(frozen=True)
class Plan:
    """What one look at the queue led to. ``policy`` is the policy after its decision, ``saved`` its state."""

    queue: vm_jobs.Queue
    seen: Observation
    decision: Decision
    verdicts: Sequence[stuck_jobs.Verdict]
    policy: Policy
    saved: Mapping[str, Any]


class Cycle:
    """The factory's work without its process: no loop, no signals, no lock. ``state`` is what the file holds.

    ``own_job`` is the id of the scheduler-universe job that runs this (None outside of one): an answer of the
    schedd without it cannot be complete. ``log`` takes lines for the log.
    """

    def __init__(
        self,
        pool: Pool,
        directory: str,
        own_job: str | None = None,
        log: Callable[[str], None] = print,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._directory = directory
        self._own_job = own_job
        self._log = log
        self._clock = clock
        self.state = State()
        self.batches: set[str] = set()
        self._policy: Policy | None = None
        self._past: dict[str, Ended] | None = None

    def load(self) -> None:
        """Read the state file; a damaged one is renamed, because the queue holds nearly all of it."""
        try:
            self.state = factory_state.load(self._directory)
        except VacError as error:
            aside = factory_state.set_aside(self._directory)
            self._log(f"{error}; renamed to {aside}, continuing from the queue")

    def run(self, m: Machinetype, notes: Sequence[str] = (), proxy_file: str | None = None) -> Mapping[str, Any]:
        """One cycle; returns what is also left in the state file as ``last``. Raises VacError only if that
        fails.

        ``notes`` are sentences to show with the decision (a machinetype file that could not be read, …).
        ``proxy_file`` is the file with the HTTP proxy for user data, if it exists.
        """
        now = self._clock()
        try:
            last = self._run(m, now, proxy_file)
        except VacError as error:
            last = {"error": str(error), "submit": 0, "reasons": [f"submitting nothing: {error}"]}
        last = {**last, "time": now, "reasons": [*notes, *last["reasons"]], "cycle_seconds": m.cycle_seconds}
        self.state = self.state.but(last=last)
        factory_state.save(self._directory, self.state)
        return last

    def plan(self, m: Machinetype, now: float) -> Plan:
        """Look at the queue and decide, without acting. Raises VacError."""
        queue = vm_jobs.queue(self._pool.jobs(vm_jobs.constraint(m.name, m.owner), vm_jobs.PROJECTION), m)
        self._check_factories(queue)
        self.batches.update(job.batch for job in queue.jobs if job.batch is not None)
        self._settle(queue, m, now)
        worked = set(self.state.worked)
        worked.update(vm_jobs.run_id(job) for job in queue.jobs if vm_jobs.works(job, m, now))
        worked &= {vm_jobs.run_id(job) for job in queue.jobs}
        self.state = self.state.but(worked=tuple(sorted(worked)))
        seen = vm_jobs.observation(queue.jobs, m, now, worked)
        self._remember(seen, m, now)
        digest = submit_description.describe(m)["+VacDigest"].strip('"')
        verdicts = stuck_jobs.verdicts(queue.jobs, m, now, digest)
        policy, shown = self._judge(seen, m)
        # Set again when the decision is carried out: a policy counts VMs that failed to be submitted.
        self._policy = None
        return Plan(queue, seen, policy.decide(shown), verdicts, policy, policy.state())

    def withdraw(self, m: Machinetype, reason: str) -> int:
        """Remove the VMs that have not started; how many. Raises PoolError."""
        ads = self._pool.jobs(vm_jobs.constraint(m.name, m.owner), vm_jobs.PROJECTION)
        idle = [job.id for job in vm_jobs.queue(ads, m).jobs if job.state == JobStatus.IDLE]
        return self._pool.remove(idle, reason, _IDLE)

    def _run(self, m: Machinetype, now: float, proxy_file: str | None) -> dict[str, Any]:
        plan = self.plan(m, now)
        done = [*self._clean(plan), *self._steer(plan)]
        self._attend_proxies(plan, m, now)
        number, cut = allowed(plan, m)
        if number or any(job.state == JobStatus.IDLE for job in plan.queue.jobs):
            done += user_data_copy.refresh(m, self._directory, proxy_file)
        cluster = self._submit(plan, m, now, number) if number else None
        self.state = self.state.but(policy=plan.saved)
        self._policy = plan.policy
        return {
            "error": None,
            "submit": number,
            "cluster": cluster,
            "reasons": [*plan.decision.reasons, *cut, *done],
            "numbers": dict(plan.decision.numbers),
            "observed": tally(plan.seen),
        }

    def _check_factories(self, queue: vm_jobs.Queue) -> None:
        """That the answer holds our own job, and no older factory that is to act. Raises PoolError."""
        if self._own_job is None:
            return
        if self._own_job not in queue.factories:
            raise PoolError(f"the schedd's answer is incomplete: it lacks this factory's job {self._own_job}")
        own = _order(self._own_job)
        older = [name for name, state in queue.factories.items() if state in _ACTIVE and _order(name) < own]
        if older:
            raise PoolError(f"job {older[0]} is an older factory of this machinetype; condor_rm one of them")

    def _settle(self, queue: vm_jobs.Queue, m: Machinetype, now: float) -> None:
        """Find out whether the last submission happened. Raises PoolError while that is unknown."""
        pending = self.state.pending
        if pending is None:
            return
        if any(job.batch == pending.batch for job in queue.jobs):
            policy = self.state.policy if pending.policy is None else pending.policy
            self.state = self.state.but(pending=None, policy=policy)
        elif pending.cluster is None and not self._in_history(f'VacBatch =?= "{pending.batch}"'):
            self._log(f"{count(pending.count, 'VM')} of batch {pending.batch} did not reach the schedd: deciding again")
            self.state = self.state.but(pending=None)
        elif pending.cluster is not None and not self._in_history(f"ClusterId == {pending.cluster}"):
            self._unseen(pending, m, now)
        else:
            policy = self.state.policy if pending.policy is None else pending.policy
            self.state = self.state.but(pending=None, policy=policy)

    def _judge(self, seen: Observation, m: Machinetype) -> tuple[Policy, Observation]:
        """The policy and what it observes: a new policy gets the ends of the last day's VMs again."""
        wanted = limits(m)
        if self._policy is not None and self._policy.limits == wanted:
            return self._policy, seen
        saved = self.state.policy if self._policy is None else self._policy.state()
        try:
            policy = Policy(wanted) if saved is None else Policy.restore(wanted, saved)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            self._log(f"the policy's saved state cannot be read ({error!r}): using the queue and the history alone")
            policy = Policy(wanted)
        return policy, replace(seen, ended=tuple((self._past or {}).values()))

    def _remember(self, seen: Observation, m: Machinetype, now: float) -> None:
        """Keep how VMs ended after they left the queue; at first from the history, if that can be read."""
        if self._past is None:
            self._past = {}
            mine = vm_jobs.constraint(m.name, m.owner)
            try:
                jobs = vm_jobs.queue(self._pool.history(mine, vm_jobs.PROJECTION, HISTORY_LIMIT), m).jobs
                left = [job for job in jobs if job.state == JobStatus.COMPLETED]
                self._past = {end.id: end for end in vm_jobs.observation(left, m, now, self.state.worked).ended}
            except VacError as error:
                self._log(f"{error}: using the queue alone")
        self._past.update((end.id, end) for end in seen.ended)
        if self._past and min(end.ended for end in self._past.values()) < now - MEMORY_SECONDS:
            self._past = {name: end for name, end in self._past.items() if end.ended >= now - MEMORY_SECONDS}

    def _in_history(self, constraint: str) -> bool:
        return bool(self._pool.history(constraint, ["ClusterId", "ProcId"], 1))

    def _unseen(self, pending: Pending, m: Machinetype, now: float) -> None:
        """VMs that the schedd accepted are not found: wait, so that no more are submitted unseen."""
        if now - pending.time < m.backoff_seconds:
            raise PoolError(
                f"cluster {pending.cluster} ({count(pending.count, 'VM')}) is neither in the queue nor in the history;"
                " check that this factory may read its jobs"
            )
        self._log(f"cluster {pending.cluster} did not appear within {m.backoff_seconds} s: continuing without it")
        self.state = self.state.but(pending=None)

    def _clean(self, plan: Plan) -> list[str]:
        """Carry out the rules' verdicts, one call for each kind and state; return the reasons."""
        groups: dict[tuple[str, int], list[stuck_jobs.Verdict]] = {}
        for verdict in plan.verdicts:
            groups.setdefault((verdict.action, verdict.state), []).append(verdict)
        for (action, state), found in groups.items():
            ids = [verdict.id for verdict in found]
            if action == stuck_jobs.REMOVE:
                self._pool.remove(ids, f"condor_vac: {found[0].reason}", f"JobStatus == {state}")
            elif action == stuck_jobs.FORGET:
                self._pool.remove_for_good(ids, f"condor_vac: {found[0].reason}")
            else:
                self._pool.edit(ids, "LeaveJobInQueue", "False", f"JobStatus == {state}")
        return [f"{verdict.action} {verdict.id}: {verdict.reason}" for verdict in plan.verdicts]

    def _steer(self, plan: Plan) -> list[str]:
        """Remove the idle VMs that the policy does not want, and write the hosts to avoid into the other idle jobs."""
        done = []
        if plan.decision.remove:
            gone = self._pool.remove(plan.decision.remove, "condor_vac: not wanted any more", _IDLE)
            done.append(f"removed {count(gone, 'idle VM')}")
        avoid = submit_description.avoided(plan.decision.avoid_hosts)
        if avoid != list(self.state.avoid):
            idle = [job.id for job in plan.queue.jobs if job.state == JobStatus.IDLE]
            value = submit_description.classad_string(",".join(avoid))
            self._pool.edit(idle, submit_description.AVOID, value, _IDLE)
            self.state = self.state.but(avoid=tuple(avoid))
        return done

    def _attend_proxies(self, plan: Plan, m: Machinetype, now: float) -> None:
        """Proxies that last for the VMs that wait, and none left of those that have ended. Raises VacError."""
        mine = {job: self._vm_directory(job) for job in plan.queue.jobs if job.batch is not None}
        waiting = [directory for job, directory in mine.items() if job.state == JobStatus.IDLE]
        credential = proxy.of_machinetype(m) if waiting else None
        if credential is not None:
            for directory in waiting:
                proxy.renew(credential, directory, m, now)
        for job, directory in mine.items():
            if job.state == JobStatus.COMPLETED:
                proxy.remove(directory)

    def _vm_directory(self, job: vm_jobs.Job) -> str:
        return os.path.join(self._directory, "vms", os.path.basename(str(job.batch)), job.id.partition(".")[2])

    def _submit(self, plan: Plan, m: Machinetype, now: float, machines: int) -> int:
        batch = f"{int(now)}-{secrets.token_hex(4)}"
        directory = os.path.join(self._directory, "vms", batch)
        commands = submit_description.for_batch(submit_description.describe(m), batch, directory, self.state.avoid)
        credential = proxy.of_machinetype(m)
        _make_directories(directory, machines)
        if credential is not None:
            for number in range(machines):
                proxy.renew(credential, os.path.join(directory, str(number)), m, now)
        pending = Pending(batch, machines, now, None, plan.saved)
        factory_state.save(self._directory, self.state.but(pending=pending))
        self.state = self.state.but(pending=pending)
        cluster = self._pool.submit(commands, machines)
        self.state = self.state.but(policy=plan.saved, pending=Pending(batch, machines, now, cluster))
        factory_state.save(self._directory, self.state)
        return cluster


def limits(m: Machinetype) -> Limits:
    """The machinetype's limits as the policy takes them."""
    return Limits(**{key: getattr(m, key) for key in POLICY})


def allowed(plan: Plan, m: Machinetype) -> tuple[int, list[str]]:
    """The decision's number, cut to what the caps allow, and the reason if it was cut."""
    machines = plan.seen.machines
    idle = sum(machine.started is None and machine.state == "idle" for machine in machines)
    room = max(0, min(m.max_machines - len(machines), m.max_idle - idle))
    number = max(0, min(plan.decision.submit, room))
    cut = (
        []
        if number == plan.decision.submit
        else [f"submitting {number} of {plan.decision.submit} (limited by the caps)"]
    )
    return number, cut


def tally(seen: Observation) -> dict[str, Any]:
    """How many VMs there are of each state, how many show work, and how those in the queue ended."""
    states = Counter(machine.state for machine in seen.machines)
    return {
        **{state: states.get(state, 0) for state in ("idle", "running", "held", "removed")},
        "works": sum(machine.works for machine in seen.machines),
        "ended": dict(Counter(ended.kind for ended in seen.ended)),
    }


def _make_directories(directory: str, count: int) -> None:
    try:
        for number in range(count):
            os.makedirs(os.path.join(directory, str(number)), mode=0o755)
    except OSError as error:
        raise VacError(f"{directory}: cannot make the VMs' directories: {error.strerror}; check space") from error


def _order(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in name.split("."))


def outdated_proxies(directory: str, before: float) -> list[str]:
    """The VMs' directories with a proxy that was made before that time, which ended with it."""
    pattern = os.path.join(glob.escape(directory), "vms", "*", "*", PROXY_NAME)
    return [os.path.dirname(path) for path in glob.glob(pattern) if os.lstat(path).st_mtime < before]


def old_directories(directory: str, in_queue: set[str], before: float) -> list[str]:
    """The VMs' directories (one per batch) older than ``before`` that belong to no job in the queue."""
    found = []
    with contextlib.suppress(FileNotFoundError), os.scandir(os.path.join(directory, "vms")) as entries:
        for entry in entries:
            if entry.name not in in_queue and entry.stat(follow_symlinks=False).st_mtime < before:
                found.append(entry.path)
    return found
