# SPDX-License-Identifier: GPL-3.0-or-later
"""One job's ad, whatever its host or its user wrote into it: what cannot be right is not known, and named."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condor_vac.base.errors import VacError
from condor_vac.condor.pool import JOB_ID, Unreadable
from condor_vac.factory import job_ad, vm_jobs
from condor_vac.factory.job_ad import Job
from condor_vac.model import outcome, outcome_record
from condor_vac.policy.observation import HELD as HELD_VM
from tests.unit.condor_vac.standins import COMPLETED, HELD, IDLE, NOW, RUNNING, ad, factory_ad, machinetype
from tests.unit.damage import MADE

M = machinetype()
EVIDENCE = {"VacEvidenceTime": int(NOW) - 10, "VacCpuFraction": 0.9, "VacStarted": int(NOW) - 3900}
END = {"VacEnded": int(NOW) - 150, "ShutdownCode": 200, "VacKind": "success", "VacAbort": False, "VacRuntime": 3800}
# What an honest ad of each state has.
HONEST: dict[str, dict[str, Any]] = {
    "idle": ad("50.3", IDLE, VacDigest="0123456789abcdef"),
    "running": ad("50.3", RUNNING, JobCurrentStartExecutingDate=int(NOW) - 3990, JobDisconnectedDate=0, **EVIDENCE),
    "held": ad("50.3", HELD, HoldReasonCode=19, HoldReasonSubCode=1),
    "completed": ad("50.3", COMPLETED, VacCause="message", **EVIDENCE, **END),
}
OTHER: tuple[Any, ...] = (
    "2", "", "\x1b[31m\n", "x" * 2000, -1, -7, 1.5, 1e300, math.nan, math.inf, 10**400, True, Unreadable("1 + x"), 77,
)  # fmt: skip
GOOD = [ad("49.0", RUNNING, **EVIDENCE), ad("51.0"), ad("51.1", COMPLETED, **END)]


def read(*ads: dict[str, Any]) -> list[Job]:
    """The jobs of a queue."""
    return list(vm_jobs.queue(ads, M, NOW).jobs)


def one(**changes: Any) -> Job:
    """The only job of a queue with this ad."""
    (job,) = read(ad(**changes))
    return job


def ended(**changes: Any) -> Any:
    """The end of the only VM, which is over."""
    (end,) = vm_jobs.observation([one(state=COMPLETED, **changes)], M, NOW, ()).ended
    return end


def places() -> list[tuple[str, str]]:
    return [
        (state, key) for state, each in HONEST.items() for key in each if key not in {"JobUniverse", "VacMachinetype"}
    ]


@pytest.mark.parametrize(("state", "key"), places())
def test_each_attribute_of_another_kind_hides_no_other_job(state: str, key: str) -> None:
    honest = HONEST[state]
    alone, (plain,) = read(*GOOD), read(honest)
    for value in OTHER:
        jobs = read(*GOOD[:1], {**honest, key: value}, *GOOD[1:])
        assert [jobs[0], *jobs[2:]] == alone, "the others are as without it"
        odd = jobs[1]
        seen = vm_jobs.observation(jobs, M, NOW, ())
        assert len(seen.machines) + len(seen.ended) >= 4, "it counts"
        assert all(end.ended <= NOW + job_ad.CLOCK_TOLERANCE for end in seen.ended)
        for about, sentence in vm_jobs.damage(jobs).items():
            assert about.startswith(odd.id)
            assert sentence.isprintable()
            assert "condor_rm" in sentence
            assert len(sentence) < 1000
        # A value that may be right, or that counts in another state only, changes no more than itself.
        changed = {name for name in vars(odd) if getattr(odd, name) != getattr(plain, name)}
        assert odd.faults or changed <= RELATED.get(key, set()), value


RELATED = {
    "VacBatch": {"batch"}, "VacDigest": {"digest"}, "JobDisconnectedDate": {"disconnected"}, "RemoteHost": {"host"},
    "NumShadowStarts": {"starts"}, "HoldReasonCode": {"hold_code"}, "HoldReasonSubCode": {"hold_subcode"},
    "ProcId": {"id"}, "ClusterId": {"id"}, "QDate": {"submitted"}, "VacCause": {"ended"}, "VacRuntime": {"ended"},
    "EnteredCurrentStatus": {"entered", "ended"}, "VacEnded": {"ended"}, "VacCpuFraction": {"fraction"},
    "JobCurrentStartDate": {"started", "executed", "ended"}, "JobCurrentStartExecutingDate": {"executed"},
    "VacEvidenceTime": {"fraction"}, "VacStarted": {"vm_started"}, "VacAbort": {"ended"},
}  # fmt: skip


@pytest.mark.parametrize("state", HONEST)
def test_an_honest_ad_has_no_fault(state: str) -> None:
    (job,) = read(HONEST[state])
    assert job.faults == {}
    assert vm_jobs.damage([job]) == {}


@pytest.mark.parametrize(
    ("attribute", "value", "unknown"),
    [
        ("VacCpuFraction", -1.0, "fraction"),
        ("VacCpuFraction", "x", "fraction"),
        ("VacCpuFraction", 1e9, "fraction"),
        ("VacStarted", -5, "vm_started"),
        ("VacBatch", "a\nb", "batch"),
        ("VacBatch", "../../x", "batch"),
        ("VacBatch", "..", "batch"),
        ("VacBatch", 7, "batch"),
        ("VacDigest", 5, "digest"),
        ("RemoteHost", 'a"\nb', "host"),
        ("RemoteHost", "slot1@good1.site,good2.site", "host"),
        ("RemoteHost", "slot1@good1.site good2.site", "host"),
        ("RemoteHost", "slot1@$(ENV)", "host"),
        ("RemoteHost", "slot1@", "host"),
        ("RemoteHost", 17, "host"),
        ("JobDisconnectedDate", "then", "disconnected"),
    ],
)
def test_what_a_worker_wrote_wrongly_is_not_known_and_named(attribute: str, value: Any, unknown: str) -> None:
    job = one(state=RUNNING, **{**EVIDENCE, attribute: value})
    assert getattr(job, unknown) is None
    assert set(job.faults) == {attribute}
    (sentence,) = vm_jobs.damage([job]).values()
    assert sentence.startswith(f"job 50.0: {attribute} is ")
    assert "counted as not known" in sentence


def test_a_number_of_htcondors_own_that_cannot_be_is_not_known() -> None:
    job = one(state=RUNNING, JobVMCpuUtilization=-7)
    assert (job.fraction, list(job.faults)) == (None, ["JobVMCpuUtilization"])


@pytest.mark.parametrize(
    ("changes", "kind", "abort"),
    [
        ({"VacKind": "perfect"}, "success", False),
        ({"VacKind": 3}, "success", False),
        # Ends without an outcome, which no node reports.
        ({"VacKind": "withdrawn"}, "success", False),
        ({"VacKind": "lost", "ShutdownCode": 300}, "no_work", False),
        ({"VacAbort": 1}, "success", False),
        ({"VacAbort": "true", "ShutdownCode": 300, "VacKind": "no_work"}, "no_work", True),
        ({"ShutdownCode": "200", "VacKind": None, "VacAbort": None}, "none", False),
        ({"ShutdownCode": -1, "VacKind": None, "VacAbort": None}, "none", False),
        ({"VacRuntime": "long"}, "success", False),
    ],
)
def test_an_outcome_of_which_a_part_is_wrong_keeps_the_rest(changes: dict[str, Any], kind: str, abort: bool) -> None:
    end = ended(**{**END, **changes})
    assert (end.kind, end.abort, end.ended) == (kind, abort, NOW - 150)


@pytest.mark.parametrize("value", ["now", -1, math.nan])
def test_an_end_at_no_time_is_none(value: Any) -> None:
    """It is judged by its runtime, as a VM that left no message."""
    end = ended(**{**END, "VacEnded": value})
    assert (end.kind, end.ended) == ("none", NOW - 100)


YEARS = 10 * 365 * 86400


@pytest.mark.parametrize("kind", ["no_work", "experiment", "fizzle", "success"])
def test_an_end_in_the_future_is_at_the_schedds_time_of_it(kind: str) -> None:
    end = ended(VacEnded=int(NOW) + YEARS, VacKind=kind, VacAbort=kind != "success", VacRuntime=YEARS)
    assert (end.kind, end.ended, end.life) == (kind, NOW - 100, 3900.0)
    job = one(state=COMPLETED, VacEnded=int(NOW) + YEARS, VacRuntime=YEARS)
    assert job.ended is not None
    assert job.ended.runtime == 3900.0
    assert "VacEnded" in job.faults


@pytest.mark.parametrize("ahead", [0, 20, 119])
def test_clocks_that_differ_a_little_are_believed(ahead: int) -> None:
    end = ended(**{**END, "VacEnded": int(NOW) - 100 + ahead})
    assert end.ended == NOW - 100 + ahead
    assert one(state=COMPLETED, **{**END, "VacEnded": int(NOW) - 100 + ahead}).faults == {}


def test_an_end_in_the_far_past_is_of_another_run_or_at_this_ones_start() -> None:
    assert ended(**{**END, "VacEnded": 5}).ended == NOW - 100, "of another run: judged by its runtime"
    assert ended(**{**END, "VacEnded": int(NOW) - 4060}).ended == NOW - 4000, "clocks differ: not before its start"


def test_a_life_is_no_longer_than_a_vm_can_run() -> None:
    """The start of a run, in its ad, is no more than a number either: what is learned from lives would be poisoned."""
    end = ended(JobCurrentStartDate=5, **END)
    assert end.life == M.max_wallclock_seconds + 86400
    running = vm_jobs.machine(one(state=RUNNING, JobCurrentStartDate=5), M, NOW, ())
    assert running.started == NOW - M.max_wallclock_seconds - 86400
    late = ended(JobCurrentStartDate=int(NOW) + YEARS, **END)
    assert (late.life, late.ended <= NOW) == (0.0, True)


@pytest.mark.parametrize(
    "key", ["VacEvidenceTime", "VacStarted", "JobCurrentStartDate", "QDate", "EnteredCurrentStatus"]
)
def test_no_time_of_a_running_vm_is_to_come(key: str) -> None:
    job = one(state=RUNNING, **{**EVIDENCE, key: int(NOW) + YEARS})
    assert key in job.faults
    times = (job.submitted, job.entered, job.started, job.vm_started or 0.0)
    assert all(time is not None and time <= NOW for time in times)


def test_evidence_of_the_future_is_todays() -> None:
    """It is not of the run before alone: its host's clock may be wrong, and its figure right."""
    assert one(state=RUNNING, **{**EVIDENCE, "VacEvidenceTime": int(NOW) + YEARS}).fraction == 0.9


@pytest.mark.parametrize(("value", "shown"), [(int(NOW) + YEARS, NOW), (5, 5.0), ("x", None), (None, None), (0, None)])
def test_a_published_time_for_people(value: Any, shown: float | None) -> None:
    assert job_ad.moment(value, NOW) == shown


@pytest.mark.parametrize("status", [0, 8, 77, "2", None, Unreadable("1 + x"), 2.0, True])
def test_a_job_of_an_unknown_status_is_there_and_left_alone(status: Any) -> None:
    jobs = read(ad("49.0"), ad("50.0", RUNNING, JobStatus=status))
    assert jobs[1].state == job_ad.UNKNOWN
    seen = vm_jobs.observation(jobs, M, NOW, ())
    assert [(vm.id, vm.state) for vm in seen.machines] == [("49.0", "idle"), ("50.0", HELD_VM)]
    assert "JobStatus" in jobs[1].faults


def test_a_job_without_an_id_counts_and_is_never_named_to_the_schedd() -> None:
    jobs = read(ad("49.0"), {**ad("50.0", COMPLETED), "ClusterId": "x"}, {**ad("51.0"), "ProcId": -1})
    assert [job.state for job in jobs] == [IDLE, job_ad.UNKNOWN, job_ad.UNKNOWN]
    assert len({job.id for job in jobs}) == 3
    assert not any(JOB_ID.fullmatch(job.id) for job in jobs[1:])


def test_a_vm_does_not_become_a_factory() -> None:
    """Before HTCondor 25 a job's host may change its JobUniverse, and may add VacFactory."""
    queue = vm_jobs.queue([factory_ad(), {**ad("30.0", RUNNING), "JobUniverse": 7, "VacFactory": "gridpp"}], M, NOW)
    assert list(queue.factories) == ["40.0"]
    assert [job.id for job in queue.jobs] == ["30.0"]


@pytest.mark.parametrize("text", ["", "x", "ShutdownCode=200 VacCause=mes sage", "\x1b[31m"])
def test_a_record_that_is_none_leaves_the_other_attributes(text: str) -> None:
    job = one(state=COMPLETED, VacOutcome=text, **END)
    assert job.ended is not None
    assert (job.ended.code, job.ended.kind) == (200, "success")
    assert outcome_record.NAME in job.faults


@pytest.mark.parametrize("kind", [*MADE, "EIO"])
def test_a_vms_directory_that_cannot_be_read_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    ads = []
    for number in range(3):
        outputs = tmp_path / str(number) / "joboutputs"
        outputs.mkdir(parents=True)
        (outputs / "shutdown_message").write_text("300 nothing to do\n")
        ads.append(ad(f"50.{number}", COMPLETED, Iwd=str(outputs.parent)))
    assert [job.ended.code for job in read(*ads) if job.ended] == [300] * 3
    bad = tmp_path / "1" / "joboutputs"
    real = outcome.read_message

    def fails(directory: str) -> bytes | None:
        if directory == str(bad):
            raise VacError(f"{directory}: cannot read: Input/output error")
        return real(directory)

    if kind == "EIO":
        monkeypatch.setattr(outcome, "read_message", fails)
    else:
        MADE[kind](bad / "shutdown_message")
    jobs = read(*ads)
    assert [job.ended.code for job in jobs[::2] if job.ended] == [300, 300]
    assert set(jobs[1].faults) == ({"shutdown_message"} if kind == "EIO" else set())
    assert len(vm_jobs.observation(jobs, M, NOW, ()).ended) == 3


def test_many_wrong_attributes_of_one_ad() -> None:
    """Two wrong attributes are both named, and no more than a few of many."""
    job = one(state=RUNNING, **{**EVIDENCE, "VacBatch": 7, "RemoteHost": 5, "VacDigest": 5, "VacStarted": "x"})
    assert len(job.faults) == 4
    (sentence,) = vm_jobs.damage([job]).values()
    assert sum(key in sentence for key in job.faults) == 3


@given(
    st.dictionaries(
        st.sampled_from(vm_jobs.PROJECTION),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    )
)
def test_any_ad_is_understood(attributes: dict[str, Any]) -> None:
    given_ad = {key: value for key, value in attributes.items() if value is not None and key != "JobUniverse"}
    queue = vm_jobs.queue([given_ad, *GOOD], M, NOW)
    assert len(queue.jobs) == 4
    seen = vm_jobs.observation(queue.jobs, M, NOW, ())
    assert all(math.isfinite(time) for end in seen.ended for time in (end.ended, end.submitted, end.life))
    assert len(list(itertools.chain(seen.machines, seen.ended))) >= 4
