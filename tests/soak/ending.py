# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of the soak: the factories stop, the pool becomes quiet, and it is judged what is left of all that ran."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from condor_vac.base.shared import JobStatus
from tests.demo.own_lab import HEAD, NODES
from tests.experiment import records

from . import accounting
from .course import Course
from .pool import ALL, VMS, NotDoneError, Pool

# A VM that nothing ends is ended by max_wallclock_seconds (900) and its power button's two minutes.
QUIET_SECONDS = 1500.0
LOOK_EVERY_SECONDS = 6.0
FACTORIES = "'JobUniverse == 7'"
LOGS = "cat /var/lib/condor_vac/*/vms/*/*/vm.log"
STATES = """import sys
sys.path.insert(0, "/usr/local/lib/condor_vac/current")
from condor_vac.factory import state
for name in sys.argv[1:]:
    try:
        found = state.load(f"/var/lib/condor_vac/{name}")
        print(f"{name} pending" if found.pending and found.pending.cluster is None else f"{name} good")
    except Exception as error:
        print(f"{name} {error!r}")
"""


@dataclass(frozen=True)
class Verdict:
    """What was found: ``wrong`` must be empty; ``notes`` are for people; ``codes`` are VMs by code."""

    wrong: list[str]
    notes: list[str]
    codes: Mapping[str, int]
    jobs: int
    again: int


def come_to_rest(pool: Pool, course: Course) -> list[str]:
    """Hold the factories, wait until no VM job waits or runs, and let those that ended go into the history.

    Returns what did not come to rest. Raises NotDoneError.
    """
    course.say("the factories are held; waiting until the pool is quiet")
    pool.run(HEAD, f"condor_hold -constraint {FACTORIES}")
    wrong = _until(
        course, lambda states: set(states) <= {str(JobStatus.COMPLETED), str(JobStatus.HELD)}, "are not over"
    )
    held = pool.run(
        HEAD, f"condor_q -allusers -constraint {shlex.quote('JobUniverse == 13 && JobStatus == 5')} -af:j HoldReason"
    )
    for line in held.splitlines():
        course.say(f"a job is held at the end, and is removed: {line}")
    pool.run(HEAD, f"condor_rm -constraint {shlex.quote('JobUniverse == 13 && JobStatus == 5')} || true")
    pool.run(HEAD, f"runuser -u vac -- condor_qedit -constraint {VMS} LeaveJobInQueue False || true")
    wrong += _until(course, lambda states: not states, "do not leave the queue")
    return wrong


def _until(course: Course, wanted: Callable[[Mapping[str, int]], bool], what: str) -> list[str]:
    deadline = time.monotonic() + QUIET_SECONDS
    while True:
        look = course.look()
        if all("factor" in text for text in look.broken[HEAD]) and wanted(look.queue):
            return []
        if time.monotonic() > deadline:
            return [f"VM jobs {what} after {QUIET_SECONDS:.0f} s: {dict(look.queue)}"]
        time.sleep(LOOK_EVERY_SECONDS)


def left(pool: Pool, course: Course) -> list[str]:
    """What is left on the nodes, once it has had the time to go."""
    deadline = time.monotonic() + 180
    while True:
        course.look()
        lines = []
        for node in ALL:
            try:
                found = pool.left(node)
            except NotDoneError as error:
                found = {"what cannot be read": [str(error)]}
            lines += [f"{node}: {kind}: {thing}" for kind, things in found.items() for thing in things]
        if not lines or time.monotonic() > deadline:
            return lines
        time.sleep(LOOK_EVERY_SECONDS)


def unwell(pool: Pool) -> list[str]:
    """What the doctor finds on the worker nodes, and what is wrong with the factories' states."""
    wrong = []
    for node in NODES:
        report = json.loads(pool.run(node, "condor_vac doctor --json || true"))
        for check in report["checks"]:
            wrong += [f"{node}: doctor: {each['what']} -> {each['remedy']}" for each in check["findings"]]
    names = pool.run(HEAD, "ls /etc/condor_vac/machinetypes/*.json | xargs -n 1 basename -s .json").split()
    states = pool.run(HEAD, f"python3 - {shlex.join(names)}", STATES).splitlines()
    wrong += [f"{HEAD}: a factory's state: {line}" for line in states if not line.endswith(" good")]
    return wrong + ([] if len(states) == len(names) else [f"{HEAD}: states of {len(states)} of {names}"])


def judge(pool: Pool, course: Course) -> Verdict:
    """Everything that must be so at the end. Raises NotDoneError."""
    wrong = come_to_rest(pool, course) + left(pool, course) + unwell(pool)
    logs = pool.run(HEAD, LOGS)
    tries, submitted = records.tries(logs), records.submitted(logs)
    queue, history = pool.ads("condor_q -allusers"), pool.ads("condor_history")
    wrong += accounting.wrong(submitted, queue, history, tries)
    unrecorded = accounting.unrecorded(history)
    lost_leases = sum(each.planned.fault.takes_lease and not each.failed for each in course.happened)
    wrong += unrecorded if len(unrecorded) > lost_leases else []
    unexplained, explained = accounting.twice(course.jobs, course.tasks, tries)
    notes = (
        unrecorded
        + explained
        + [line for ad in history if (line := accounting.uneven(ad, tries.get(accounting.job_of(ad), ())))]
    )
    again = sum(sum(one.executed for one in found) > 1 for found in tries.values())
    return Verdict(wrong + unexplained, notes, accounting.by_code(history), len(history), again)
