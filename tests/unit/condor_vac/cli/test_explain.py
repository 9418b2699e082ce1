# SPDX-License-Identifier: GPL-3.0-or-later
"""status, machines and explain: what they print about a pool, in words, as JSON and as an exit code."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import pytest

from condor_vac.cli import survey
from condor_vac.factory.state import State
from tests.unit.condor_vac.cli.surveyed import LAST, SLOT, Site
from tests.unit.condor_vac.standins import (
    COMPLETED,
    HELD,
    IDLE,
    NOW,
    RUNNING,
    ad,
    factory_ad,
)


def test_a_healthy_machinetype(site: Site) -> None:
    site.pool.ads += [
        ad("50.0"),
        ad("50.1", RUNNING, VacEvidenceTime=int(NOW) - 5, VacCpuFraction=0.95),
        ad("50.2", COMPLETED, ShutdownCode=300, VacEnded=int(NOW) - 200, VacRuntime=700,
           ShutdownMessage="Nothing to do"),
        ad("50.3", COMPLETED),
    ]  # fmt: skip
    site.pool.machines, site.pool.matches = [SLOT], (3, 2, [])
    code, out, _ = site.run("status", "--json")
    entry = json.loads(out)["machinetypes"]["gridpp"]
    assert code == 0
    assert entry["factory"] == "running"
    assert (entry["idle"], entry["running"], entry["works"], entry["ended"]) == (1, 1, 1, {"300": 1, "none": 1})
    assert entry["last"]["reasons"] == ["No work for 600 s."]
    code, out, _ = site.run("status")
    assert code == 0
    assert "300:1" in out
    assert "gridpp: No work for 600 s." in out
    code, printed = site.explain()
    assert code == 0
    assert "No work for 600 s." in printed
    assert "2 slots would accept 50.0" in printed
    assert "1 no_work (300)" in printed


def test_text_of_a_jobs_user_reaches_no_terminal(site: Site) -> None:
    """What status and explain print of a factory's state file and of job ads was written by other users."""
    site.keep(State(last={**LAST, "reasons": ["No work\x1b]0;title\x07 for\n600 s."]}))
    site.pool.ads.append(ad("50.0", VacMachinetype="\x1b[2J\nx"))
    code, out, err = site.run("status")
    assert (code, err) == (0, "")
    assert "gridpp: No work\ufffd]0;title\ufffd for 600 s." in out.splitlines()
    assert out.replace("\n", "").isprintable()
    assert len(out.splitlines()) == 3, "heading, gridpp, its reason: the job of another name is no machinetype's"
    _code, out, _err = site.run("explain", "gridpp")
    assert out.replace("\n", "").isprintable()
    _code, out, _err = site.run("machines")
    assert out.replace("\n", "").isprintable()


def test_machines_shows_each_vm(site: Site) -> None:
    site.pool.ads += [
        ad("50.0"),
        ad("50.1", RUNNING, VacEvidenceTime=int(NOW) - 5, VacCpuFraction=0.95),
        ad("50.2", COMPLETED, ShutdownCode=300, VacEnded=int(NOW) - 200, VacRuntime=700,
           ShutdownMessage="Nothing to do"),
        ad("50.3", HELD, HoldReason="prepare hook:\x1b[31m\nno image", HoldReasonCode=19),
    ]  # fmt: skip
    code, out, _ = site.run("machines", "--json")
    shown = {each["id"]: each for each in json.loads(out)}
    assert code == 0
    assert [shown[f"50.{n}"]["state"] for n in range(4)] == ["idle", "running", "ended", "held"]
    assert (shown["50.1"]["host"], shown["50.1"]["cpu"], shown["50.1"]["works"]) == ("wn1.example.org", 0.95, True)
    assert (shown["50.2"]["code"], shown["50.2"]["kind"], shown["50.2"]["runtime"]) == (300, "no_work", 700)
    assert shown["50.2"]["message"] == "Nothing to do"
    code, out, _ = site.run("machines", "gridpp")
    assert len(out.splitlines()) == 5, "a guest's or hook's text stays one line"
    assert "\x1b" not in out
    assert site.run("machines", "none-such")[0] == 2


@pytest.mark.parametrize("command", ["status", "machines"])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_watch_reports_again_until_it_is_interrupted(
    site: Site, monkeypatch: pytest.MonkeyPatch, command: str, form: list[str]
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        site.pool.ads.append(ad(f"50.{len(slept)}"))
        # One look at a schedd that is away, and one after it is back.
        site.pool.failing = {"jobs"} if len(slept) == 2 else set()
        if len(slept) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    # This process is pytest's as well.
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    code, out, err = site.run(command, "--watch", "7", *form)
    assert (code, slept) == (0, [7.0] * 4)
    assert len(err.splitlines()) == 1
    assert "no answer" in err
    if form:
        reports = [json.loads(line) for line in out.splitlines()]
        idle = [len(r) if command == "machines" else r["machinetypes"]["gridpp"]["idle"] for r in reports]
        assert idle == [0, 1, 3]
    else:
        assert out.count("-- ") == 4
        assert out.count("MACHINETYPE") == 3


@pytest.mark.parametrize("seconds", ["0", "0.5", "-3", "nan", "inf", "soon", "86401"])
def test_watch_takes_a_sensible_number_of_seconds(site: Site, seconds: str) -> None:
    with pytest.raises(SystemExit) as ended:
        site.run("status", "--watch", seconds)
    assert ended.value.code == 2
    captured = site.capsys.readouterr()
    assert not captured.out
    assert f"{seconds!r} is not a number of seconds from 1 to 86400" in captured.err


@pytest.mark.parametrize("command", [["status"], ["machines"], ["explain", "gridpp"]])
def test_a_schedd_that_does_not_answer_is_an_error_not_an_empty_pool(site: Site, command: list[str]) -> None:
    site.pool.failing.add("jobs")
    code, out, err = site.run(*command)
    assert (code, out) == (1, "")
    assert "no answer" in err


@pytest.mark.parametrize("name", ["none-such", 'x" || true || "', "../gridpp", "", "UPPER"])
def test_what_is_not_a_machinetype_is_bad_usage(site: Site, name: str) -> None:
    code, out, err = site.run("explain", name)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1


def held(site: Site) -> None:
    site.pool.ads = [factory_ad(state=HELD, HoldReason="via condor_hold (by user vac)")]


def no_factory(site: Site) -> None:
    site.pool.ads = []


def two_factories(site: Site) -> None:
    site.pool.ads.append(factory_ad("41.0"))


def not_started(site: Site) -> None:
    site.pool.ads = [factory_ad(state=IDLE)]


def silent(site: Site) -> None:
    site.keep(State(last={**LAST, "time": NOW - 4000}))


def failing(site: Site) -> None:
    site.keep(State(last={**LAST, "submit": 0, "error": "job 50.0: QDate is 'x', not a number from 0 up"}))


def undecided(site: Site) -> None:
    site.keep(State())


def damaged(site: Site) -> None:
    (site.states / "gridpp" / "state.json").write_text("{")


def no_file(site: Site) -> None:
    (site.types / "gridpp.json").unlink()


def broken_file(site: Site) -> None:
    (site.types / "gridpp.json").write_text('{"name": "gridpp"}')


def full(site: Site) -> None:
    site.write(max_machines=1, max_idle=1)
    site.pool.ads.append(ad("50.0", RUNNING))


def switched_off(site: Site) -> None:
    site.write(max_machines=0, max_idle=0, probe_machines=1)


def held_vms(site: Site) -> None:
    site.pool.ads += [ad(f"50.{n}", HELD, HoldReason="no image\nhere", HoldReasonCode=19) for n in range(3)]


def wrong_ad(site: Site) -> None:
    site.pool.ads.append(ad("50.0", QDate="x"))


def collector_down(site: Site) -> None:
    site.pool.ads.append(ad("50.0"))
    site.pool.failing.add("slots")


def no_slots(site: Site) -> None:
    site.pool.ads.append(ad("50.0"))


def offline(site: Site) -> None:
    no_slots(site)
    site.pool.machines = [{"Machine": "wn7", "HasVM": False, "VMOfflineReason": "Error in virDomainCreateXML\n"}]


def no_match(site: Site) -> None:
    no_slots(site)
    site.pool.machines, site.pool.matches = [SLOT], (0, 0, [])


def refused(site: Site) -> None:
    no_slots(site)
    site.pool.machines, site.pool.matches = [SLOT], (4, 0, [])


def endless_start(site: Site) -> None:
    no_slots(site)
    site.pool.machines, site.pool.matches = [SLOT], (0, 0, ["wn1", "wn\n2"])


def stale_ledger(site: Site) -> None:
    no_slots(site)
    site.pool.machines, site.pool.matches = [{**SLOT, "VM_AvailNum": 0}], (0, 0, [])


def too_small(site: Site) -> None:
    no_slots(site)
    site.write(processors=16)
    site.pool.machines, site.pool.matches = [SLOT], (0, 0, [])


@pytest.mark.parametrize(
    ("change", "printed", "remedy"),
    [
        (held, "40.0 is held: via condor_hold", "runuser -u vac -- condor_release 40.0"),
        (no_factory, "no factory of this machinetype is in the queue", "vacuum.htcondor.site"),
        (two_factories, "2 factories", "condor_rm 41.0"),
        (not_started, "40.0 is idle", "START_SCHEDULER_UNIVERSE"),
        (silent, "last cycle was 66m ago", "factory.log"),
        (failing, "QDate", "tries again"),
        (undecided, "no decision yet", "factory.log"),
        (damaged, "not a state file", "correct it"),
        (no_file, "file is missing", "correct it"),
        (broken_file, "missing", "correct it"),
        (switched_off, "max_machines (0) is reached", "raise max_machines"),
        (held_vms, "3 VMs held: no image", "as root runuser -u vac -- condor_release -constraint 'JobStatus == 5 &&"),
        (collector_down, "slots failed", "collector"),
        (no_slots, "none of 0 slots has HasVM", "condor_vac doctor"),
        (offline, "wn7 offers no VMs: Error in virDomainCreateXML", "condor_vac doctor on wn7"),
        (no_match, "meets the requirements of 50.0", "-better-analyze 50.0"),
        (refused, "START accepts it on none", "-better-analyze:reverse"),
        (endless_start, "cannot be judged for wn1, wn 2: an expression of its ad", "condor_status -long"),
        (stale_ledger, "VM_AvailNum >= 1 (most: 0)", "VM_MAX_NUMBER = 0"),
        (too_small, "Cpus >= 16 (most: 8)", "smaller than the machinetype"),
    ],
)
def test_explain_names_the_cause_and_what_to_do(site: Site, change: Any, printed: str, remedy: str) -> None:
    change(site)
    code, text = site.explain()
    assert code == 1
    line = next((line for line in text.splitlines() if printed in line), None)
    assert line is not None, text
    assert remedy in line
    code, out, _ = site.run("explain", "gridpp")
    assert code == 1
    assert printed in out


def test_all_the_vms_that_were_asked_for_are_no_fault(site: Site) -> None:
    full(site)
    code, text = site.explain()
    assert code == 0, text
    assert "1 VM: max_machines (1) is reached; raise it for more" in text.splitlines()


@pytest.mark.parametrize("change", [
    held, no_factory, not_started, silent, failing, damaged, broken_file, wrong_ad, held_vms,
])  # fmt: skip
def test_status_fails_for_what_needs_a_person(site: Site, change: Any) -> None:
    change(site)
    assert site.run("status", "--json")[0] == 1


def test_status_has_the_reason_of_held_vms(site: Site) -> None:
    held_vms(site)
    site.pool.ads.append(ad("50.7", HELD))
    code, out, _ = site.run("status")
    lines = [line for line in out.splitlines() if " held: " in line]
    assert code == 1
    assert [line.partition(";")[0] for line in lines] == [
        "gridpp: 3 VMs held: no image here", "gridpp: 1 VM held: no reason given",
    ]  # fmt: skip
    assert """; fix the cause, then as root runuser -u vac -- condor_release -constraint""" in lines[0]


def test_the_vms_of_smoke_are_no_machinetypes(site: Site) -> None:
    """During its run and after one that was killed."""
    (site.states / "smoke_92lyx0n0").mkdir()
    site.pool.ads += [ad("50.0", RUNNING, VacMachinetype="smoke-0-http-200", Owner="vac"), ad("50.1", Owner="vac")]
    code, out, err = site.run("status", "--json")
    assert (code, err, list(json.loads(out)["machinetypes"])) == (0, "", ["gridpp"])
    code, out, err = site.run("machines", "--json")
    assert (code, err, [each["id"] for each in json.loads(out)]) == (0, "", ["50.1"])


def test_one_bad_machinetype_hides_nothing_of_the_others(site: Site) -> None:
    (site.types / "aaa.json").write_text("{")
    site.pool.ads.append(ad("50.0"))
    code, out, _ = site.run("status", "--json")
    report = json.loads(out)["machinetypes"]
    assert code == 1
    assert report["gridpp"]["idle"] == 1
    assert "aaa.json" in report["aaa"]["problems"][0]


def test_a_decision_without_its_keys_is_shown_unchanged(site: Site) -> None:
    site.keep(State(last={"time": NOW}))
    code, text = site.explain()
    assert code == 1
    assert "state.json: not a state file" in text
    assert "factory.log" in text


def test_no_machinetype_at_all(site: Site) -> None:
    no_factory(site)
    no_file(site)
    code, out, _ = site.run("status")
    assert code == 0
    assert "no machinetype" in out


def test_ages_for_people() -> None:
    assert [survey.duration(each) for each in (None, -5, 45, 720, 11100, 187200)] == [
        "-", "0s", "45s", "12m", "3h05", "2d04h",
    ]  # fmt: skip
    before = int(time.time())
    assert before <= survey.now() <= time.time()


def test_nodes_that_shut_down_too_soon_are_named(site: Site) -> None:
    site.write(min_wallclock_seconds=7200)
    site.pool.ads.append(ad("50.0"))
    plans = {"wn1": int(NOW) + 7000, "wn2": int(NOW) + 7300, "wn3": int(NOW) - 50, "wn4": "soon", "wn5": True}
    site.pool.machines = [
        *({**SLOT, "Machine": name, "VacShutdownTime": plan} for name, plan in plans.items()),
        {**SLOT, "Machine": "wn6"},
    ]
    site.pool.matches = (4, 4, [])
    code, printed = site.explain()
    assert code == 0
    assert (
        "2 nodes with a planned shutdown in less than min_wallclock_seconds (7200 s): no VM starts there: wn1, wn3"
    ) in printed
    site.write()
    _code, printed = site.explain()
    assert "1 node with a planned shutdown in less than min_wallclock_seconds (0 s)" in printed
    site.pool.machines = [{**SLOT, "VacShutdownTime": int(NOW) + 7300}]
    assert "planned shutdown" not in site.explain()[1]


def test_vms_that_show_no_work_are_compared_with_what_counts_as_work(site: Site) -> None:
    site.write(processors=8)
    low = {"VacEvidenceTime": int(NOW) - 5, "VacCpuFraction": 0.125}
    site.pool.ads += [
        ad("50.0", RUNNING, **low),
        ad("50.1", RUNNING, **{**low, "VacCpuFraction": 0.01}),
        # Too young to have shown any.
        ad("50.2", RUNNING, **low, JobCurrentStartDate=int(NOW) - 100),
    ]
    words = (
        "2 VMs of age evidence_seconds (300) or more, and none shows work: the most use of its processors is 0.125,"
        " below evidence_cpu_fraction (0.3); if they work, lower that (one busy processor of 8 is 0.125)"
    )
    code, printed = site.explain()
    assert (code, words in printed, "heartbeat" in printed) == (0, True, False)
    site.pool.ads[-3]["VacHeartbeat"] = int(NOW) - 30
    assert "set heartbeat_is_evidence: true" in site.explain()[1]
    site.write(processors=8, heartbeat_file="beat", heartbeat_seconds=600, heartbeat_is_evidence=True)
    assert "evidence_seconds" not in site.explain()[1], "one of them works"
    site.write(processors=8, evidence_cpu_fraction=0.1)
    assert "evidence_seconds" not in site.explain()[1]


def test_an_ad_that_cannot_be_judged_hides_no_slot_that_can(site: Site) -> None:
    site.pool.ads.append(ad("50.0"))
    site.pool.machines, site.pool.matches = [SLOT], (3, 2, [f"wn{number}" for number in range(7)])
    code, printed = site.explain()
    assert code == 1
    assert "cannot be judged for wn0, wn1, wn2, wn3, wn4, ...:" in printed
    assert "2 slots would accept 50.0" in printed
