# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor on how nodes are divided: the node's own slot on a worker node, the pool's nodes on an access point."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import pytest

from condor_vac.cli import doctor
from condor_vac.worker.checks.matching import ACCESS_POINT
from condor_vac.worker.checks.node import Check, Node
from tests.unit.condor_vac.cli.pretended_node import FILES, Pretended, findings

CHECK = "condor/matching"
EXPRESSION = "/Expr(quantize(target.RequestCpus,{ 1 }))/"
DIVIDED = {
    "Machine": "wn1", "HasVM": True, "PartitionableSlot": True, "ConsumptionCpus": EXPRESSION, "NumClaims": 8,
    "SlotWeight": "/Expr(Cpus)/", "TotalSlotCpus": 40,
}  # fmt: skip


def divide(node: Pretended) -> None:
    """As the role leaves a node whose startd has restarted."""
    settings = json.loads(FILES["/etc/condor_vac/worker.json"])
    node.write("/etc/condor_vac/worker.json", json.dumps({**settings, "starts_per_cycle": 8}))
    node.knobs.update(CONSUMPTION_POLICY="True", NUM_CLAIMS="8", SLOT_WEIGHT="Cpus")
    node.slot.update(ConsumptionCpus=EXPRESSION, NumClaims=8)


def test_a_node_that_is_divided_and_one_that_is_the_sites_own(node: Pretended) -> None:
    assert CHECK not in findings(node)
    divide(node)
    assert CHECK not in findings(node)
    # A policy of the site's own, with worker_starts_per_cycle: 0.
    node.write("/etc/condor_vac/worker.json", FILES["/etc/condor_vac/worker.json"])
    assert CHECK not in findings(node)


@pytest.mark.parametrize(
    ("knobs", "slot", "words"),
    [
        ({"CONSUMPTION_POLICY": "False"}, {}, "CONSUMPTION_POLICY is not True"),
        ({"NUM_CLAIMS": "4"}, {}, "started with NUM_CLAIMS 8, and the files have 4"),
        ({}, {"ConsumptionCpus": None}, "started before CONSUMPTION_POLICY was set"),
        ({}, {"PartitionableSlot": None}, "has no partitionable slot"),
        ({"SLOT_WEIGHT": "GPUs"}, {}, "SLOT_WEIGHT is GPUs, which uses GPUs"),
        ({"SLOT_TYPE_1_SLOT_WEIGHT": "1"}, {}, "SLOT_TYPE_1_SLOT_WEIGHT is 1, which is the same"),
        ({"ENABLE_CLAIMABLE_PARTITIONABLE_SLOTS": "True"}, {}, "ENABLE_CLAIMABLE_PARTITIONABLE_SLOTS is True"),
    ],
)
def test_what_keeps_a_node_from_being_divided(
    node: Pretended, knobs: dict[str, str], slot: dict[str, Any], words: str
) -> None:
    divide(node)
    node.knobs.update(knobs)
    node.slot.update(slot)
    node.slot = {name: value for name, value in node.slot.items() if value is not None}
    (what,) = findings(node)[CHECK]
    assert words in what


def test_htcondors_own_tool_evaluates_the_weight_where_it_is(node: Pretended) -> None:
    divide(node)
    node.knobs.update(SLOT_WEIGHT="Memory/Cpus")
    node.answers["classad_eval"] = (0, "error\n")
    assert CHECK not in findings(node)
    node.write("/bin/classad_eval", "", 0o755)
    (what,) = findings(node)[CHECK]
    assert "SLOT_WEIGHT is Memory/Cpus, which is error for a free node" in what


@pytest.fixture
def point(node: Pretended) -> Pretended:
    """An access point with a factory, in a pool with nodes that are divided."""
    node.write("/usr/local/libexec/vac_factory", "#!/usr/bin/python3\n", 0o755)
    node.knobs.update(DAEMON_LIST="MASTER, SCHEDD")
    answers(node, [DIVIDED])
    return node


def answers(node: Pretended, slots: list[dict[str, Any]], leftovers: str = "False", first: str = "False") -> None:
    node.answers.update(
        {
            "condor_status -json": (0, json.dumps(slots)),
            "condor_config_val -schedd CLAIM_PARTITIONABLE_LEFTOVERS": (0, f"{leftovers}\n"),
            "condor_config_val -negotiator NEGOTIATOR_DEPTH_FIRST": (0, f"{first}\n"),
        }
    )


def of_the_point(node: Pretended) -> list[str]:
    (entry,) = doctor.examine(Node(str(node.base)), list(ACCESS_POINT))["checks"]
    return [item["what"] for item in entry["findings"]] + [f"note: {item['what']}" for item in entry["notes"]]


def test_an_access_point_of_a_pool_in_which_shares_hold(point: Pretended) -> None:
    assert of_the_point(point) == []
    answers(point, [])
    assert of_the_point(point) == []


def test_an_ad_that_nests_without_end_hides_no_other(point: Pretended) -> None:
    """As HTCondor prints a list in an ad; ClassAds take about 200 levels."""
    deep: list[Any] = []
    for _level in range(200):
        deep = [deep]
    answers(point, [{**DIVIDED, "Machine": "rogue", "SlotWeight": deep}, {**DIVIDED, "SlotWeight": "/Expr(GPUs)/"}])
    found = of_the_point(point)
    assert len(found) == 2
    assert any("SLOT_WEIGHT on 1 node (rogue) is [[[" in what for what in found)
    assert any("SLOT_WEIGHT on 1 node (wn1) is GPUs, which uses GPUs" in what for what in found)


def test_an_access_point_that_takes_what_a_match_leaves(point: Pretended) -> None:
    answers(point, [DIVIDED], leftovers="True")
    (what,) = of_the_point(point)
    assert what.startswith("CLAIM_PARTITIONABLE_LEFTOVERS is True on this access point")
    point.knobs.update(DAEMON_LIST="MASTER")
    assert of_the_point(point) == [], "no schedd runs here"


def test_a_negotiator_that_goes_depth_first(point: Pretended) -> None:
    answers(point, [DIVIDED], first="True")
    (what,) = of_the_point(point)
    assert what.startswith("NEGOTIATOR_DEPTH_FIRST is True on the central manager")
    plain = {name: value for name, value in DIVIDED.items() if name != "ConsumptionCpus"}
    answers(point, [plain], first="True")
    assert [what.partition(" on ")[0] for what in of_the_point(point)] == ["note: no consumption policy"]
    answers(point, [DIVIDED])
    point.answers["condor_config_val -negotiator"] = (1, "Can't find address for negotiator")
    del point.answers["condor_config_val -negotiator NEGOTIATOR_DEPTH_FIRST"]
    assert of_the_point(point) == []


@pytest.mark.parametrize(("worker", "point", "names"), [
    (True, False, ["VMs"]), (False, True, ["shares"]), (True, True, ["VMs", "shares"]),
])  # fmt: skip
def test_which_checks_a_machine_gets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], worker: bool, point: bool, names: list[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(doctor, "CHECKS", (Check("condor", "VMs", lambda _: []),))
    monkeypatch.setattr(doctor, "ACCESS_POINT", (Check("condor", "shares", lambda _: []),))
    monkeypatch.setattr(Node, "is_worker", worker)
    monkeypatch.setattr(Node, "is_access_point", point)
    assert doctor.run(argparse.Namespace(nagios=False, textfile=None, step=None, json=True)) == 0
    assert [entry["check"] for entry in json.loads(capsys.readouterr().out)["checks"]] == names


def test_what_makes_an_access_point(node: Pretended, tmp_path: Path) -> None:
    assert not Node(str(node.base)).is_access_point
    for path in ("etc/condor_vac/machinetypes", "usr/local/libexec/vac_factory"):
        (tmp_path / "alone" / path).mkdir(parents=True)
        assert Node(str(tmp_path / "alone")).is_access_point
        (tmp_path / "alone" / path).rmdir()
    assert not Node(str(tmp_path / "alone")).is_access_point
