# SPDX-License-Identifier: GPL-3.0-or-later
"""Job ads → what the policy may know."""

from __future__ import annotations

from typing import Any

import pytest

from condor_vac.factory import vm_jobs
from condor_vac.factory.job_ad import Job
from condor_vac.factory.vm_jobs import ObservationError, Queue
from condor_vac.policy.judgement import ERROR, FOUND, Judgement
from condor_vac.policy.observation import RUNNING as RUNNING_VM
from condor_vac.policy.observation import Limits, Machine, Observation
from tests.unit.condor_vac.standins import COMPLETED, HELD, IDLE, NOW, REMOVED, RUNNING, ad, factory_ad, machinetype

M = machinetype()


def one(**changes: Any) -> Job:
    """The only job of a queue with this ad."""
    found = vm_jobs.queue([ad(**changes)], M, NOW).jobs
    assert len(found) == 1
    return found[0]


def seen(*ads: dict[str, Any], worked: tuple[str, ...] = ()) -> Any:
    """The observation that these ads make."""
    return vm_jobs.observation(vm_jobs.queue(ads, M, NOW).jobs, M, NOW, worked)


def test_a_queue_has_vms_and_factories() -> None:
    queue = vm_jobs.queue([ad("50.0"), ad("50.1", RUNNING), factory_ad()], M, NOW)
    assert [(job.id, job.state, job.host) for job in queue.jobs] == [
        ("50.0", IDLE, None),
        ("50.1", RUNNING, "wn1.example.org"),
    ]
    assert queue.factories == {"40.0": RUNNING}


def test_an_empty_queue_is_not_an_error() -> None:
    assert vm_jobs.queue([], M, NOW) == Queue((), {})


@pytest.mark.parametrize(
    ("cause", "code", "worked", "kind", "abort"),
    [
        # It was stopped for its age alone: no failure, whatever its answer to the power button.
        ("wallclock", 700, True, "none", False),
        ("wallclock", 100, True, "none", False),
        ("wallclock", 700, False, "agent", True),
        ("heartbeat", 700, True, "agent", True),
        ("message", 700, True, "agent", True),
    ],
)
def test_a_vm_that_worked_until_its_wall_clock_ended_has_not_failed(
    cause: str, code: int, worked: bool, kind: str, abort: bool
) -> None:
    recorded = {"VacEnded": int(NOW) - 100, "VacCause": cause, "ShutdownCode": code}
    (end,) = seen(ad("1.0", COMPLETED, **recorded), worked=("1.0:1",) if worked else ()).ended
    assert (end.kind, end.abort, end.works) == (kind, abort, worked)
    judgement = Judgement(Limits())
    started = end.started
    judgement.take_in(
        Observation(started + 300, (Machine("1.0", RUNNING_VM, started, started, end.host, worked, True),))
    )
    judgement.take_in(Observation(NOW, (), (end,)))
    assert judgement.verdict() == (FOUND if kind == "none" else ERROR)


def test_an_answer_with_the_same_job_twice_is_refused() -> None:
    with pytest.raises(ObservationError, match=r"50\.0: twice"):
        vm_jobs.queue([ad("50.0"), ad("50.0", RUNNING)], M, NOW)


def test_evidence_is_believed_for_this_run_only() -> None:
    fresh = {"VacEvidenceTime": int(NOW) - 10, "VacCpuFraction": 0.9}
    assert seen(ad("1.0", RUNNING, **fresh)).machines[0].works
    stale = {**fresh, "VacEvidenceTime": int(NOW) - 5000}
    machine = seen(ad("1.0", RUNNING, **stale)).machines[0]
    assert (machine.works, machine.measured) == (False, False)
    assert not seen(ad("1.0", RUNNING, **fresh, JobCurrentStartDate=int(NOW) - 60)).machines[0].works, "boots still"
    assert not seen(ad("1.0", RUNNING, **{**fresh, "VacCpuFraction": 0.2})).machines[0].works


@pytest.mark.parametrize("unknown", [-1, -1.0])
def test_a_figure_that_htcondor_has_not_measured_yet_is_none(unknown: float) -> None:
    machine = seen(ad("1.0", RUNNING, JobVMCpuUtilization=unknown)).machines[0]
    assert (machine.works, machine.measured) == (False, False)


@pytest.mark.parametrize(
    ("wanted", "fraction", "works"), [(0.3, 0.3, True), (0.3, 0.29, False), (0.05, 0.1, True), (0.0, 0.0, True)]
)
def test_the_machinetype_defines_how_busy_a_working_vm_is(wanted: float, fraction: float, works: bool) -> None:
    kind = machinetype(evidence_cpu_fraction=wanted)
    evidence = {"VacEvidenceTime": int(NOW) - 10, "VacCpuFraction": fraction}
    for age, old_enough in ((kind.evidence_seconds, True), (kind.evidence_seconds - 1, False)):
        jobs = vm_jobs.queue([ad("1.0", RUNNING, JobCurrentStartDate=int(NOW) - age, **evidence)], kind, NOW).jobs
        assert vm_jobs.works(jobs[0], kind, NOW) is (works and old_enough)
        over = ad("1.0", COMPLETED, JobCurrentStartDate=int(NOW) - age, VacEnded=int(NOW), ShutdownCode=200, **evidence)
        ended = vm_jobs.observation(vm_jobs.queue([over], kind, NOW).jobs, kind, NOW, ()).ended
        assert ended[0].works is (works and old_enough)


def test_htcondors_own_figure_counts_in_a_first_run_only() -> None:
    own = {"JobVMCpuUtilization": 0.9}
    assert seen(ad("1.0", RUNNING, **own)).machines[0].works
    again = seen(ad("1.0", RUNNING, **own, NumShadowStarts=2)).machines[0]
    assert (again.works, again.measured) == (False, False)


def test_a_vm_that_worked_once_is_one_that_works_until_its_next_run() -> None:
    assert seen(ad("1.0", RUNNING), worked=("1.0:1",)).machines[0].works
    assert not seen(ad("1.0", RUNNING, NumShadowStarts=2), worked=("1.0:1",)).machines[0].works


@pytest.mark.parametrize(
    ("code", "runtime", "kind", "abort"),
    [(200, 4000, "success", False), (300, 900, "no_work", True), (500, 700, "site", True),
     (100, 9, "host_request", False), (None, 100, "fizzle", True), (None, 5000, "none", False)],
)  # fmt: skip
def test_outcomes(code: int | None, runtime: int, kind: str, abort: bool) -> None:
    end = seen(ad("1.0", COMPLETED, ShutdownCode=code, VacEnded=int(NOW) - 50, VacRuntime=runtime)).ended[0]
    assert (end.kind, end.abort, end.ended, end.host) == (kind, abort, NOW - 50, "wn1.example.org")


def test_htcondorvms_hook_leaves_only_a_code() -> None:
    end = seen(ad("1.0", COMPLETED, ShutdownCode=300)).ended[0]
    assert (end.kind, end.ended) == ("no_work", NOW - 100)


def test_an_outcome_of_the_run_before_is_not_this_ones() -> None:
    older = {"ShutdownCode": 200, "VacEnded": int(NOW) - 4800}
    end = seen(ad("1.0", COMPLETED, **older, JobCurrentStartDate=int(NOW) - 400)).ended[0]
    assert end.kind == "fizzle", "it lived 300 s and left nothing"


def test_held_after_its_end_has_ended_and_held_before_is_there() -> None:
    ended = ad("1.0", HELD, JobCurrentStartDate=int(NOW) - 4000, VacEnded=int(NOW) - 10, ShutdownCode=200)
    got = seen(ended, ad("1.1", HELD, HoldReasonCode=19, HoldReasonSubCode=1))
    assert [machine.id for machine in got.machines] == ["1.1"]
    assert [end.id for end in got.ended] == ["1.0"]
    assert one(state=HELD, HoldReasonCode=19, HoldReasonSubCode=4).hold_subcode == 4


@pytest.mark.parametrize(
    ("executed", "kind"), [(590, "lost"), (600, "lost"), (601, "refused"), (5000, "refused"), (None, "refused")]
)
def test_idle_again_is_a_run_lost_or_refused_and_a_vm_that_waits(executed: int | None, kind: str) -> None:
    """The start of an earlier run in the ad is not this one's."""
    again = ad(
        "1.0",
        IDLE,
        NumShadowStarts=2,
        JobCurrentStartDate=int(NOW) - 600,
        JobCurrentStartExecutingDate=None if executed is None else int(NOW) - executed,
        LastRemoteHost="slot1@wn2",
    )
    got = seen(again)
    assert got.machines[0].started is None
    assert [(end.id, end.kind, end.host) for end in got.ended] == [("1.0:2", kind, "wn2")]


@pytest.mark.parametrize("date", [None, 0])
def test_a_job_runs_from_its_status_until_htcondor_sets_its_start(date: int | None) -> None:
    """The rest of the queue is no worse for it."""
    got = seen(ad("1.0"), ad("1.1", RUNNING, JobCurrentStartDate=date, EnteredCurrentStatus=int(NOW) - 3))
    assert [(machine.id, machine.started) for machine in got.machines] == [("1.0", None), ("1.1", NOW - 3)]


@pytest.mark.parametrize(
    ("code", "subcode", "executed", "refused"),
    [(13, 28, None, True), (13, 2, None, False), (12, 28, None, False), (13, 28, 600, False)],
)
def test_held_because_its_host_was_full_is_refused(
    code: int, subcode: int, executed: int | None, refused: bool
) -> None:
    held = ad(
        "1.0", HELD, NumShadowStarts=1, HoldReasonCode=code, HoldReasonSubCode=subcode,
        JobCurrentStartDate=int(NOW) - 600, LastRemoteHost="slot1@wn2",
        JobCurrentStartExecutingDate=None if executed is None else int(NOW) - executed,
    )  # fmt: skip
    got = seen(held)
    assert [machine.state for machine in got.machines] == ["held"]
    assert [(end.id, end.kind, end.host) for end in got.ended] == ([("1.0:1", "refused", "wn2")] if refused else [])


def test_a_removed_job_is_neither_idle_nor_ended() -> None:
    got = seen(ad("1.0", REMOVED))
    assert [machine.state for machine in got.machines] == ["removed"]
    assert not got.ended


def test_a_huge_queue_is_read_whole() -> None:
    ads = [ad(f"{number // 1000 + 1}.{number % 1000}", RUNNING) for number in range(5000)]
    assert len(seen(*ads).machines) == 5000


def test_the_query_names_machinetype_owner_and_universe() -> None:
    text = vm_jobs.constraint("gridpp", "vac")
    for part in ('VacMachinetype =?= "gridpp"', 'Owner == "vac"', 'VacFactory =?= "gridpp"'):
        assert part in text
    # The schedd evaluates no expression of another user's, and a factory's job is its owner's too.
    assert text.startswith('JobUniverse != 5 && Owner == "vac" && (')
