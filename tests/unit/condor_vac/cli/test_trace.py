# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac trace`` and ``machines --ended`` with a pretended history, journal and hostile files."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base import tools
from condor_vac.base.errors import VacError
from condor_vac.base.shared import JobStatus
from condor_vac.cli import times, trace_node
from condor_vac.condor import history, user_log
from condor_vac.condor.pool import Unreadable
from condor_vac.worker import settings
from tests.unit.condor_vac.cli.surveyed import Site
from tests.unit.condor_vac.standins import COMPLETED, HELD, NOW, REMOVED, RUNNING, ad

UUID = "7b9d3b1e-0000-4000-8000-000000000001"
OTHER = "7b9d3b1e-0000-4000-8000-000000000002"
BATCH = "1764000000-0a0b0c0d"
HOSTILE = "\x1b[2J\nroot# " + "x" * 5000


class Programs:
    """condor_history and journalctl: their answers, and how they were called."""

    def __init__(self) -> None:
        self.history: list[dict[str, Any] | VacError] = []
        self.journal: list[dict[str, Any]] = []
        self.calls: list[list[str]] = []

    def run(self, argv: list[str], **_: Any) -> str:
        self.calls.append(argv)
        return "\n".join(["not JSON", '{"MESSAGE": 1}', *(json.dumps(line) for line in self.journal), ""])

    def ads(self, constraint: str, _: Any, limit: int, since: str | None) -> Iterator[dict[str, Any] | VacError]:
        self.calls.append(["condor_history", constraint, str(limit), since or ""])
        yield from self.history

    def log(self, when: float, message: Any, program: str = "condor_vac") -> None:
        stamp = str(int(when * 1_000_000))
        self.journal.append({"__REALTIME_TIMESTAMP": stamp, "MESSAGE": message, "SYSLOG_IDENTIFIER": program})


@pytest.fixture
def programs(site: Site, monkeypatch: pytest.MonkeyPatch) -> Programs:
    made = Programs()
    monkeypatch.setattr(tools, "run", made.run)
    monkeypatch.setattr(history, "ads", made.ads)
    monkeypatch.setattr(settings, "PATH", "/nowhere")
    monkeypatch.setattr(trace_node, "running", lambda: {UUID: f"vac_lab_50.0 [{UUID}]"})
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    return made


def over(job: str = "50.0", **attributes: Any) -> dict[str, Any]:
    given = {
        "Owner": "vac", "GlobalJobId": f"ap.example.org#{job}#1764000000", "VacUUID": UUID, "ShutdownCode": 500,
        "ShutdownMessage": "no disk", "VacKind": "site", "VacCause": "message", "VacRuntime": 900,
        "VacEnded": int(NOW) - 200, "VacLeased": int(NOW) - 3990, "VacStarted": int(NOW) - 3900,
    }  # fmt: skip
    return ad(job, COMPLETED, **{**given, **attributes})


def on_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "worker.json"
    path.write_text("{}")
    monkeypatch.setattr(settings, "PATH", str(path))


def test_a_vm_of_the_history_is_found_by_each_of_its_names(site: Site, programs: Programs) -> None:
    programs.history = [over()]
    wanted = {"vm": {"id": "50.0", "uuid": UUID, "code": 500, "kind": "site", "life": 900, "state": "ended"}}
    constraints = []
    for word in ("50.0", "ap.example.org#50.0", "ap.example.org#50.0#1764000000", UUID.upper()):
        code, out, err = site.run("trace", word, "--json")
        found = json.loads(out)
        assert (code, err) == (0, "")
        assert {key: found["vm"][key] for key in wanted["vm"]} == wanted["vm"]
        assert [step["step"] for step in found["steps"]] == [
            "submitted", "matched", "lease", "started", "message", "ended",
        ]  # fmt: skip
        _program, constraint, limit, _since = programs.calls[-1]
        constraints.append(constraint)
        assert limit == "1"
    assert 'substr(GlobalJobId, 0, 15) == "ap.example.org#"' in constraints[1]
    assert constraints[3].startswith(f'VacUUID == "{UUID}" && ')
    assert all('Owner == "vac"' in each for each in constraints)


def test_a_vm_of_the_queue_needs_no_history(site: Site, programs: Programs) -> None:
    site.pool.ads.append(ad("50.0", RUNNING, Owner="vac", VacUUID=UUID))
    code, out, _ = site.run("trace", "50.0")
    assert (code, programs.calls) == (0, [])
    assert "running on wn1.example.org after 66m" in out.splitlines()


def test_a_vm_whose_output_goes_back_is_in_one_state_everywhere(site: Site, programs: Programs) -> None:
    site.pool.ads.append(ad("50.0", JobStatus.TRANSFERRING, Owner="vac", VacUUID=UUID))
    assert json.loads(site.run("trace", "50.0", "--json")[1])["vm"]["state"] == "running"
    assert [vm["state"] for vm in json.loads(site.run("machines", "--json")[1])] == ["running"]


def test_the_factorys_decision_and_the_jobs_log_are_in_order(site: Site, programs: Programs) -> None:
    programs.history = [over()]
    place = site.states / "gridpp"
    (place / "factory.log.1").write_text(
        f"2025-11-24 15:00:00,500 INFO submitted 50.0 to 50.4 (batch {BATCH})\n"
        "2025-11-24 15:00:00,600 INFO submit 5: 5 VMs found work\n"
        "2025-11-24 15:01:00,600 INFO submit 9: of another submission\n"
        "2025-11-24 15:01:01,600 INFO submitted 150.0 (batch other)\n99-99-99 broken\n"
    )
    (place / "factory.log").write_text(
        "2025-11-24 15:30:00,100 INFO remove 50.1 50.0 50.3: not wanted any more\n"
        "2025-11-24 15:30:00,100 INFO 50.01 x\n"
    )
    vm = place / "vms" / BATCH / "0"
    (vm / "joboutputs").mkdir(parents=True)
    (vm / "console.log").write_text("console")
    (vm / "joboutputs" / "a\x1b[2J.log").write_text("12345")
    (vm / "joboutputs" / "link").symlink_to("/etc/passwd")
    (vm / "vm.log").write_text(
        "000 (050.000.000) 2025-11-24 15:00:01 Job submitted from host: <10.0.0.1>\n...\n"
        "001 (050.000.000) 2025-11-24 15:10:00 Job executing on host: <10.0.0.2>\n\tSlotName: slot1_1@wn1\n...\n"
        "012 (050.000.000) 2025-11-24 15:20:00 Job was held.\n\t\x1b[2Jno space\n...\n"
        "001 (050.001.000) 2025-11-24 15:25:00 Job executing on host: <10.0.0.3>\n"
    )
    _code, out, _ = site.run("trace", "50.0", "--json")
    found = json.loads(out)
    steps = [(step["source"], step["text"]) for step in found["steps"]]
    assert [text for source, text in steps if source == "factory.log"] == [
        f"submitted 50.0 to 50.4 (batch {BATCH})", "submit 5: 5 VMs found work", "remove 50.0: not wanted any more",
    ]  # fmt: skip
    assert [text for source, text in steps if source == "vm.log"] == [
        "Job submitted from host: <10.0.0.1>",
        "Job executing on host: <10.0.0.2> SlotName: slot1_1@wn1",
        "Job was held. \N{REPLACEMENT CHARACTER}[2Jno space",
    ]
    assert [step["time"] for step in found["steps"]] == sorted(step["time"] for step in found["steps"])
    assert [(each["name"], each["size"]) for each in found["outputs"] if each["name"] != "vm.log"] == [
        ("console.log", 7), ("joboutputs/a\N{REPLACEMENT CHARACTER}[2J.log", 5),
    ]  # fmt: skip
    assert found["directory"] == str(vm)


@pytest.mark.parametrize("value", [HOSTILE, -1, 1e300, True, 4e9, Unreadable("1 + x"), ["a"]])
def test_whatever_is_in_an_ad_is_printed_as_text(site: Site, programs: Programs, value: Any) -> None:
    keys = (
        "ShutdownMessage",
        "VacUUID",
        "GlobalJobId",
        "VacLeased",
        "VacCpuSeconds",
        "RemoveReason",
        "VacBatch",
        "QDate",
    )
    for state in (COMPLETED, RUNNING, HELD, REMOVED):
        site.pool.ads = [over(**dict.fromkeys(keys, value), JobStatus=state, HoldReason=value, Owner="vac")]
        for words in (["trace", "50.0"], ["trace", "wn1"], ["machines", "--ended", "7d"]):
            for form in ([], ["--json"]):
                _code, out, err = site.run(*words, *form)
                assert (out + err).replace("\n", "").isprintable()
                assert len(out) < 20_000


def test_another_users_job_of_a_machinetype_is_no_vm_of_it(site: Site, programs: Programs) -> None:
    programs.history = [over(Owner="mallory")]
    assert site.run("trace", "50.0")[0] == 1
    assert json.loads(site.run("machines", "--ended", "24h", "--json")[1]) == []


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["trace", "50.1"], 1, "condor_vac trace: 50.1: no such VM in the queue or HTCondor's history"),
        (["trace", "wn7"], 1, "condor_vac trace: wn7: this access point has had no VM on it since 2025-11-23 16:00:00;"
                              " the node's own journal is on wn7"),
        (["trace", "50"], 2, "condor_vac trace: 50: names a cluster of jobs; give one of its jobs, such as 50.0"),
        (["trace", "a b\x1b"], 2,
         r"condor_vac trace: 'a b\x1b' is no job's id (CLUSTER.PROC), no UUID and no host's name"),
        (["machines", "--ended", "1h", "--watch", "5"], 2,
         "condor_vac machines: --ended reads the whole history of its time: use it without --watch"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_one_line(site: Site, programs: Programs, words: list[str], code: int, line: str) -> None:
    assert site.run(*words) == (code, "", f"{line}\n")


def test_ended_vms_come_from_the_queue_and_the_history_with_their_lives(site: Site, programs: Programs) -> None:
    site.pool.ads.append(over("50.1", ShutdownCode=300, VacKind="no_work", VacRuntime=60))
    removed = over("50.2", JobStatus=REMOVED, VacCause="removed", VacKind="none", RemoveReason="via condor_rm")
    idle = over("50.3", JobStatus=REMOVED, JobCurrentStartDate=None, VacEnded=None)
    old = over("50.4", VacEnded=int(NOW) - 90000, JobCurrentStartDate=int(NOW) - 95000)
    programs.history = [
        removed,
        idle,
        old,
        over("50.0"),
        {"ClusterId": "x", "VacMachinetype": "gridpp", "Owner": "vac"},
    ]
    code, out, err = site.run("machines", "--ended", "24h", "--json")
    assert (code, err) == (0, "")
    assert [(vm["id"], vm["code"], vm["kind"], vm["life"], vm["cause"]) for vm in json.loads(out)] == [
        ("50.0", 500, "site", 900, "message"),
        ("50.1", 300, "no_work", 60, "message"),
        ("50.2", 500, "none", 900, "removed"),
    ]
    assert programs.calls[-1][-1].endswith(f"EnteredCurrentStatus < {int(NOW) - 2 * 86400}")
    table = site.run("machines", "gridpp", "--ended", "1d")[1].splitlines()
    assert [line.split()[0] for line in table] == ["ID", "50.0", "50.1", "50.2"]
    # Of a machinetype that is gone too, as long as its directory is there.
    (site.types / "gridpp.json").unlink()
    monkey = json.loads(site.run("machines", "--ended", "24h", "--json")[1])
    assert [vm["id"] for vm in monkey] == (["50.0", "50.1", "50.2"] if _owner_is_vac(site) else [])


def _owner_is_vac(site: Site) -> bool:
    return (site.states / "gridpp").owner() == "vac"


def test_a_nodes_journal_is_joined_by_uuid(
    site: Site, programs: Programs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on_node(monkeypatch, tmp_path)
    label = f"vac_lab_50.0 [{UUID}]"
    programs.log(NOW - 3990, f"vac_lease: {label}: lease granted to its prepare hook: 192.168.86.10, gridpp")
    programs.log(NOW - 3900, f"{label} (gridpp, 192.168.86.10): started")
    programs.log(NOW - 3000, f"vac_lab_150.0 [{OTHER}] (gridpp, 192.168.86.11): started")
    programs.log(NOW - 200, list(f"{label}: \x1b[2J 700: pressing its power button".encode()), "vac_watch")
    programs.log(NOW - 190, f"{label} (gridpp, 192.168.86.10): ended (shutdown): lease released")
    programs.history = [over()]
    found = json.loads(site.run("trace", "50.0", "--json")[1])
    assert [(each["source"], each["step"]) for each in found["steps"] if each["source"] != "ad"] == [
        ("condor_vac", "lease"), ("condor_vac", "started"), ("vac_watch", "stop"), ("condor_vac", "ended"),
    ]  # fmt: skip
    assert (found["uuids"], found["running"]) == ([UUID], [UUID])
    assert all(each["text"].isprintable() for each in found["steps"])
    # A worker node that is no access point.
    for path in site.types.iterdir():
        path.unlink()
    site.types.rmdir()
    for word in ("50.0", UUID):
        code, out, _ = site.run("trace", word)
        assert (code, out.count(UUID) >= 4, OTHER in out) == (0, True, False)
    code, _, err = site.run("trace", "51.0")
    assert (code, err) == (1, "condor_vac trace: 51.0: no such VM in this node's journal; its access point may know"
                              " more (condor_vac trace there)\n")  # fmt: skip
    monkeypatch.setattr(socket, "gethostname", lambda: "wn1.example.org")
    vms = json.loads(site.run("trace", "wn1", "--json")[1])["node"]
    assert [(vm["id"], vm["started"], vm["ended"]) for vm in vms] == [
        ("50.0", NOW - 3900, NOW - 190), ("150.0", NOW - 3000, None),
    ]  # fmt: skip
    assert "_UID=0" in programs.calls[-1]
    programs.log(NOW - 10, f"vac_x_50.0 [{OTHER}] (gridpp, 192.168.86.12): started")
    assert "jobs of this id had 2 VMs on this node" in site.run("trace", "50.0")[1]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert site.run("trace", "50.0")[0] == 2


def test_history_that_cannot_be_read_is_one_line_with_a_remedy(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "find", lambda _: None)
    code, out, err = site.run("trace", "50.0")
    assert (code, out, err) == (1, "", "condor_vac trace: condor_history: not found; run this on an access point\n")


def test_an_ad_of_the_history_that_cannot_be_read_is_named_and_the_others_are_shown(
    site: Site, programs: Programs
) -> None:
    programs.history = [VacError("an ad has more than 65536 characters"), over()]
    code, out, err = site.run("machines", "--ended", "24h", "--json")
    assert (code, [vm["id"] for vm in json.loads(out)]) == (0, ["50.0"])
    assert "an ad of the history cannot be read: an ad has more than 65536 characters" in err
    programs.history = programs.history[1:]
    assert site.run("machines", "--ended", "24h", "--json")[::2] == (0, "")
    programs.history = [VacError("[1] is no ad")]
    code, out, err = site.run("trace", "50.0")
    assert (code, out, err) == (1, "", "condor_vac trace: its ad in the history cannot be read: [1] is no ad\n")


def test_values_of_the_history_are_plain_or_unreadable(programs: Programs) -> None:
    programs.history = [
        VacError("no ad"),
        {"clusterid": 5, "A": "/Expr(1 + x)/", "C": {"x": 1}, "Other": 1, "D": "a\nb"},
    ]
    error, found = history.jobs("True", ["ClusterId", "A", "B", "C", "D"], 7)
    assert isinstance(error, VacError)
    assert isinstance(found, dict)
    assert {key: str(value) for key, value in found.items()} == {
        "ClusterId": "5", "A": "expression '1 + x'", "C": "expression '{\"x\": 1}'", "D": "a\nb",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "when"),
    [
        ("001 (050.000.000) 2025-11-24 16:00:00 text", NOW),
        ("001 (050.000.000) 2025-11-24T16:00:00.123Z text", NOW),
        ("001 (050.000.000) 11/24 15:00:00 text", NOW - 3600),
        ("001 (050.000.000) 12/24 16:00:00 text", NOW - 335 * 86400),
        ("001 (050.000.000) 99/99 16:00:00 text", None),
        ("006 (050.000.000) 2025-11-24 16:00:00 an image's size", None),
        ("001 (050.010.000) 2025-11-24 16:00:00 another's", None),
        ("001 (050.000.000) 2025-11-24", None),
        ("x" * 100_000, None),
    ],
)
def test_events_of_a_jobs_log(programs: Programs, line: str, when: float | None) -> None:
    found = user_log.events(f"{line}\n...\n", "50.0", NOW)
    assert [event.time for event in found] == ([] if when is None else [when])


def test_times() -> None:
    assert [times.span(word) for word in ("90m", "24h", "7d", "1s", "2w")] == [5400, 86400, 604800, 1, 1209600]
    for wrong in ("", "24", "h", "0h", "-1h", "1.5h", "24H", "99999999w", "24h ", "\u0661h"):
        with pytest.raises(Exception, match="is not a time such as"):
            times.span(wrong)
    assert times.moment("2026-01-02 03:04") == time.mktime((2026, 1, 2, 3, 4, 0, 0, 0, -1))
    assert abs(times.moment("1h") - (time.time() - 3600)) < 60
    for wrong in ("yesterday", "2026-13-01", "\x1b"):
        with pytest.raises(Exception, match="nor a date"):
            times.moment(wrong)
