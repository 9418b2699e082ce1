# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that refuse VMs' starts: from the jobs' ads to the hosts that the policy avoids, and reasons that name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from condor_vac.factory import cycle as factory_cycle
from condor_vac.policy.control_law import Policy
from tests.unit.condor_vac.factory.factory_cycles import cycle, with_factory
from tests.unit.condor_vac.standins import COMPLETED, HELD, IDLE, NOW, RUNNING, StandInPool, ad, machinetype

M = machinetype(max_machines=100)
WORKS = {"VacEvidenceTime": int(NOW) - 10, "VacCpuFraction": 0.9}


@pytest.fixture(autouse=True)
def _real_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control law itself, with which a factory judges hosts."""
    monkeypatch.setattr(factory_cycle, "Policy", Policy)


def came_back(job: str, host: str, **changes: Any) -> dict[str, Any]:
    """A job that a host took and released, by the hook's code 300 or because libvirt could not start its VM."""
    refused = {
        "NumShadowStarts": 1, "LastRemoteHost": f"slot1_1@{host}", "JobCurrentStartDate": int(NOW) - 40,
        "EnteredCurrentStatus": int(NOW) - 30,
    }  # fmt: skip
    return ad(job, IDLE, **{**refused, **changes})


def held(job: str, host: str, **changes: Any) -> dict[str, Any]:
    """A job that HTCondor holds because its prepare hook failed on a host."""
    refused = {"HoldReasonCode": 19, "HoldReasonSubCode": 1, "JobStatus": HELD}
    return came_back(job, host, **{**refused, **changes})


def no_space(job: str, host: str, **changes: Any) -> dict[str, Any]:
    """A job whose files had no room on its host."""
    return held(job, host, **{"HoldReasonCode": 13, "HoldReasonSubCode": 28, **changes})


def at_work(path: Path, hosts: int = 8) -> StandInPool:
    """A queue with VMs that work, one on each of so many other hosts, after a cycle that has seen them."""
    pool = with_factory(*(ad(f"30.{n}", RUNNING, RemoteHost=f"slot1_1@good-{n}", **WORKS) for n in range(hosts)))
    decide(pool, path)
    pool.done.clear()
    return pool


def decide(pool: StandInPool, path: Path) -> list[str]:
    """The reasons of one cycle of the factory, which fails at nothing."""
    last = cycle(pool, path).run(M)
    assert last["error"] is None
    return [str(reason) for reason in last["reasons"]]


def avoided(pool: StandInPool) -> set[str]:
    """The hosts that new and idle VMs avoid, as HTCondor gets them."""
    lists = [each[2]["+VacAvoidHosts"] for each in pool.done if each[0] == "submit"]
    lists += [each[3] for each in pool.done if each[0] == "edit" and each[2] == "VacAvoidHosts"]
    assert len(set(lists)) == 1, lists
    return set(filter(None, lists[0].strip('"').split(",")))


@pytest.mark.parametrize("refused", [came_back, held, no_space])
def test_a_host_that_refuses_two_vms_is_avoided_by_name(tmp_path: Path, refused: Any) -> None:
    pool = at_work(tmp_path)
    pool.ads += [refused("50.0", "bad.example.org"), refused("50.1", "bad.example.org")]
    reasons = decide(pool, tmp_path)
    assert "Avoiding 1 host where every recent VM failed: bad.example.org." in reasons
    assert avoided(pool) == {"bad.example.org"}


def test_one_job_that_is_refused_again_and_again_is_enough(tmp_path: Path) -> None:
    pool = at_work(tmp_path)
    pool.ads.append(came_back("50.0", "bad"))
    assert not any("Avoiding" in reason for reason in decide(pool, tmp_path))
    pool.ads = [each for each in pool.ads if each["ClusterId"] != 50]
    pool.ads.append(came_back("50.0", "bad", NumShadowStarts=2))
    pool.done.clear()
    assert "Avoiding 1 host where every recent VM failed: bad." in decide(pool, tmp_path)
    assert avoided(pool) == {"bad"}


def taken_back(code: int, after: float = 10.0) -> dict[str, Any]:
    """What HTCondor 25 puts into the ad of a job whose slot was taken back so many seconds after its start."""
    return {"VacateReasonCode": code, "LastVacateTime": int(NOW - 40 + after)}


@pytest.mark.parametrize("code", [1004, 1013, 1014, 1029, 1034])
def test_a_host_whose_slots_are_taken_back_is_not_blamed(tmp_path: Path, code: int) -> None:
    """As an administrator restarts a node's startd, or drains it: the schedd uses its claims a last time."""
    pool = at_work(tmp_path)
    pool.ads += [came_back(f"50.{n}", "restarted", **taken_back(code)) for n in range(4)]
    assert not any("Avoiding" in reason for reason in decide(pool, tmp_path))
    lists = [each[2]["+VacAvoidHosts"] for each in pool.done if each[0] == "submit"]
    assert lists == ['""'] * len(lists)


@pytest.mark.parametrize(
    "changes",
    [
        # The starter failed, the slot is broken, and a code of the run before.
        taken_back(1007),
        taken_back(1031),
        taken_back(1013, after=-100.0),
        {"VacateReasonCode": 1013},
        {"VacateReasonCode": "1013", "LastVacateTime": int(NOW) - 30},
    ],
)
def test_any_other_code_blames_the_host_as_none_does(tmp_path: Path, changes: dict[str, Any]) -> None:
    pool = at_work(tmp_path)
    pool.ads += [came_back(f"50.{n}", "bad", **changes) for n in range(2)]
    assert "Avoiding 1 host where every recent VM failed: bad." in decide(pool, tmp_path)


@pytest.mark.parametrize("refused", [came_back, held, no_space])
def test_where_all_hosts_refuse_the_reason_says_so_and_none_is_blamed(tmp_path: Path, refused: Any) -> None:
    pool = with_factory(*(refused(f"50.{n}", f"wn{n}") for n in range(5)))
    reasons = decide(pool, tmp_path)
    assert reasons[0].startswith("The last 5 VMs failed (could not be started) on 5 hosts: probing every ")
    assert not any("Avoiding" in reason for reason in reasons)
    assert not any("hosts ()" in reason for reason in reasons)


@pytest.mark.parametrize(
    "changes",
    [
        # A person holds it, or a file of the access point is missing.
        {"HoldReasonCode": 1}, {"HoldReasonCode": 13, "HoldReasonSubCode": 2}, {"HoldReasonCode": 12},
        # Held before it was ever matched, or while its VM ran.
        {"NumShadowStarts": 0}, {"JobCurrentStartExecutingDate": int(NOW) - 35},
    ],
)  # fmt: skip
def test_other_holds_are_no_hosts_fault(tmp_path: Path, changes: dict[str, Any]) -> None:
    pool = at_work(tmp_path)
    pool.ads += [held(f"50.{n}", "bad", **changes) for n in range(4)]
    assert not any("Avoiding" in reason for reason in decide(pool, tmp_path))


def test_a_vm_that_works_there_clears_the_host(tmp_path: Path) -> None:
    pool = at_work(tmp_path)
    pool.ads += [held("50.0", "bad"), held("50.1", "bad")]
    assert any("Avoiding" in reason for reason in decide(pool, tmp_path))
    done = {"RemoteHost": "slot1_1@bad", "ShutdownCode": 200, "VacEnded": int(NOW) - 1, "VacRuntime": 3900, **WORKS}
    pool.ads.append(ad("50.2", COMPLETED, EnteredCurrentStatus=int(NOW) - 1, **done))
    assert not any("Avoiding" in reason for reason in decide(pool, tmp_path))


def test_a_refusal_counts_once_however_long_the_job_is_held(tmp_path: Path) -> None:
    pool = at_work(tmp_path)
    pool.ads.append(held("50.0", "bad"))
    for _ in range(4):
        assert not any("Avoiding" in reason for reason in decide(pool, tmp_path))
