# SPDX-License-Identifier: GPL-3.0-or-later
"""Which VMs count as working: by their processors, and where the machinetype says so by their heartbeat."""

from __future__ import annotations

import math
from typing import Any

import pytest

from condor_vac.factory import vm_jobs
from condor_vac.model.machinetype import Machinetype
from condor_vac.policy.control_law import Policy
from condor_vac.policy.observation import Limits
from tests.unit.condor_vac.standins import COMPLETED, NOW, RUNNING, ad, machinetype

BEATS = {"heartbeat_file": "beat", "heartbeat_seconds": 600}
M = machinetype(**BEATS, heartbeat_is_evidence=True)
# A VM that has run for 3,900 s, whose processors mostly wait and whose agent updated its file 20 s before it was seen.
GOOD: dict[str, Any] = {
    "VacStarted": int(NOW) - 3900, "VacEvidenceTime": int(NOW) - 10, "VacCpuFraction": 0.02,
    "VacHeartbeat": int(NOW) - 30,
}  # fmt: skip


def jobs(m: Machinetype = M, state: int = RUNNING, **changes: Any) -> Any:
    """The only job of a queue."""
    return vm_jobs.queue([ad("50.0", state, **{**GOOD, **changes})], m, NOW).jobs


def works(m: Machinetype = M, **changes: Any) -> bool:
    """Whether the policy gets it as a VM that works."""
    (vm,) = vm_jobs.observation(jobs(m, **changes), m, NOW, ()).machines
    return vm.works


def test_a_fresh_heartbeat_counts_only_where_the_machinetype_says_so() -> None:
    assert works()
    for m in (machinetype(**BEATS), machinetype(heartbeat_file="beat"), machinetype()):
        assert not works(m)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"VacHeartbeat": None}, False),
        # As old as heartbeat_seconds when the node published it, and older.
        ({"VacHeartbeat": int(NOW) - 610}, True),
        ({"VacHeartbeat": int(NOW) - 611}, False),
        # Published long ago: nothing has changed since, and it was fresh then.
        ({"VacHeartbeat": int(NOW) - 2000, "VacEvidenceTime": int(NOW) - 1900}, True),
        ({"VacEvidenceTime": None}, False),
        # Of an earlier run of the job.
        ({"VacHeartbeat": int(NOW) - 4300, "VacEvidenceTime": int(NOW) - 4290}, False),
        # Updated while the VM booted (evidence_seconds is 300), and after.
        ({"VacHeartbeat": int(NOW) - 3601, "VacEvidenceTime": int(NOW) - 3590}, False),
        ({"VacHeartbeat": int(NOW) - 3600, "VacEvidenceTime": int(NOW) - 3590}, True),
        # The VM boots still.
        ({"JobCurrentStartDate": int(NOW) - 200, "VacStarted": int(NOW) - 200}, False),
    ],
)
def test_a_heartbeat_counts_while_it_is_fresh_and_after_the_boot(changes: dict[str, Any], expected: bool) -> None:
    assert works(**changes) is expected


@pytest.mark.parametrize("value", [int(NOW) + 121, int(NOW) + 10**9, -1, 0, "now", True, math.nan, math.inf, 1e300])
@pytest.mark.parametrize("name", ["VacHeartbeat", "VacEvidenceTime"])
def test_a_time_that_cannot_be_shows_no_work_now_or_later(name: str, value: Any) -> None:
    changes = {name: value}
    assert not works(**changes)
    (job,) = jobs(**changes)
    assert not vm_jobs.works(job, M, NOW + 86400)
    if value != 0:
        (sentence,) = vm_jobs.damage([job]).values()
        assert name in sentence
    assert works(VacHeartbeat=int(NOW) - 11, VacEvidenceTime=int(NOW) - 10)


@pytest.mark.parametrize(("life", "beat", "expected"), [(3900, 30, True), (290, 30, False), (3900, 3700, False)])
def test_a_vm_that_ended_had_worked_by_its_heartbeat(life: int, beat: int, expected: bool) -> None:
    over = {
        "JobCurrentStartDate": int(NOW) - life - 20, "VacStarted": int(NOW) - life - 20, "VacEnded": int(NOW) - 20,
        "VacEvidenceTime": int(NOW) - beat + 5, "VacHeartbeat": int(NOW) - beat,
    }  # fmt: skip
    (end,) = vm_jobs.observation(jobs(M, COMPLETED, **over), M, NOW, ()).ended
    assert end.works is expected


@pytest.mark.parametrize(
    ("processors", "busy", "wanted", "expected"),
    [
        # One busy processor of eight: 0.125.
        (8, 1, 0.1, True),
        (8, 1, 0.3, False),
        (8, 3, 0.3, True),
        (4, 1, 0.1, True),
        (16, 1, 0.1, False),
        (1, 1, 0.3, True),
    ],
)
def test_evidence_cpu_fraction_is_of_all_processors_from_the_watch_to_the_policy(
    processors: int, busy: int, wanted: float, expected: bool
) -> None:
    """As vac_watch measures it (tests/unit/condor_vac/worker/watch), and as the policy counts it."""
    kind = machinetype(processors=processors, evidence_cpu_fraction=wanted)
    measured: dict[str, Any] = {"VacCpuFraction": round(busy / processors, 3), "VacHeartbeat": None}
    seen = vm_jobs.observation(jobs(kind, **measured), kind, NOW, ())
    assert seen.machines[0].works is expected
    numbers = Policy(Limits(fizzle_seconds=86400.0)).decide(seen).numbers
    assert (numbers["working"], numbers["starting"]) == ((1, 0) if expected else (0, 1))
