# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac usage`` on a real history: sums are those of condor_history, to the second."""

from __future__ import annotations

import csv
import io
import json
import time
from typing import Any

import pytest

from tests.accounting.vms import HOSTILE, Site, months, start_of

COUNTED = 'Owner == "vac" && isUndefined(VacCase) && (JobStatus == 4 || LastJobStatus == 2)'


def of_history(site: Site, month: str, machinetype: str) -> dict[str, float]:
    """The sums of a month by condor_history alone."""
    present, _ = months(time.time())
    start, end = start_of(month), time.time() + 1 if month == present else start_of(present)
    when = "(CompletionDate ?: EnteredCurrentStatus)"
    constraint = f'{COUNTED} && VacMachinetype == "{machinetype}" && {when} >= {start} && {when} < {end}'
    wall = f"({when} - LastMatchTime)"
    expressions = (wall, f"{wall} * RequestCpus", "int(RemoteUserCpu)")
    done = site.pool.run("condor_history", "-constraint", constraint, "-af", *expressions)
    rows = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
    sums = [sum(column) for column in zip(*rows)]
    return {"vms": len(rows), "wall_seconds": sums[0], "processor_seconds": sums[1], "cpu_seconds": sums[2]}


@pytest.mark.parametrize("which", [0, 1])
def test_sums_are_condor_historys_to_the_second(site: Site, which: int) -> None:
    month = months(time.time())[which]
    _, out, _ = site.usage("--month", month, "--json")
    report = json.loads(out)
    assert (report["month"], report["from"]) == (month, start_of(month))
    for name in ("lhcb", "atlas", "local"):
        rows = [row for row in report["rows"] if row["machinetype"] == name]
        expected = of_history(site, month, name)
        assert {key: sum(row[key] for row in rows) for key in expected} == expected
        assert expected["vms"] > 20
    names = {(row["machinetype"], row["vo"], row["benchmark"]) for row in report["rows"]}
    assert names == {("lhcb", "lhcb", "HEPscore23"), ("atlas", "atlas", "HEPscore23"), ("local", None, "HS06")}
    lhcb = next(row for row in report["rows"] if row["machinetype"] == "lhcb")
    assert lhcb["benchmark_hours"] == pytest.approx(lhcb["processor_seconds"] * 12.5 / 3600)
    assert lhcb["benchmark_cpu_hours"] == pytest.approx(lhcb["cpu_seconds"] * 12.5 / 3600)


def test_all_vms_are_in_one_of_the_two_months_and_starts_before_are_apart(site: Site) -> None:
    reports = [json.loads(site.usage("--month", month, "--json")[1]) for month in months(time.time())]
    rows = [row for report in reports for row in report["rows"]]
    assert sum(row["vms"] for row in rows) == 300 + 1, "those that ended, and the one that was removed"
    everything = site.pool.run(
        "condor_history", "-constraint", f"{COUNTED} && JobStatus == 4 && NumShadowStarts == 2", "-af",
        "RequestCpus * int(RemoteWallClockTime - CompletionDate + LastMatchTime)",
    ).stdout.split()  # fmt: skip
    assert len(everything) == 15
    waited = 700 * 4
    ran = sum(row["earlier_processor_seconds"] for row in rows)
    assert ran == sum(map(int, everything)) + waited


def test_the_table_and_csv_have_the_same_figures(site: Site) -> None:
    month = months(time.time())[1]
    report = json.loads(site.usage("--month", month, "--json")[1])
    rows = list(csv.DictReader(io.StringIO(site.usage("--month", month, "--csv")[1])))
    assert [(row["machinetype"], int(row["cpu_seconds"])) for row in rows] == [
        (row["machinetype"], row["cpu_seconds"]) for row in report["rows"]
    ]
    lines = site.usage("--month", month)[1].splitlines()
    assert lines[0] == f"VMs that ended in {month} (UTC)"
    words = [line.split() for line in lines[1:]]
    assert words[0][:5] == ["MACHINETYPE", "VO", "BENCHMARK", "VMS", "HOURS"]
    expected = [
        [
            row["machinetype"],
            row["vo"] or "-",
            row["benchmark"],
            str(row["vms"]),
            f"{row['processor_seconds'] / 3600:.1f}",
        ]
        for row in report["rows"]
    ]
    assert [line[:5] for line in words[1:-1]] == expected
    assert words[-1][3] == str(sum(row["vms"] for row in report["rows"]))


def test_ads_that_no_program_writes_cost_themselves_and_are_named(site: Site) -> None:
    code, out, err = site.usage("--json")
    assert code == 1
    assert json.loads(out)["damaged"] == len(HOSTILE)
    assert err.isascii(), "no byte of an ad reaches the terminal as it is"
    assert "\x1b" not in err
    named = [words for _, words in HOSTILE.values() if words in err]
    assert len(named) == 5, err
    assert f"and {len(HOSTILE) - 5} more ads; not counted" in err


def test_a_half_written_ad_and_a_second_copy_count_once(site: Site) -> None:
    month = months(time.time())[1]
    before = json.loads(site.usage("--month", month, "--json")[1])
    history = (site.pool.local / "spool/history").read_bytes()
    (site.directory / "history").write_bytes(history + history + history[:3000])
    config = site.directory / "condor_config"
    config.write_text((site.pool.local / "condor_config").read_text() + "HISTORY = /pool/accounting/history\n")
    code, out, err = site.usage("--month", month, "--json", config="/pool/accounting/condor_config")
    after: dict[str, Any] = json.loads(out)
    assert code == 1, "the hostile ads are there twice"
    assert after["rows"] == before["rows"]
    assert after["repeated"] == sum(row["vms"] for row in before["rows"])
    assert "twice in the history: counted once" in err


def test_a_history_that_begins_late_is_reported(site: Site) -> None:
    _, _, err = site.usage("--month", "2019-02", "--json")
    assert "HTCondor's history has no VM that ended before 20" in err


def test_a_wrong_month_is_one_line(site: Site) -> None:
    for word in ("2026-13", "november", "2026-1"):
        code, out, err = site.usage("--month", word)
        assert (code, out) == (2, "")
        assert err == f"condor_vac usage: --month: '{word}' is not a month of the form 2026-11\n"
