# SPDX-License-Identifier: GPL-3.0-or-later
"""What is counted of one VM, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from condor_vac.base.errors import VacError
from condor_vac.model import accounting
from condor_vac.model.accounting import Use, use

NOW = 1_800_000_000
COMPLETED, REMOVED = 4, 3


def ad(**changes: Any) -> dict[str, Any]:
    """A VM that ran for 1,000 s; None leaves an attribute out."""
    found = {
        "ClusterId": 7, "ProcId": 1, "QDate": NOW - 5000, "JobStatus": COMPLETED, "VacMachinetype": "lhcb",
        "VacVO": "lhcb", "RequestCpus": 4, "LastMatchTime": NOW - 2000, "CompletionDate": NOW - 1000,
        "EnteredCurrentStatus": NOW - 1000, "LastJobStatus": 2, "RemoteWallClockTime": 1000.0,
        "NumShadowStarts": 1, "RemoteUserCpu": 3500.9, "VacHepscore23": 12.5, **changes,
    }  # fmt: skip
    return {key: value for key, value in found.items() if value is not None}


def counted(**changes: Any) -> Use:
    """What ``use`` makes of it."""
    found = use(ad(**changes), NOW)
    assert found is not None
    return found


def test_a_vm_is_its_last_start() -> None:
    found = counted()
    assert found == Use((7, 1, NOW - 5000), "lhcb", "lhcb", "HEPscore23", 12.5, NOW - 1000, 1, 4, 1000, 3500, 0)
    again = counted(NumShadowStarts=2, RemoteWallClockTime=4600.0)
    assert again == found._replace(earlier_seconds=3600)


def test_a_reconnection_is_no_start_before() -> None:
    """The schedd then adds what it had noted of the same run."""
    assert counted(NumShadowStarts=2, RemoteWallClockTime=998.0).earlier_seconds == 0
    assert counted(NumShadowStarts=1, RemoteWallClockTime=1012.0).earlier_seconds == 0, "its output was transferred"


@pytest.mark.parametrize("before", [2, 6, 7])
def test_a_removal_that_ends_a_vm_is_its_end(before: int) -> None:
    found = counted(JobStatus=REMOVED, CompletionDate=None, LastJobStatus=before)
    assert found == counted()


@pytest.mark.parametrize("before", [1, 5, None])
def test_a_job_that_waited_when_it_was_removed_is_no_vm(before: int | None) -> None:
    found = counted(JobStatus=REMOVED, CompletionDate=None, LastJobStatus=before, RemoteWallClockTime=600.0)
    assert (found.vms, found.wall_seconds, found.cpu_seconds, found.earlier_seconds) == (0, 0, 0, 600)


@pytest.mark.parametrize("changes", [{"LastMatchTime": None}, {"LastMatchTime": 0}])
def test_a_job_that_never_ran_is_none(changes: dict[str, Any]) -> None:
    assert use(ad(JobStatus=REMOVED, RemoteWallClockTime=0.0, **changes), NOW) is None


@pytest.mark.parametrize(
    ("figures", "name", "figure"),
    [
        ({"VacHepscore23": None}, None, 0.0),
        ({"VacHepscore23": None, "VacHs06": 10.0}, "HS06", 10.0),
        ({"VacHs06": 10.0}, "HEPscore23", 12.5),
        ({"MachineAttrVacHepscore0": 9.0}, "HEPscore23", 12.5),
        ({"VacHepscore23": None, "MachineAttrVacHepscore0": 9.0, "VacHs06": 10.0}, "HEPscore23", 9.0),
        ({"VacHepscore23": None, "MachineAttrVacHepspec0": 8}, "HS06", 8.0),
    ],
)
def test_the_machinetypes_benchmark_counts_before_the_nodes(
    figures: dict[str, Any], name: str | None, figure: float
) -> None:
    found = counted(**figures)
    assert (found.benchmark, found.per_processor) == (name, figure)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ClusterId": [1]}, "ClusterId is"),
        ({"QDate": None}, "QDate is missing"),
        ({"JobStatus": True}, "JobStatus is True"),
        ({"RequestCpus": 0}, "RequestCpus is 0, not a whole number from 1 to 1024"),
        ({"RequestCpus": "/Expr(1 + 1)/"}, "RequestCpus is"),
        ({"RemoteUserCpu": float("nan")}, "RemoteUserCpu is nan"),
        ({"RemoteUserCpu": float("inf")}, "RemoteUserCpu is inf"),
        ({"CompletionDate": NOW + 500}, "or to come"),
        ({"CompletionDate": NOW - 3000}, "which is before its match"),
        ({"LastMatchTime": 1}, "before its match"),
        ({"VacMachinetype": "a b"}, "VacMachinetype is 'a b', not of the form"),
        ({"VacVO": "a\nb"}, "VacVO is"),
        ({"VacVO": 7}, "VacVO is 7"),
        ({"VacHepscore23": -1.0}, "VacHepscore23 is -1.0"),
    ],
)
def test_what_no_program_writes_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(VacError) as caught:
        use(ad(**changes), NOW)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("fqan", "name"), [("/atlas", "atlas"), ("/vo.a-b.eu/g/Role=x", "vo.a-b.eu")])
def test_the_vo_is_the_first_part(fqan: str, name: str) -> None:
    assert accounting.vo(fqan) == name
