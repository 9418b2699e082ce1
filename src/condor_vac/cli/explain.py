# SPDX-License-Identifier: GPL-3.0-or-later
"""Why no VM of a machinetype starts, from the factory down to the slots.

"!" is what prevents VMs from starting, "->" is what to do about it, "-" is information; the factory's
own reasons are among these.

--json: {"machinetype": NAME, "findings": [{"what", "remedy"}], "notes": [sentence]}

Exit code: 0 nothing prevents VMs from starting, 1 a finding, 2 bad usage.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from condor_vac.base.findings import Finding
from condor_vac.base.shared import JobStatus, one_line
from condor_vac.cli import survey
from condor_vac.condor.pool import Pool, PoolError
from condor_vac.model import outcome
from condor_vac.model.machinetype import Machinetype
from condor_vac.policy.words import count

SLOT_PROJECTION = (
    "Machine",
    "HasVM",
    "VM_Type",
    "VM_AvailNum",
    "VM_Memory",
    "VMOfflineReason",
    "PartitionableSlot",
    "State",
    "Cpus",
    "Memory",
    "Disk",
)


@dataclass
class Explanation:
    """What was found, in the order in which a VM comes about."""

    findings: list[Finding]
    notes: list[str]

    def add(self, what: str, remedy: str) -> None:
        """A finding."""
        self.findings.append(Finding(what, remedy))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``condor_vac explain``."""
    parser.add_argument("machinetype", metavar="MACHINETYPE", help="the machinetype's name")
    survey.add_arguments(parser, __doc__)


def run(args: argparse.Namespace) -> int:
    """Print why nothing starts; 0 if nothing was found that prevents VMs from starting."""
    pool = Pool(args.bindings)
    view = survey.survey(args, pool, args.machinetype)[0]
    found = explain(view, pool, survey.now())
    if args.json:
        report = {"machinetype": view.name, **asdict(found)}
        json.dump(report, sys.stdout, indent=1)
        print()
    else:
        for finding in found.findings:
            print(f"! {one_line(finding.what)}\n  -> {one_line(finding.remedy)}")
        for note in found.notes:
            print(f"- {one_line(note)}")
    return 1 if found.findings else 0


def explain(view: survey.View, pool: Pool, now: float) -> Explanation:
    """All findings and notes; a collector that does not answer is one more finding."""
    found = Explanation([], [])
    for problem in view.problems:
        found.add(problem, "correct it; until then the factory uses the last good version, or does nothing")
    _factory(view, found)
    _decision(view, found, now)
    _caps(view, found)
    _held(view, found)
    _ends(view, found)
    try:
        idle = {job.id: view.ads[job.id] for job in view.jobs if job.state == JobStatus.IDLE}
        _slots(idle, view.machinetype, pool, found)
    except PoolError as error:
        found.add(str(error), "start the collector or make it reachable; without it no job is matched")
    return found


def _factory(view: survey.View, found: Explanation) -> None:
    jobs = [job for job in view.factories if job.status != "removed"]
    if not jobs:
        found.add("no factory of this machinetype is in the queue", "run ansible-playbook vacuum.htcondor.site")
    for job in jobs:
        if job.status == "held":
            found.add(f"factory {job.id} is held: {_line(job.hold_reason)}", f"condor_release {job.id}")
        elif job.status != "running":
            found.add(
                f"factory {job.id} is {job.status}, not running",
                "see START_SCHEDULER_UNIVERSE and MAX_RUNNING_SCHEDULER_JOBS_PER_OWNER, and the SchedLog",
            )
        else:
            found.notes.append(f"factory {job.id} is running")
    if len(jobs) > 1:
        found.add(f"{len(jobs)} factories are in the queue: only one acts", f"condor_rm {jobs[-1].id}")


def _decision(view: survey.View, found: Explanation, now: float) -> None:
    last = view.state.last
    if not last:
        if view.factories:
            found.add("the factory has made no decision yet", "see factory.log in its state directory")
        return
    late = survey.overdue(view, now)
    if late:
        found.add(f"the factory's last cycle was {late} ago", "see factory.log in its state directory")
    if last["error"]:
        found.add(f"the factory submits nothing: {last['error']}", "fix the cause; the factory tries again each cycle")
        return
    age = survey.duration(now - last["time"])
    found.notes.append(f"last decision, {age} ago: submit {last['submit']}")
    found.notes.extend(str(reason) for reason in last["reasons"])


def _caps(view: survey.View, found: Explanation) -> None:
    m = view.machinetype
    if m is None:
        return
    live = [job for job in view.jobs if job.state != JobStatus.COMPLETED]
    idle = sum(job.state == JobStatus.IDLE for job in live)
    if len(live) >= m.max_machines:
        found.add(f"{count(len(live), 'VM')}: max_machines ({m.max_machines}) is reached", "raise max_machines")
    elif idle >= m.max_idle:
        found.notes.append(f"{count(idle, 'VM')} idle: max_idle ({m.max_idle}) is reached")


def _held(view: survey.View, found: Explanation) -> None:
    reasons = Counter(_line(view.ads[job.id].get("HoldReason")) for job in view.jobs if job.state == JobStatus.HELD)
    for reason, number in reasons.most_common(3):
        found.add(f"{count(number, 'VM')} held: {reason}", "fix the cause, then condor_release them")


def _ends(view: survey.View, found: Explanation) -> None:
    kinds = Counter(
        "no outcome" if job.ended is None else f"{job.ended.kind} ({job.ended.code})"
        for job in view.jobs
        if job.state == JobStatus.COMPLETED
    )
    if kinds:
        ends = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common(5))
        found.notes.append(f"VMs that ended recently: {ends}")


def waiting(machine: str, ad: Mapping[str, Any], job: str, pool: Pool) -> str:
    """Why an idle VM job that may run on one machine only does not start there."""
    where = f'Machine =?= "{machine}"'
    found = Explanation([], [])
    try:
        if not pool.slots(where, ["Machine"]):
            return f"the pool has no slot of {machine}; does HTCondor run there, under this name (condor_status)?"
        _slots({job: ad}, None, pool, found, where)
    except PoolError as error:
        return str(error)
    return "; ".join([*(f"{one.what} ({one.remedy})" for one in found.findings), *found.notes])


def _slots(
    idle: Mapping[str, Mapping[str, Any]], m: Machinetype | None, pool: Pool, found: Explanation, where: str = "True"
) -> None:
    """Where the idle VMs (id → their jobs' ads) could go, of the slots ``where`` that holds. Raises PoolError."""
    if not idle:
        return
    for reason in sorted({_line(text) for text in _rejections(idle)}):
        found.notes.append(f"the negotiator's last reason for an idle VM: {reason}")
    slots = pool.slots(where, SLOT_PROJECTION)
    able = [slot for slot in slots if slot.get("HasVM") is True]
    for machine, reason in sorted(_offline(slots).items()):
        found.add(f"{machine} offers no VMs: {_line(reason)}", f"condor_vac doctor on {machine}")
    if not able:
        found.add(
            f"{count(len(idle), 'VM')} idle, and none of {count(len(slots), 'slot')} has HasVM",
            "condor_status -vm; condor_vac doctor on the worker nodes",
        )
        return
    _match(next(iter(idle)), able, pool, found)
    if m is not None:
        _room(m, able, found)


def _match(job: str, able: Sequence[Mapping[str, Any]], pool: Pool, found: Explanation) -> None:
    wanted, both = pool.matching(job, "HasVM =?= True")
    if wanted == 0:
        found.add(
            f"none of {count(len(able), 'slot')} with HasVM meets the requirements of {job}",
            f"condor_q -better-analyze {job}",
        )
    elif both == 0:
        found.add(
            f"{count(wanted, 'slot')} would suit {job}, but START accepts it on none",
            f"condor_q -better-analyze:reverse {job}",
        )
    else:
        found.notes.append(f"{count(both, 'slot')} would accept {job}: it starts in its turn (condor_userprio)")


def _room(m: Machinetype, able: Sequence[Mapping[str, Any]], found: Explanation) -> None:
    """Slots that fail a VM by one figure: the commonest reason on a node that runs VMs."""
    figures = (
        ("VM_AvailNum", 1, "set VM_MAX_NUMBER = 0 and restart the startd; its ledger goes stale"),
        ("VM_Memory", m.memory_mb, "set VM_MEMORY far above the real memory and restart the startd"),
        ("Cpus", m.processors, "all are in use, or the slot is smaller than the machinetype"),
        ("Memory", m.memory_mb, "all is in use, or the slot is smaller than the machinetype"),
    )
    for name, needed, remedy in figures:
        known = [slot[name] for slot in able if isinstance(slot.get(name), (int, float))]
        if known and max(known) < needed:
            found.add(f"no slot with HasVM has {name} >= {needed} (most: {max(known)})", remedy)


def _offline(slots: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {
        str(slot.get("Machine")): str(slot["VMOfflineReason"])
        for slot in slots
        if slot.get("HasVM") is False and slot.get("VMOfflineReason")
    }


def _rejections(idle: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for ad in itertools.islice(idle.values(), 100):
        reason = ad.get("LastRejMatchReason")
        if reason:
            yield str(reason)


def _line(text: object) -> str:
    return one_line(str(text), outcome.TEXT_LIMIT) or "no reason given"
