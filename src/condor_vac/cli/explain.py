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
from condor_vac.base.shared import SHUTDOWN_ATTRIBUTE, JobStatus, one_line
from condor_vac.cli import survey
from condor_vac.condor import consumption, node_clock
from condor_vac.condor.pool import Pool, PoolError
from condor_vac.factory import job_ad, submit_description
from condor_vac.factory.job_ad import ON_HOST
from condor_vac.factory.scheduler_job import FactoryJob
from condor_vac.model import outcome
from condor_vac.model.machinetype import Machinetype
from condor_vac.policy.words import count
from condor_vac.worker.checks import credentials
from condor_vac.worker.checks.node import Node

SLOT_PROJECTION = (
    "VM_Type",
    "VM_AvailNum",
    "VM_Memory",
    "VMOfflineReason",
    "State",
    "Cpus",
    "Memory",
    "Disk",
    SHUTDOWN_ATTRIBUTE,
    *consumption.ATTRIBUTES,
    *node_clock.ATTRIBUTES,
)

# Of a list of nodes, how many a sentence names.
_NAMED_NODES = 5


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
    found.notes.extend(survey.shortened(view.damage))
    found.findings.extend(survey.held(view))
    _credentials(found)
    _evidence(view, found, now)
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
            found.add(f"factory {job.id} is held: {_line(job.hold_reason)}", _act(job, "condor_release"))
        elif job.status != "running":
            found.add(
                f"factory {job.id} is {job.status}, not running",
                "see START_SCHEDULER_UNIVERSE and MAX_RUNNING_SCHEDULER_JOBS_PER_OWNER, and the SchedLog",
            )
        else:
            found.notes.append(f"factory {job.id} is running")
    if len(jobs) > 1:
        found.add(f"{len(jobs)} factories are in the queue: only one acts", _act(jobs[-1], "condor_rm"))


def _act(job: FactoryJob, command: str) -> str:
    return survey.as_owner(job.owner, f"{command} {job.id}")


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


def _credentials(found: Explanation) -> None:
    """Tokens and certificates of this access point: what has expired prevents VMs, what will in 30 days is a note."""
    known, unknown = credentials.of_machine(Node())
    for one in credentials.findings(known):
        if one.later:
            found.notes.append(f"{one.what}; {one.remedy}")
        else:
            found.findings.append(one)
    found.notes.extend(f"expiry not checked: {reason}" for reason in unknown)


def _caps(view: survey.View, found: Explanation) -> None:
    m = view.machinetype
    if m is None:
        return
    live = [job for job in view.jobs if job.state != JobStatus.COMPLETED]
    idle = sum(job.state == JobStatus.IDLE for job in live)
    if not m.max_machines:
        found.add("max_machines (0) is reached", "raise max_machines")
    elif len(live) >= m.max_machines:
        found.notes.append(f"{count(len(live), 'VM')}: max_machines ({m.max_machines}) is reached; raise it for more")
    elif idle >= m.max_idle:
        found.notes.append(f"{count(idle, 'VM')} idle: max_idle ({m.max_idle}) is reached")


def _evidence(view: survey.View, found: Explanation, now: float) -> None:
    """VMs that run long enough to have shown work, and have not: why the factory counts none of them as working."""
    m = view.machinetype
    if m is None:
        return
    old = [job for job in view.jobs if job.state in ON_HOST and now - (job.started or now) >= m.evidence_seconds]
    busy = [job.fraction for job in old if job.fraction is not None]
    if not busy or any(view.works(job, now) for job in old):
        return
    found.notes.append(
        f"{count(len(old), 'VM')} of age evidence_seconds ({m.evidence_seconds}) or more, and none shows work: the most"
        f" use of its processors is {max(busy):.3f}, below evidence_cpu_fraction ({m.evidence_cpu_fraction:g}); if they"
        f" work, lower that (one busy processor of {m.processors} is {1 / m.processors:.3g})"
    )
    beats = [job_ad.moment(view.ads[job.id].get("VacHeartbeat"), now) for job in old]
    if any(beats) and not m.heartbeat_is_evidence:
        found.notes.append(
            "they update heartbeat_file: if their agent does that only for tasks, set heartbeat_is_evidence: true"
        )


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
    """Why an idle VM job that may run on one machine only does not start there; the job may be gone when it is read."""
    found = Explanation([], [])
    try:
        if not pool.slots(_of(machine), ["Machine"]):
            return f"the pool has no slot of {machine}; does HTCondor run there, under this name (condor_status)?"
        _slots({job: ad}, None, pool, found, machine)
    except PoolError as error:
        return str(error)
    return "; ".join([*(f"{one.what} ({one.remedy})" for one in found.findings), *found.notes])


def _of(machine: str) -> str:
    return f'Machine =?= "{machine}"'


def _slots(
    idle: Mapping[str, Mapping[str, Any]],
    m: Machinetype | None,
    pool: Pool,
    found: Explanation,
    machine: str | None = None,
) -> None:
    """Where the idle VMs (id → their jobs' ads) could go, of all slots or those of a machine. Raises PoolError."""
    if not idle:
        return
    for reason in sorted({_line(text) for text in _rejections(idle)}):
        found.notes.append(f"the negotiator's last reason for an idle VM: {reason}")
    slots = pool.slots("True" if machine is None else _of(machine), SLOT_PROJECTION)
    able = [slot for slot in slots if slot.get("HasVM") is True]
    for name, reason in sorted(_offline(slots).items()):
        found.add(f"{name} offers no VMs: {_line(reason)}", f"condor_vac doctor on {name}")
    if not able:
        found.add(
            f"{count(len(idle), 'VM')} idle, and none of {count(len(slots), 'slot')} has HasVM",
            "condor_status -vm; condor_vac doctor on the worker nodes",
        )
        return
    short = [] if m is None else _short(m, able)
    _match(next(iter(idle)), able, pool, found, machine, bool(short))
    if machine is None:
        _division(able, pool, found)
    found.findings.extend(short)
    if m is not None:
        _planned_shutdowns(m, able, found, survey.now())
    _clocks(able, found)


def _match(
    job: str, able: Sequence[Mapping[str, Any]], pool: Pool, found: Explanation, machine: str | None, short: bool
) -> None:
    """How many slots suit the job and accept it. The remedies for one ``machine`` need no job in the queue.

    A slot that has too ``short`` a rest for the job does not accept it either: that is no fault of START.
    """
    wanted, both, unknown = pool.matching(job, "HasVM =?= True")
    name = job if machine is None else "the VM"
    if unknown:
        found.add(
            f"whether {name} suits cannot be judged for {_names(unknown)}: an expression of its ad (START, or what"
            " START names) takes too much to evaluate",
            "see condor_status -long of that machine; the negotiator evaluates it, too: correct it, or stop its startd",
        )
    if unknown and not both:
        return
    if wanted == 0:
        found.add(
            f"none of {count(len(able), 'slot')} with HasVM meets the requirements of {name}",
            f"condor_q -better-analyze {job}" if machine is None else f"condor_status -vm {machine}",
        )
    elif both == 0 and short:
        found.notes.append(f"{count(wanted, 'slot')} would suit {name} with more left")
    elif both == 0:
        found.add(
            f"{count(wanted, 'slot')} would suit {name}, but START accepts it on none",
            f"condor_q -better-analyze:reverse {job}" if machine is None else _own_start(machine),
        )
    else:
        found.notes.append(f"{count(both, 'slot')} would accept {name}: it starts in its turn (condor_userprio)")


def _division(able: Sequence[Mapping[str, Any]], pool: Pool, found: Explanation) -> None:
    """Whether shares and worker_starts_per_cycle hold: what is wrong, and which nodes fill slowly."""
    leftovers = consumption.takes_leftovers(pool.setting("CLAIM_PARTITIONABLE_LEFTOVERS", "True"))
    for one in consumption.findings(able, leftovers=leftovers):
        if one.note:
            found.notes.append(f"{one.what}; {one.remedy}")
        else:
            found.findings.append(one)


def _own_start(machine: str) -> str:
    return (
        f"condor_config_val START on {machine}; a clause of the site's own that wants what a VM lacks, such as a"
        " project, has to let TARGET.VacMachinetype pass: docs/batch-jobs.md"
    )


def _short(m: Machinetype, able: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Slots that fail a VM by one figure: the commonest reason on a node that runs VMs."""
    figures = (
        ("VM_AvailNum", 1, "set VM_MAX_NUMBER = 0 and restart the startd; its ledger goes stale"),
        ("VM_Memory", m.memory_mb, "set VM_MEMORY far above the real memory and restart the startd"),
        ("Cpus", m.processors, "all are in use, or the slot is smaller than the machinetype"),
        ("Memory", m.memory_mb, "all is in use, or the slot is smaller than the machinetype"),
        ("Disk", submit_description.disk_kb(m), "all is promised to VMs: HTCondor counts their disks (KiB) whole"),
    )
    found = []
    # A description of the site's own requests other figures.
    for name, needed, remedy in figures if m.submit_file is None else figures[:1]:
        known = [slot[name] for slot in able if isinstance(slot.get(name), (int, float))]
        if known and max(known) < needed:
            found.append(Finding(f"no slot with HasVM has {name} >= {needed} (most: {max(known)})", remedy))
    return found


def _planned_shutdowns(m: Machinetype, able: Sequence[Mapping[str, Any]], found: Explanation, now: float) -> None:
    """Nodes that shut down too soon for a VM, which is no fault: it only says why nothing starts there."""
    ends = {str(slot.get("Machine")): slot.get(SHUTDOWN_ATTRIBUTE) for slot in able}
    soon = [
        name for name, end in sorted(ends.items())
        if isinstance(end, int) and not isinstance(end, bool) and end - now < m.min_wallclock_seconds
    ]  # fmt: skip
    if soon:
        found.notes.append(
            f"{count(len(soon), 'node')} with a planned shutdown in less than min_wallclock_seconds"
            f" ({m.min_wallclock_seconds} s): no VM starts there: {_names(soon)}"
        )


def _clocks(able: Sequence[Mapping[str, Any]], found: Explanation) -> None:
    """Nodes whose clocks are wrong: VMs start there until a token is judged by the wrong time."""
    wrong = {str(slot.get("Machine")): fault for slot in able if (fault := node_clock.fault(slot))}
    names = [f"{name} ({fault} the central manager's)" for name, fault in sorted(wrong.items())]
    if names:
        found.notes.append(f"{count(len(names), 'node')} with a wrong clock: {_names(names)}; {node_clock.REMEDY}")


def _names(nodes: Sequence[str]) -> str:
    return ", ".join(_line(name) for name in nodes[:_NAMED_NODES]) + (", ..." if len(nodes) > _NAMED_NODES else "")


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
