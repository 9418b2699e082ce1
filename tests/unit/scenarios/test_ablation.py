# SPDX-License-Identifier: GPL-3.0-or-later
"""The ablation: each switch switches something and nothing for good, and what it costs is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from condor_vac.simulate.scenario import Scenario, from_mapping
from tests.scenarios import ablation
from tests.scenarios.ablation import Cost
from tests.scenarios.mechanisms import MECHANISMS, Mechanism

ROOT = Path(__file__).resolve().parents[3]
FOUND = {
    "opening": {
        "cold": Cost(0.25, "net"), "trickle": Cost(-0.0125, "net"), "late": Cost(0.0, "net"),
        "quiet": Cost(-7.5, "slot_hours"),
    },
    "late": {name: Cost(0.0, "net") for name in ("cold", "trickle", "late", "quiet")},
    "scouts": {"cold": Cost(0.5, "net", broken=1)},
}  # fmt: skip


def small(tasks: int, name: str = "small") -> dict[str, Any]:
    """Forty slots for two hours."""
    machinetype: dict[str, Any] = {
        "name": "gridpp",
        "max_machines": 40,
        "max_idle": 10,
        "idle_seconds": [120, 300],
        "evidence_seconds": [60, 180],
        "no_work_message": "300 No work",
        "queue": [],
    }
    if tasks:
        machinetype["queue"] = [{"at": 0, "tasks": tasks, "seconds": [900, 1200]}]
    hosts = {"count": 4, "slots": 10}
    times = {"negotiation_interval": 60, "start_seconds": [60, 150], "duration": 7200}
    return {"name": name, **times, "hosts": hosts, "machinetypes": [machinetype], "seed": 1}


def scenario(tasks: int) -> Scenario:
    return from_mapping(small(tasks), "small")


def value(owner: Any, attribute: str) -> Any:
    return vars(owner)[attribute]


@pytest.mark.parametrize("mechanism", MECHANISMS.values(), ids=MECHANISMS)
def test_a_switch_changes_the_policy_and_puts_it_back(mechanism: Mechanism) -> None:
    before = [value(owner, attribute) for owner, attribute, _ in mechanism.patches]
    assert before
    with mechanism.off():
        for (owner, attribute, _), whole in zip(mechanism.patches, before):
            assert value(owner, attribute) is not whole
    assert [value(owner, attribute) for owner, attribute, _ in mechanism.patches] == before


def test_a_switch_of_what_does_not_exist_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no_such"), Mechanism("x", "", ((MECHANISMS, "no_such", 1),)).off():
        pass


def test_what_matters_costs_net_and_what_does_not_costs_none() -> None:
    plenty = scenario(400)
    whole = ablation.baseline(plenty)
    assert whole.net is not None
    opening = ablation.cost(plenty, whole, "opening")
    assert opening.unit == "net"
    assert opening.cost > 0.001
    assert ablation.cost(plenty, whole, "forgiven_hosts") == Cost(0.0, "net")
    assert ablation.baseline(plenty) == whole, "every mechanism is in force again"


def test_without_work_the_cost_is_slot_time() -> None:
    nothing = scenario(0)
    whole = ablation.baseline(nothing)
    assert (whole.net, whole.oracle) == (None, 0.0)
    opening = ablation.cost(nothing, whole, "opening")
    assert opening.unit == "slot_hours"
    assert opening.cost < -0.1, "a smaller opening wastes less"


def test_the_table_has_mean_extremes_and_how_many_scenarios_change() -> None:
    lines = ablation.table(FOUND).splitlines()
    assert lines[0] == "| without | mean net lost | most lost | most gained | no work | changed |"
    assert lines[2:] == [
        "| opening | +0.0792 | 0.2500 | 0.0125 | -7.5 h | 3 of 4 |",
        "| late | +0.0000 | 0.0000 | 0.0000 | +0.0 h | 0 of 4 |",
        "| scouts | +0.5000 | 0.5000 | 0.0000 | +0.0 h | 1 of 1 |",
    ]


def test_the_details_name_what_changes_the_most_costly_first() -> None:
    opening, late, scouts = ablation.details(FOUND).splitlines()
    assert opening == (
        f"- **opening** ({MECHANISMS['opening'].without}): "
        "cold +0.2500, trickle -0.0125, quiet -7.5 h; unchanged: 1 of 4."
    )
    assert late == f"- **late** ({MECHANISMS['late'].without}): unchanged: 4 of 4."
    assert scouts.endswith(": cold +0.5000 BROKEN.")


def test_the_command_prints_json_or_tables_and_its_progress(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = []
    for name, tasks in (("plenty", 400), ("nothing", 0)):
        paths.append(str(tmp_path / f"{name}.yml"))
        Path(paths[-1]).write_text(json.dumps(small(tasks, name)))
    words = [*paths, "--mechanism", "opening", "late", "--jobs", "1"]
    assert ablation.main([*words, "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert list(found) == ["opening", "late"]
    assert found["opening"]["scenarios"]["plenty"]["cost"] > 0.001
    assert found["opening"]["scenarios"]["nothing"]["unit"] == "slot_hours"
    assert "2 of 2 scenarios with the whole policy\n" in printed.err
    assert "4 of 4 scenarios without one mechanism\n" in printed.err
    assert ablation.main(words) == 0
    assert "| opening |" in capsys.readouterr().out


def test_help_names_the_mechanisms_and_a_wrong_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        ablation.main(["--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert all(name in text for name in MECHANISMS)
    with pytest.raises(SystemExit) as ended:
        ablation.main(["--mechanism", "luck"])
    assert ended.value.code == 2


def test_a_page_that_is_not_as_the_code_has_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    page.write_text("old\n")
    monkeypatch.setattr(ablation, "ROOT", tmp_path)
    monkeypatch.setattr(ablation, "TARGET", page)
    monkeypatch.setattr(ablation, "ablate", lambda *_: FOUND)
    assert ablation.main(["--check"]) == 1
    assert capsys.readouterr().out.startswith("docs/page.md is not what the code gives")
    assert ablation.main(["--write"]) == 0
    assert ablation.main(["--check"]) == 0
    assert "| opening |" in page.read_text("utf-8")


def test_the_documents_know_each_mechanism() -> None:
    page = (ROOT / "docs" / "ablation-results.md").read_text("utf-8")
    rows = [line.split(" ")[1] for line in page.splitlines() if line.startswith("| ") and " of " in line]
    assert rows == list(MECHANISMS)
    factory = (ROOT / "docs" / "factory.md").read_text("utf-8")
    assert [name for name in MECHANISMS if f"`{name}`" not in factory] == []
