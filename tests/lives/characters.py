# SPDX-License-Identifier: GPL-3.0-or-later
"""Characters of experiments: what their VMs say and show, whether they find work or none.

A character changes the keys of one machinetype of a scenario. What it does not change is as `usual` has it.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.lives.draws import DAY, MINUTE, Data, even, span

# Seconds: evidence that never comes, though the VM is measured.
NEVER = 100 * DAY
FIZZLE_SECONDS = 600  # the default
PROCESSORS = (2, 4, 8, 8)


def processors(character: str, rng: random.Random, most: int) -> int:
    """How many processors its VMs have; ``most`` has the largest node."""
    return min(rng.choice(PROCESSORS), most) if character == "multi_processor" else 1


def usual(rng: random.Random) -> Data:
    """Agents that ask for a few minutes, say 300 if they find none, and show work soon."""
    return {
        "idle_seconds": span(rng, MINUTE, 9 * MINUTE),
        "evidence_seconds": span(rng, 30, 400),
        "no_work_message": "300 No more work",
    }


def says_300(kind: Data, rng: random.Random) -> None:
    """As usual."""


def says_nothing(kind: Data, rng: random.Random) -> None:
    """A VM that finds none powers off."""
    kind["no_work_message"] = None


def says_200(kind: Data, rng: random.Random) -> None:
    """A VM says 200 though it found none."""
    kind["no_work_message"] = "200 Success"


def hasty(kind: Data, rng: random.Random) -> None:
    """Agents ask once and give up within half a minute."""
    kind["idle_seconds"] = span(rng, 5, 30)


def patient(kind: Data, rng: random.Random) -> None:
    """Agents ask for longer than fizzle_seconds before they say 300, up to three quarters of an hour."""
    kind["idle_seconds"] = span(rng, kind.get("fizzle_seconds", FIZZLE_SECONDS) + MINUTE, 45 * MINUTE)


def patient_says_nothing(kind: Data, rng: random.Random) -> None:
    """Agents ask for longer than fizzle_seconds, then power off."""
    patient(kind, rng)
    kind["no_work_message"] = None


def patient_says_200(kind: Data, rng: random.Random) -> None:
    """Agents ask for longer than fizzle_seconds, then say 200."""
    patient(kind, rng)
    kind["no_work_message"] = "200 Success"


def patient_unmeasured(kind: Data, rng: random.Random) -> None:
    """Agents ask for longer than fizzle_seconds, and no VM is measured."""
    patient(kind, rng)
    kind["evidence_seconds"] = None


def low_cpu(kind: Data, rng: random.Random) -> None:
    """VMs are measured, but their work uses too little processor time to be seen."""
    kind["evidence_seconds"] = [NEVER, NEVER]


def low_cpu_says_nothing(kind: Data, rng: random.Random) -> None:
    """The same, and VMs without work power off."""
    low_cpu(kind, rng)
    kind["no_work_message"] = None


def late_evidence(kind: Data, rng: random.Random) -> None:
    """Evidence comes half an hour to a hundred minutes after the first task."""
    kind["evidence_seconds"] = span(rng, 30 * MINUTE, 100 * MINUTE)


def unmeasured(kind: Data, rng: random.Random) -> None:
    """No VM is measured."""
    kind["evidence_seconds"] = None


def unmeasured_says_nothing(kind: Data, rng: random.Random) -> None:
    """No VM is measured, and VMs without work power off."""
    kind["evidence_seconds"] = kind["no_work_message"] = None


def misuses_600(kind: Data, rng: random.Random) -> None:
    """A VM that finds none reports an error of the experiment."""
    kind["no_work_message"] = "600 No job matched"


def misuses_500(kind: Data, rng: random.Random) -> None:
    """A VM that finds none reports an error of the site."""
    kind["no_work_message"] = "500 No payload"


def misuses_700(kind: Data, rng: random.Random) -> None:
    """A VM that finds none reports an error of its agent."""
    kind["no_work_message"] = "700 Agent found nothing to do"


def no_code(kind: Data, rng: random.Random) -> None:
    """A VM that finds none writes a message without a code."""
    kind["no_work_message"] = "nothing to do, bye"


def multi_processor(kind: Data, rng: random.Random) -> None:
    """As usual, with VMs of several `processors`."""


def slow_to_ask(kind: Data, rng: random.Random) -> None:
    """Agents ask for 15 to 30 minutes: a task that arrives meanwhile is taken."""
    kind["idle_seconds"] = [even(rng, 15 * MINUTE, 25 * MINUTE), 30 * MINUTE]


def half_evidence(kind: Data, rng: random.Random) -> None:
    """A part of the VMs never show that they work."""
    kind["evidence_share"] = _part(rng)


def half_evidence_says_nothing(kind: Data, rng: random.Random) -> None:
    """The same, and VMs without work power off."""
    half_evidence(kind, rng)
    kind["no_work_message"] = None


def half_measured(kind: Data, rng: random.Random) -> None:
    """A part of the VMs are not measured."""
    kind["unmeasured_share"] = _part(rng)


def _part(rng: random.Random) -> float:
    return round(rng.uniform(0.2, 0.8), 2)


def one_task(kind: Data, rng: random.Random) -> None:
    """A VM does one task and ends."""
    kind["tasks_per_vm"] = 1


def one_task_says_nothing(kind: Data, rng: random.Random) -> None:
    """A VM does one task and powers off, as one does that finds none."""
    kind["tasks_per_vm"] = 1
    kind["success_message"] = kind["no_work_message"] = None


def one_task_late_evidence(kind: Data, rng: random.Random) -> None:
    """A VM does one task, which often ends before there is evidence."""
    late_evidence(kind, rng)
    kind["tasks_per_vm"] = 1


def few_tasks(kind: Data, rng: random.Random) -> None:
    """A VM does a few tasks and ends."""
    kind["tasks_per_vm"] = rng.randint(2, 6)


def says_300_after_work(kind: Data, rng: random.Random) -> None:
    """A VM that worked says, when it ends, that there is no more work."""
    kind["success_message"] = "300 No more work"


def says_600_after_work(kind: Data, rng: random.Random) -> None:
    """A VM that worked reports an error of the experiment, because its last question found no work."""
    kind["success_message"] = "600 No job matched"


def says_100_after_work(kind: Data, rng: random.Random) -> None:
    """A VM that worked says that the host asked for its end."""
    kind["success_message"] = "100 Shutdown"


def says_nothing_ever(kind: Data, rng: random.Random) -> None:
    """A VM powers off, whether it worked or not."""
    kind["success_message"] = kind["no_work_message"] = None


CHARACTERS: dict[str, Callable[[Data, random.Random], None]] = {
    each.__name__: each
    for each in (
        says_300, says_nothing, says_nothing_ever, says_200, says_100_after_work, says_300_after_work,
        says_600_after_work, no_code, misuses_500, misuses_600, misuses_700, hasty, slow_to_ask, patient,
        patient_says_nothing, patient_says_200, patient_unmeasured, low_cpu, low_cpu_says_nothing, late_evidence,
        half_evidence, half_evidence_says_nothing, half_measured, unmeasured, unmeasured_says_nothing, one_task,
        one_task_says_nothing, one_task_late_evidence, few_tasks, multi_processor,
    )
}  # fmt: skip
# The others are as likely as one another.
WEIGHTS = {name: 1 for name in CHARACTERS} | {"says_300": 3, "says_nothing": 2, "multi_processor": 2}
