# SPDX-License-Identifier: GPL-3.0-or-later
"""One cycle of a factory: observe the queue, let the policy decide, act, and give the reasons.

Fails closed: whatever cannot be read, understood or written ends the cycle before anything is submitted. A
submission is announced in the state file before it is made (``Pending``) and confirmed by the next answer
of the schedd, so that no VM is submitted twice and none is lost when the factory or the schedd dies in
between.
"""

from __future__ import annotations

import itertools
import os
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from condor_vac.base import urls
from condor_vac.base.errors import VacError
from condor_vac.base.shared import JobStatus
from condor_vac.condor.pool import Pool, PoolError, by_id, job_id
from condor_vac.factory import (
    day,
    kept,
    proxy,
    stuck_jobs,
    submit_description,
    user_data_copy,
    vm_directories,
    vm_jobs,
)
from condor_vac.factory import state as factory_state
from condor_vac.factory import totals as factory_totals
from condor_vac.factory.job_ad import Job
from condor_vac.factory.proxy import DirectoryError
from condor_vac.factory.state import Pending, State
from condor_vac.factory.totals import End, Totals
from condor_vac.model.machinetype import Machinetype
from condor_vac.model.machinetype_keys import POLICY
from condor_vac.policy.control_law import MEMORY_SECONDS, Policy
from condor_vac.policy.observation import Decision, Ended, Limits, Observation
from condor_vac.policy.words import count

# Enough to judge by when a factory starts: the newest VMs that have left the queue.
HISTORY_LIMIT = 1000
# Factories' jobs of any other state act, or may.
_INACTIVE = frozenset({JobStatus.HELD, JobStatus.REMOVED, JobStatus.COMPLETED})
# Of one kind of damage, how many lines go into the log in one cycle, and how many sentences into the reasons.
_LOGGED, _SHOWN = 20, 3
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
        self.totals = Totals()
        # Of the jobs that the schedd's last answer had; None before the first.
        self.batches: set[str] | None = None
        self._named: dict[str, set[str]] = {}
        self._judged: set[tuple[str, str]] = set()
        self._policy: Policy | None = None
        self._past: dict[str, Ended] | None = None
        self._day = day.Day(directory)

    def load(self) -> None:
        """Read the factory's files; a damaged one is renamed: the queue holds nearly all of the state, and totals begin
        anew. Raises VacError.
        """
        try:
            self.state = factory_state.load(self._directory, self._clock())
        except VacError as error:
            aside = factory_state.set_aside(self._directory)
            self._log(f"{error}; renamed to {aside}, continuing from the queue")
        try:
            self.totals = factory_totals.load(self._directory)
        except VacError as error:
            aside = factory_state.set_aside(self._directory, factory_totals.NAME)
            self._log(f"{error}; renamed to {aside}, counting from 0")

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
            text = urls.without_queries(str(error))
            last = {"error": text, "submit": 0, "reasons": [f"submitting nothing: {text}"]}
        # Every user of the machine can read the state file.
        reasons = [urls.without_queries(reason) for reason in (*notes, *last["reasons"])]
        last = {**last, "time": now, "reasons": reasons, "cycle_seconds": m.cycle_seconds}
        self.state = self.state.but(last=last)
        factory_state.save(self._directory, self.state)
        self.totals = self.totals.after_cycle(last["submit"], failed=last["error"] is not None)
        factory_totals.save(self._directory, self.totals)
        return last

    def plan(self, m: Machinetype, now: float) -> Plan:
        """Look at the queue and decide, without acting. Raises VacError."""
        queue = vm_jobs.queue(self._pool.jobs(vm_jobs.constraint(m.name, m.owner), vm_jobs.PROJECTION), m, now)
        self._check_factories(queue)
        self.batches = {job.batch for job in queue.jobs if job.batch is not None}
        self._name("ads", vm_jobs.damage(queue.jobs))
        self._settle(queue, m, now)
        earlier = self.state.worked | {vm_jobs.run_id(job) for job in queue.jobs if vm_jobs.works(job, m, now)}
        worked = earlier & {vm_jobs.run_id(job) for job in queue.jobs}
        self.state = self.state.but(worked=worked)
        seen = vm_jobs.observation(queue.jobs, m, now, worked)
        self._day.take(queue.jobs, seen.ended)
        missed = self._remember(seen, m, now, earlier)
        self.totals = self.totals.after(queue.jobs, seen, missed, earlier)
        digest = submit_description.describe(m)["+VacDigest"].strip('"')
        verdicts = stuck_jobs.verdicts(queue.jobs, m, now, digest)
        policy, shown = self._judge(seen, m)
        # Set again when the decision is carried out: a policy counts VMs that failed to be submitted.
        self._policy = None
        return Plan(queue, seen, policy.decide(shown), verdicts, policy, policy.state())

    def withdraw(self, m: Machinetype, reason: str) -> int:
        """Remove the VMs that have not started; how many. Raises PoolError."""
        ads = self._pool.jobs(vm_jobs.constraint(m.name, m.owner), vm_jobs.PROJECTION)
        idle = [job.id for job in vm_jobs.queue(ads, m, self._clock()).jobs if job.state == JobStatus.IDLE]
        if idle:
            self._log(f"remove {' '.join(idle)}: {reason.removeprefix('condor_vac: ')}")
        return self._pool.remove(idle, reason, _IDLE)

    def _run(self, m: Machinetype, now: float, proxy_file: str | None) -> dict[str, Any]:
        plan = self.plan(m, now)
        self._name("page", self._day.save(plan.queue.jobs, m, now, self.state.worked))
        done = [*self._clean(plan), *self._steer(plan), *self._attend_proxies(plan, m, now)]
        self._name("kept", kept.update(self._directory, m, plan.queue.jobs, self._contexts))
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
            "observed": vm_jobs.tally(plan.queue.jobs, plan.seen),
        }

    def _check_factories(self, queue: vm_jobs.Queue) -> None:
        """That the answer holds our own job, and no older factory that is to act. Raises PoolError."""
        if self._own_job is None:
            return
        if self._own_job not in queue.factories:
            raise PoolError(f"the schedd's answer is incomplete: it lacks this factory's job {self._own_job}")
        own = _order(self._own_job)
        older = [name for name, state in queue.factories.items() if state not in _INACTIVE and _order(name) < own]
        if older:
            raise PoolError(f"job {older[0]} is an older factory of this machinetype; condor_rm one of them")

    def _settle(self, queue: vm_jobs.Queue, m: Machinetype, now: float) -> None:
        """Find out whether the last submission happened. Raises PoolError while that is unknown."""
        pending = self.state.pending
        if pending is None:
            return
        found = [job.id for job in queue.jobs if job.batch == pending.batch]
        if found:
            if pending.cluster is None:
                self._log(f"batch {pending.batch} reached the schedd: {' '.join(found)}")
            policy = self.state.policy if pending.policy is None else pending.policy
            self.state = self.state.but(pending=None, policy=policy)
        elif pending.cluster is None and not self._in_history(
            f'VacBatch =?= "{pending.batch}" && Owner == "{m.owner}"'
        ):
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
        except (VacError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            self._log(f"the policy's saved state cannot be read ({error!r}): using the queue and the history alone")
            policy = Policy(wanted)
        return policy, replace(seen, ended=tuple((self._past or {}).values()))

    def _remember(self, seen: Observation, m: Machinetype, now: float, worked: Collection[str]) -> list[End]:
        """Keep how VMs ended after they left the queue; at first from the history, if that can be read.

        Returns the ends that came while no factory looked.
        """
        missed: list[End] = []
        if self._past is None:
            self._past = {}
            mine = vm_jobs.constraint(m.name, m.owner)
            try:
                jobs = vm_jobs.queue(self._pool.history(mine, vm_jobs.PROJECTION, HISTORY_LIMIT), m, now).jobs
                left = [job for job in jobs if job.state == JobStatus.COMPLETED]
                ended = vm_jobs.observation(left, m, now, worked).ended
                self._past = {end.id: end for end in ended}
                self._day.take(left, ended)
                missed = self.totals.missed(factory_totals.ends(left, ended))
            except VacError as error:
                self._log(f"{error}: using the queue alone")
        self._past.update((end.id, end) for end in seen.ended)
        if self._past and min(end.ended for end in self._past.values()) < now - MEMORY_SECONDS:
            self._past = {name: end for name, end in self._past.items() if end.ended >= now - MEMORY_SECONDS}
        return missed

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
        self._log_verdicts(plan.verdicts)
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

    def _log_verdicts(self, verdicts: Sequence[stuck_jobs.Verdict]) -> None:
        """Each job by its id, once for as long as the verdict stays; those of one reason in a line."""
        lines: dict[tuple[str, str], list[str]] = {}
        for verdict in verdicts:
            if (verdict.action, verdict.id) not in self._judged:
                lines.setdefault((verdict.action, verdict.reason), []).append(verdict.id)
        for (action, reason), ids in lines.items():
            self._log(f"{action} {' '.join(ids)}: {reason}")
        self._judged = {(verdict.action, verdict.id) for verdict in verdicts}

    def _steer(self, plan: Plan) -> list[str]:
        """Remove the idle VMs that the policy does not want, and write the hosts to avoid into the other idle jobs."""
        done = []
        if plan.decision.remove:
            gone = self._pool.remove(plan.decision.remove, "condor_vac: not wanted any more", _IDLE)
            self._log(f"remove {' '.join(plan.decision.remove)}: not wanted any more")
            done.append(f"removed {count(gone, 'idle VM')}")
        avoid = submit_description.avoided(plan.decision.avoid_hosts)
        if avoid != list(self.state.avoid):
            idle = [job.id for job in plan.queue.jobs if job.state == JobStatus.IDLE]
            value = submit_description.classad_string(",".join(avoid))
            self._pool.edit(idle, submit_description.AVOID, value, _IDLE)
            self.state = self.state.but(avoid=tuple(avoid))
        return done

    def _attend_proxies(self, plan: Plan, m: Machinetype, now: float) -> list[str]:
        """Proxies that last for the VMs that wait, and none left of those that have ended; what single VMs' directories
        prevented, in sentences. Raises VacError if no proxy can be made.
        """
        mine = [(job.state, self._vm_directory(job)) for job in plan.queue.jobs if job.batch is not None]
        # Not twice, nor of a VM that waits: a job's ad may name another's batch.
        waiting = list(dict.fromkeys(directory for state, directory in mine if state == JobStatus.IDLE))
        over = {directory for state, directory in mine if state == JobStatus.COMPLETED}.difference(waiting)
        credential = proxy.of_machinetype(m) if waiting else None
        failed: dict[str, str] = {}
        for directory in waiting:
            try:
                if credential is not None:
                    proxy.renew(credential, directory, m, now)
            except DirectoryError as error:
                failed[directory] = f"a waiting VM has no new proxy: {error}"
        for directory in sorted(over):
            try:
                proxy.remove(directory)
            except VacError as error:
                failed[directory] = f"a proxy is left: {error}"
        self._name("proxies", failed)
        return list(itertools.islice(failed.values(), _SHOWN))

    def _contexts(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What the queue has of these jobs for the files of failed VMs; without an answer, nothing."""
        try:
            ads = self._pool.jobs(by_id(ids), ("ClusterId", "ProcId", *kept.CONTEXT))
        except PoolError as error:
            self._log(f"{error}: failed VMs are kept without their ads")
            return {}
        return {job_id(ad): ad for ad in ads}

    def _name(self, kind: str, found: Mapping[str, str]) -> None:
        """Log what is wrong (a sentence by what it is about), each once for as long as it stays so."""
        new = [sentence for about, sentence in found.items() if about not in self._named.get(kind, ())]
        for sentence in new[:_LOGGED]:
            self._log(sentence)
        if len(new) > _LOGGED:
            self._log(f"… and {len(new) - _LOGGED} more of this kind; see condor_vac status")
        self._named[kind] = set(found)

    def _vm_directory(self, job: Job) -> str:
        return vm_directories.of(self._directory, str(job.batch), job.id)

    def _submit(self, plan: Plan, m: Machinetype, now: float, machines: int) -> int:
        batch = f"{int(now)}-{secrets.token_hex(4)}"
        directory = vm_directories.of_batch(self._directory, batch)
        commands = submit_description.for_batch(submit_description.describe(m), batch, directory, self.state.avoid)
        credential = proxy.of_machinetype(m)
        vm_directories.make(directory, machines)
        if credential is not None:
            for number in range(machines):
                proxy.renew(credential, os.path.join(directory, str(number)), m, now)
        pending = Pending(batch, machines, now, None, plan.saved)
        factory_state.save(self._directory, self.state.but(pending=pending))
        self.state = self.state.but(pending=pending)
        cluster = self._pool.submit(commands, machines)
        self._log(f"submitted {_span(cluster, machines)} (batch {batch})")
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


def _span(cluster: int, machines: int) -> str:
    """How the log names the jobs of one submission."""
    return f"{cluster}.0" if machines == 1 else f"{cluster}.0 to {cluster}.{machines - 1}"


def _order(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in name.split("."))
