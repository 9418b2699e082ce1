# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a VM's end in its job's ad, which arrives where the attributes after it do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import VacError
from condor_vac.factory import vm_jobs
from condor_vac.factory.job_ad import Ending
from condor_vac.model import outcome_record
from condor_vac.policy.observation import AGENT, EXPERIMENT, FIZZLE, NO_WORK
from tests.unit.condor_vac.standins import COMPLETED, NOW, ad, machinetype

ENDS: list[dict[str, Any]] = [
    {"ShutdownCode": 300, "VacCause": "message", "VacRuntime": 61, "VacKind": NO_WORK, "VacAbort": True},
    {"ShutdownCode": 700, "VacCause": "heartbeat", "VacRuntime": 4000, "VacKind": AGENT, "VacAbort": True},
    {"ShutdownCode": None, "VacCause": "crashed", "VacRuntime": 0, "VacKind": FIZZLE, "VacAbort": True},
    {"ShutdownCode": None, "VacCause": "removed", "VacRuntime": 86400, "VacKind": "none", "VacAbort": False},
    {
        **{"ShutdownCode": 200, "VacCause": "message", "VacRuntime": 61, "VacKind": "done", "VacAbort": False},
        "ShutdownMessage": "=é VacCause=backfill VacEnded=5",
    },
    {
        **{"ShutdownCode": None, "VacCause": "fizzle", "VacRuntime": 1, "VacKind": FIZZLE, "VacAbort": True},
        "ShutdownMessage": "",
    },
]


def ending(**changes: Any) -> Ending | None:
    """How the job with this ad is seen to have ended, 100 s before now."""
    (job,) = vm_jobs.queue([ad(state=COMPLETED, **changes)], machinetype(), NOW).jobs
    return job.ended


@pytest.mark.parametrize("end", ENDS)
def test_a_record_is_read_as_it_was_written(end: dict[str, Any]) -> None:
    recorded = {**end, "VacEnded": int(NOW) - 100}
    assert outcome_record.read(outcome_record.write(recorded)) == recorded


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("arrived", range(7))
def test_the_first_attribute_is_enough(end: dict[str, Any], arrived: int) -> None:
    recorded = {**end, "VacEnded": int(NOW) - 100}
    whole = ending(**recorded)
    assert whole is not None
    part = {key: value for key, value in list(recorded.items())[:arrived] if value is not None}
    assert ending(VacOutcome=outcome_record.write(recorded), **part) == whole


def test_what_an_earlier_run_left_is_overridden_and_a_later_end_is_not() -> None:
    earlier = {**ENDS[0], "VacEnded": int(NOW) - 200}
    later = {**ENDS[2], "VacEnded": int(NOW) - 100}
    seen = ending(**{**earlier, "VacOutcome": outcome_record.write(later)})
    assert seen is not None
    assert (seen.code, seen.kind, seen.cause) == (None, FIZZLE, "crashed")
    # As where the later run was on a node whose programs leave no record.
    seen = ending(
        **{
            **{key: value for key, value in later.items() if value is not None},
            "VacOutcome": outcome_record.write(earlier),
        }
    )
    assert seen is not None
    assert (seen.code, seen.kind, seen.cause) == (None, FIZZLE, "crashed")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ShutdownCode=200",
        "ShutdownCode=20 VacCause=message VacRuntime=1 VacKind=none VacAbort=true VacEnded=5",
        "ShutdownCode=200 VacCause=mes sage VacRuntime=1 VacKind=none VacAbort=true VacEnded=5",
        "ShutdownCode=200 VacCause=message VacRuntime=-1 VacKind=none VacAbort=true VacEnded=5",
        "ShutdownCode=200 VacCause=message VacRuntime=1 VacKind=none VacAbort=maybe VacEnded=5",
        "ShutdownCode=200 VacCause=message VacRuntime=1 VacKind=none VacAbort=true VacEnded=undefined",
        "ShutdownCode=200 VacCause=message VacRuntime=1 VacKind=none VacAbort=true VacEnded=5\n",
    ],
)
def test_what_is_not_a_record_is_named(text: str) -> None:
    with pytest.raises(VacError, match="VacOutcome"):
        outcome_record.read(text)


STALE = {"VacCause": "removed", "VacKind": "none", "VacEnded": int(NOW) - 90000, "ShutdownCode": 700}


@pytest.mark.parametrize("before", [{}, STALE])
@pytest.mark.parametrize(
    ("message", "code", "kind"),
    [(b"600 Broken\n", 600, EXPERIMENT), (b"300 No work", 300, NO_WORK), (b"goodbye", None, None), (None, None, None)],
)
def test_where_no_end_arrived_the_message_that_came_back_counts(
    before: dict[str, Any], message: bytes | None, code: int | None, kind: str | None, tmp_path: Path
) -> None:
    if message is not None:
        (tmp_path / "joboutputs").mkdir()
        (tmp_path / "joboutputs/shutdown_message").write_bytes(message)
    seen = ending(Iwd=str(tmp_path), **before)
    assert (seen and seen.code, seen and seen.kind, seen and seen.cause) == (code, kind, code and "message")


def test_an_end_that_arrived_counts_whatever_came_back(tmp_path: Path) -> None:
    (tmp_path / "joboutputs").mkdir()
    (tmp_path / "joboutputs/shutdown_message").write_bytes(b"200 Success")
    seen = ending(Iwd=str(tmp_path), **{**ENDS[1], "VacEnded": int(NOW) - 100})
    assert seen is not None
    assert (seen.code, seen.cause) == (700, "heartbeat")
    # HTCondorVMs' own hooks record no time.
    seen = ending(Iwd=str(tmp_path), ShutdownCode=300)
    assert seen is not None
    assert seen.code == 300


@pytest.mark.parametrize("directory", [7, "", "/nowhere", "\x00", None])
def test_a_directory_that_is_none_is_no_end(directory: Any) -> None:
    assert ending(Iwd=directory) is None
