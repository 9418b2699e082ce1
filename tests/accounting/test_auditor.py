# SPDX-License-Identifier: GPL-3.0-or-later
"""AUDITOR's collector and APEL plugin on the history: every VM once, and the sums of condor_history."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.accounting.programs import LIMIT_SECONDS, Programs, end
from tests.accounting.vms import SITE, Site, months


@pytest.fixture
def programs(site: Site, auditor: Path, condor: Path, tmp_path: Path) -> Iterator[Programs]:
    """The programs and their server."""
    found = Programs(site, auditor, condor, tmp_path)
    yield found
    found.end_server()


def used(site: Site) -> dict[str, list[dict[str, Any]]]:
    """The rows of ``condor_vac usage`` for each month, without the VMs that are nobody's."""
    reports = {month: json.loads(site.usage("--month", month, "--json")[1]) for month in months(time.time())}
    return {month: [row for row in report["rows"] if row["vo"]] for month, report in reports.items()}


def sums(rows: list[dict[str, Any]]) -> Counter[str]:
    """VMs and seconds of all rows."""
    total: Counter[str] = Counter()
    for row in rows:
        total.update({key: row[key] for key in ("vms", "wall_seconds", "processor_seconds", "cpu_seconds")})
    return total


def amounts(record: dict[str, Any]) -> dict[str, int]:
    """The record's components."""
    return {part["name"]: part["amount"] for part in record["components"]}


def messages_of(text: str) -> list[dict[str, str]]:
    """The parts of APEL's message, which is in an S/MIME envelope."""
    body = text.replace("\r", "").split("APEL-", 1)[1].split("\n--", 1)[0]
    parts = [part for part in body.split("%%\n") if ": " in part]
    return [dict(re.findall(r"^(\w+): (.*)$", part, re.MULTILINE)) for part in parts]


def test_killed_in_between_each_vm_is_there_once_and_apel_gets_the_sums(site: Site, programs: Programs) -> None:
    expected = used(site)
    programs.serve(ignore=False, hold=60)
    killed = programs.collector()
    programs.wait(programs.store / "held", killed)
    end(killed)
    assert len(programs.records()) == 60

    # The record of the VM at which it was killed is there, and the collector does not know.
    programs.serve(ignore=False)
    assert programs.collector().wait(LIMIT_SECONDS) != 0
    assert "RECORD_EXISTS" in programs.log("auditor-htcondor-collector")
    assert len(programs.records()) == 60, "which is why the server has to ignore it"

    programs.serve(ignore=True)
    assert programs.collector().wait(LIMIT_SECONDS) == 0, programs.log("auditor-htcondor-collector")[-3000:]
    records = programs.records()
    assert len({record["record_id"] for record in records}) == len(records)
    total = sums([row for rows in expected.values() for row in rows])
    assert {
        "vms": len(records),
        "wall_seconds": sum(record["runtime"] for record in records),
        "processor_seconds": sum(record["runtime"] * amounts(record)["Cores"] for record in records),
        "cpu_seconds": sum(amounts(record)["TotalCPU"] for record in records),
    } == total
    assert {tuple(record["meta"]["site"]) for record in records} == {(SITE,)}

    assert programs.collector().wait(LIMIT_SECONDS) == 0
    assert programs.records() == records, "nothing new"
    for month, rows in expected.items():
        assert programs.republish(month, "--dry-run") == 0
        assert f"NumberOfJobs: {sums(rows)['vms']}\n" in programs.log("auditor-apel-republish")
    assert not (programs.store / "messages").exists()
    for month, rows in expected.items():
        check_apel(programs, month, rows)


def check_apel(programs: Programs, month: str, rows: list[dict[str, Any]]) -> None:
    """The plugin's message for a month has what ``usage`` has."""
    assert programs.republish(month) == 0, programs.log("auditor-apel-republish")[-3000:]
    sync, summary = (messages_of(text) for text in programs.messages())
    total = sums(rows)
    assert [int(part["NumberOfJobs"]) for part in sync] == [total["vms"]]
    for vo in ("lhcb", "atlas"):
        parts = [part for part in summary if part["VO"] == vo]
        mine = [row for row in rows if row["vo"] == vo]
        assert {part["Processors"] for part in parts} == {{"lhcb": "4", "atlas": "8"}[vo]}
        assert {part["VORole"] for part in parts} == {{"lhcb": "Role=pilot", "atlas": "Role=production"}[vo]}
        for name, key in (("NumberOfJobs", "vms"), ("WallDuration", "wall_seconds"), ("CpuDuration", "cpu_seconds")):
            assert sum(int(part[name]) for part in parts) == sum(row[key] for row in mine)
        found = sum(int(re.findall(r"HEPscore23: (\d+)", part["NormalisedCpuDuration"])[0]) for part in parts)
        wanted = sum(row["benchmark_cpu_hours"] for row in mine) * 3600
        assert found == pytest.approx(wanted, abs=sum(row["vms"] for row in mine)), "each VM's is rounded"
