# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac simulate`` as people and programs call it."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest

from condor_vac.cli.dispatch import main
from condor_vac.policy.observation import Decision
from condor_vac.simulate.peers import PEERS

SCENARIO = """
name: small
seed: 4
duration: 7200
hosts: {count: 3, slots: 4}
negotiation_interval: 60
start_seconds: [60, 90]
machinetypes:
  - name: one
    max_machines: 8
    max_idle: 4
    queue: [{at: 0, tasks: 60, seconds: [600, 900]}]
    idle_seconds: [60, 120]
    evidence_seconds: [30, 60]
    no_work_message: "300 none"
  - name: two
    processors: 2
    max_machines: 2
    max_idle: 2
    idle_seconds: [60, 120]
    evidence_seconds: null
    no_work_message: null
"""


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    path = tmp_path / "small.yml"
    path.write_text(SCENARIO, encoding="utf-8")
    return str(path)


def test_json_has_the_documented_keys_for_every_policy(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", scenario, "--policy", "vacuum", "--policy", "vac", "--policy", "oracle", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["scenario"] == "small"
    assert list(result["policies"]) == ["vacuum", "vac", "oracle"]
    documented = {
        "work_slot_seconds",
        "oracle_work_slot_seconds",
        "efficiency",
        "wasted_slot_seconds",
        "vm_starts",
        "wasted_starts",
        "net",
        "seconds_to_90_percent",
        "mean_wait_seconds",
        "peak_machines",
        "peak_idle",
        "cap_violations",
        "killed_working",
        "timeline",
    }
    for found in result["policies"].values():
        assert set(found) == documented | {"per_machinetype"}
        assert [row["seconds"] for row in found["timeline"]] == [60.0 * minute for minute in range(121)]
        assert set(found["timeline"][0]) == {"seconds", "idle", "starting", "running", "working", "queued"}
        assert set(found["per_machinetype"]) == {"one", "two"}
        for figures in found["per_machinetype"].values():
            assert set(figures) == documented
    assert result["policies"]["oracle"]["efficiency"] == 1.0
    assert result["policies"]["vacuum"]["per_machinetype"]["two"]["efficiency"] is None


def test_figures_agree_with_their_definitions(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", scenario, "--policy", "vacuum", "htcondorvms", "--json"]) == 0
    for found in json.loads(capsys.readouterr().out)["policies"].values():
        work, oracle, wasted = (found[f"{key}_slot_seconds"] for key in ("work", "oracle_work", "wasted"))
        assert found["efficiency"] == pytest.approx(work / oracle, abs=1e-5)
        assert found["net"] == pytest.approx((work - wasted) / oracle, abs=1e-5)
        parts = found["per_machinetype"].values()
        for key in ("work_slot_seconds", "wasted_slot_seconds", "vm_starts", "wasted_starts"):
            assert found[key] == pytest.approx(sum(part[key] for part in parts), abs=0.3)
        peak = max(row["idle"] + row["starting"] + row["running"] for row in found["timeline"])
        assert 0 < peak <= found["peak_machines"]


@pytest.mark.parametrize(
    "words",
    [
        ["FILE", "--policy", "htcondorvms", "--policy", "vac"],
        ["--policy", "htcondorvms", "--policy", "vac", "FILE"],
        ["FILE", "--policy", "htcondorvms", "vac", "htcondorvms"],
        ["--policy", "htcondorvms", "vac", "--", "FILE"],
    ],
)
def test_files_and_policies_in_any_order(scenario: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--json", *(scenario if word == "FILE" else word for word in words)]) == 0
    assert list(json.loads(capsys.readouterr().out)["policies"]) == ["htcondorvms", "vac"]


def test_the_old_name_of_a_policy_is_taken(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", scenario, "--policy", "seed", "htcondorvms", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["policies"]
    assert list(found) == ["seed", "htcondorvms"]
    assert found["seed"] == found["htcondorvms"]
    with pytest.raises(SystemExit):
        main(["simulate", "--help"])
    assert "vacuum, htcondorvms, vac," in " ".join(capsys.readouterr().out.split())


def test_several_scenarios_give_a_list_and_one_policy_is_the_default(
    scenario: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", scenario, scenario, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [list(result["policies"]) for result in results] == [["vacuum"]] * 2
    assert results[0] == results[1], "the same seed gives the same run"


def test_seed_replaces_the_files(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for seed in ("4", "5"):
        assert main(["simulate", scenario, "--json", "--seed", seed]) == 0
        outputs.append(capsys.readouterr().out)
    assert main(["simulate", scenario, "--json"]) == 0
    assert capsys.readouterr().out == outputs[0] != outputs[1]


def test_table_has_a_row_for_each_policy_and_machinetype(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", scenario, "--policy", "vacuum", "cobald"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "small"
    assert [line.split()[0] for line in lines[2:]] == ["vacuum", "one", "two", "cobald", "one", "two"]
    assert len({len(line) for line in lines[1:]}) == 1
    ends = lines[1].index("WAIT") + len("WAIT")
    assert [line[ends - 2 : ends] for line in lines[2:]] == [" s", " s", " -"] * 2, "two has no work"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["FILE", "--policy", "vacum"], "--policy: 'vacum' is unknown; did you mean vacuum?"),  # codespell:ignore
        (["FILE", "--policy", "best"], "--policy: 'best' is unknown; give one of vacuum, htcondorvms"),
        ([], "give at least one SCENARIO.yml"),
        (["no/such.yml"], "no/such.yml: cannot read"),
        (["FILE", "--seed", "-1"], "--seed: is -1"),
        (["FILE", "--plot", "plot.txt"], "give a name that ends with .png"),
        (["FILE", "--plot", "/no/such/plot.png"], "its directory does not exist"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(
    scenario: str, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *(scenario if word == "FILE" else word for word in words)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("condor_vac simulate: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_a_broken_promise_is_a_finding(scenario: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Greedy:
        def __init__(self, seat: Any) -> None:
            pass

        def decide(self, seen: Any) -> Decision:
            return Decision(submit=1)

    monkeypatch.setitem(PEERS, "vac", Greedy)
    assert main(["simulate", scenario, "--policy", "vac", "--json"]) == 1


def test_plot_is_a_picture(scenario: str, tmp_path: Path) -> None:
    target = tmp_path / "plot.png"
    assert main(["simulate", scenario, "--policy", "vacuum", "vac", "--plot", str(target)]) == 0
    assert target.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_plot_without_matplotlib_names_the_package(
    scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["simulate", scenario, "--plot", str(tmp_path / "plot.png")]) == 1
    assert "install python3-matplotlib" in capsys.readouterr().err
