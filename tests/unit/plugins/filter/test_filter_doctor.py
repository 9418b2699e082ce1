# SPDX-License-Identifier: GPL-3.0-or-later
"""The one table of all nodes, of what each node's doctor printed or failed to print."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.filter.doctor import doctor_report, doctor_table


def printed(*findings: str) -> dict[str, Any]:
    checks = [
        {"step": "network", "check": "bridge", "ok": True, "findings": []},
        {
            "step": "hooks",
            "check": "hooks",
            "ok": not findings,
            "findings": [{"what": text, "remedy": "converge"} for text in findings],
        },
    ]
    return {"rc": int(bool(findings)), "stdout": json.dumps({"host": "x", "good": not findings, "checks": checks})}


def test_every_node_is_in_the_report_and_only_the_bad_are_bad() -> None:
    report = doctor_report(
        {"node2": printed("a", "b"), "node1": printed(), "node3": {"unreachable": True, "msg": "no"}}
    )
    assert {host: node["good"] for host, node in report.items()} == {"node1": True, "node2": False, "node3": False}
    assert list(report) == ["node1", "node2", "node3"]


def test_the_table_shows_ok_or_fault_and_remedy_for_each_node_and_check() -> None:
    lines = doctor_table(doctor_report({"node1": printed(), "node2": printed("hook is gone", "more")}))
    cells = [line.split(None, 3) for line in lines]
    assert ["node1", "hooks", "hooks", "ok"] in cells
    assert ["node2", "hooks", "hooks", "hook is gone -> converge"] in cells
    assert ["node2", "hooks", "hooks", "more -> converge"] in cells
    assert lines[-1] == "2 nodes, 1 with a finding"


def test_the_short_table_has_one_line_for_what_is_well() -> None:
    report = doctor_report({f"node{number}": printed() for number in range(300)} | {"bad": printed("gone")})
    lines = doctor_table(report, everything=False)
    assert len(lines) == 1 + 300 + 2 + 1
    assert any(line.split() == ["node7", "2", "checks", "ok"] for line in lines)
    assert any(line.split() == ["bad", "1", "others", "ok"] for line in lines)


def noted(*notes: str) -> dict[str, Any]:
    """A node on which all is well, and something is to be known."""
    result = printed()
    report = json.loads(result["stdout"])
    report["checks"][0]["notes"] = [{"what": text, "remedy": "another node"} for text in notes]
    return {**result, "stdout": json.dumps(report)}


@pytest.mark.parametrize("everything", [True, False])
def test_notes_are_shown_and_are_not_findings(everything: bool) -> None:
    report = doctor_report({"node1": noted("VMs are emulated"), "node2": printed()})
    assert [node["good"] for node in report.values()] == [True, True]
    assert report["node1"]["checks"][0]["notes"] == [{"what": "VMs are emulated", "remedy": "another node"}]
    lines = doctor_table(report, everything=everything)
    assert [line.split(None, 3) for line in lines if "note:" in line] == [
        ["node1", "network", "bridge", "note: VMs are emulated"]
    ]
    assert lines[-1] == "2 nodes, 0 with a finding"


@pytest.mark.parametrize(
    "result",
    [
        {"rc": 2, "stdout": "", "stderr": "", "msg": "No such file or directory: condor_vac"},
        {"stdout": "[1, 2]"},
        {"stdout": '{"checks": [{"step": 1}]}'},
        {"stdout": '{"checks": 7}'},
        {"stdout": '{"checks": [{"step": 1, "check": 2, "findings": [], "notes": [7]}]}'},
        {"stdout": "null", "stderr": "Traceback\n  boom"},
        {},
    ],
)
def test_a_node_whose_doctor_does_not_answer_is_a_finding(result: dict[str, Any]) -> None:
    node = doctor_report({"node1": result})["node1"]
    assert not node["good"]
    what = node["checks"][0]["findings"][0]["what"]
    assert "does not run" in what
    assert "\n" not in what


def test_a_nodes_own_verdict_does_not_make_it_good() -> None:
    lie = json.dumps(
        {"good": True, "checks": [{"step": "a", "check": "b", "ok": True, "findings": [{"what": "w", "remedy": "r"}]}]}
    )
    assert not doctor_report({"node1": {"stdout": lie}})["node1"]["good"]


@pytest.mark.parametrize("result", [printed("gone\x1b[2J\nbad  ok"), noted("gone\x1b[2J\nbad  ok")])
def test_what_a_node_sends_is_printable(result: dict[str, Any]) -> None:
    """The node's root decides what its report contains, and the report reaches the administrator's terminal."""
    lines = doctor_table(doctor_report({"node1": result, "node2": {"rc": 1, "stderr": "no\x07 python\n\x9b3g"}}))
    assert all(line.isprintable() for line in lines)
    assert any("gone\ufffd[2J bad ok" in line for line in lines)
    assert any("condor_vac doctor does not run: no\ufffd python \ufffd3g" in line for line in lines)
