# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs that wait for hours or fail: what explain, status and page show of them, by the rules that the alerts have."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from condor_vac.cli import survey
from condor_vac.factory.day import End
from condor_vac.factory.state import State
from condor_vac.page import content
from tests.unit.condor_vac.cli.surveyed import LAST, SLOT, Site
from tests.unit.condor_vac.standins import NOW, ad


def test_explain_names_nodes_with_wrong_clocks(site: Site) -> None:
    heard = int(NOW) - 100
    offsets = {"wn1": 0, "wn2": 611, "wn3": -60, "wn4": -95}
    site.pool.ads.append(ad("50.0"))
    site.pool.matches = (4, 4, [])
    site.pool.machines = [
        {**SLOT, "Machine": name, "MyCurrentTime": heard + offset, "LastHeardFrom": heard}
        for name, offset in offsets.items()
    ]
    code, printed = site.explain()
    assert code == 0
    wrong = "wn2 (611 s ahead of the central manager's), wn4 (95 s behind the central manager's)"
    assert f"2 nodes with a wrong clock: {wrong}" in printed
    site.pool.machines = [{**SLOT, "Machine": "wn1", "MyCurrentTime": heard, "LastHeardFrom": heard}]
    assert "clock" not in site.explain()[1]


RULES = Path(__file__).parents[4] / "roles/monitoring/files/condor_vac.rules.yml"
WAITING = "3 VMs idle and none running (the first has waited 2h01); condor_vac explain gridpp shows why"


@pytest.mark.parametrize(
    ("observed", "problems"),
    [
        ({"idle": 3, "running": 0, "oldest_idle": LAST["time"] - 7260}, [WAITING]),
        ({"idle": 3, "running": 1, "oldest_idle": LAST["time"] - 7260}, []),
        ({"idle": 3, "running": 0, "oldest_idle": LAST["time"] - 7199}, []),
        ({"idle": 3, "running": 0, "oldest_idle": LAST["time"] + 600}, []),
        ({"idle": 0, "running": 0, "oldest_idle": None}, []),
        # Of an earlier release, and damaged.
        ({"idle": 3, "running": 0}, []),
        ({"idle": {}, "running": 0, "oldest_idle": 1.5}, []),
        *(({"idle": 3, "running": 0, "oldest_idle": odd}, []) for odd in (math.nan, math.inf, -math.inf, -1, 10**400)),
        (None, []),
    ],
)
def test_status_and_page_show_that_nothing_starts(
    site: Site, tmp_path: Path, observed: dict[str, Any] | None, problems: list[str]
) -> None:
    site.keep(State(last={**LAST, "observed": observed}))
    code, out, _err = site.run("status", "--json")
    assert (code, json.loads(out)["machinetypes"]["gridpp"]["problems"]) == (len(problems), problems)
    code, out, _err = site.run("page", str(tmp_path), "--json")
    assert (code, json.loads(out)["machinetypes"]["gridpp"]["problems"]) == (0, problems)
    assert ("needs attention" in (tmp_path / "index.html").read_text()) is bool(problems)


def test_the_alert_waits_as_long() -> None:
    expression = expressions()["CondorVacNothingStarts"]
    assert f'condor_vac_machines{{state="idle"}}[{survey.NOTHING_STARTS_SECONDS / 3600:g}h]' in expression


def expressions() -> dict[str, str]:
    """The shipped alerts by name."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def ends(kinds: dict[str, int], ago: float) -> list[End]:
    """So many ends of each kind, the last of them this many seconds ago."""
    return [
        End(f"{number}.0", "wn1", None, NOW - ago, None, kind, None, False)
        for number, kind in enumerate(kind for kind, times in kinds.items() for _ in range(times))
    ]


@pytest.mark.parametrize(
    ("kinds", "ago", "sentences"),
    [
        ({"banned": 4, "agent": 1, "no_work": 2}, 60,
         ["5 of the 7 VMs that ended in the last hour failed (banned 4, agent 1)"]),
        ({"refused": 5}, 3599, ["5 of the 5 VMs that ended in the last hour failed (refused 5)"]),
        ({"refused": 5}, 3601, []),
        ({"site": 4}, 60, []),
        ({"site": 5, "success": 5}, 60, []),
        ({"no_work": 30, "host_request": 9, "withdrawn": 20, "none": 7}, 60, []),
    ],
)  # fmt: skip
def test_most_vms_of_the_last_hour_failed(kinds: dict[str, int], ago: float, sentences: list[str]) -> None:
    assert content.failures(ends(kinds, ago), NOW) == sentences


def test_the_alert_counts_the_same_kinds() -> None:
    named = set(re.findall(r'kind=~"([a-z|_]+)"', expressions()["CondorVacVMsFail"]))
    assert named == {"banned|site|experiment|agent|fizzle|lost|refused"}
    assert set(named.pop().split("|")) == content.FAILED_KINDS


def test_a_full_pool_is_no_fault_of_start(site: Site) -> None:
    site.pool.ads.append(ad("50.0"))
    site.pool.matches = (2, 0, [])
    site.pool.machines = [{**SLOT, "Machine": name, "Cpus": 0} for name in ("wn1", "wn2")]
    code, printed = site.explain()
    assert code == 1
    assert "no slot with HasVM has Cpus >= 1 (most: 0)" in printed
    assert "2 slots would suit 50.0 with more left" in printed
    assert "START" not in printed
    site.pool.machines = [{**SLOT, "Disk": 40 << 20}, {**SLOT, "Disk": 60 << 20}]
    code, printed = site.explain()
    assert "2 slots would suit 50.0, but START accepts it on none" in printed
    site.pool.machines = site.pool.machines[:1]
    assert "no slot with HasVM has Disk >= 53477376 (most: 41943040)" in site.explain()[1]


def test_a_description_of_the_sites_own_requests_other_figures(site: Site) -> None:
    site.write(submit_file="/etc/vac/gridpp.sub")
    site.pool.ads.append(ad("50.0"))
    site.pool.matches = (2, 0, [])
    site.pool.machines = [{**SLOT, "Disk": 40 << 20}]
    printed = site.explain()[1]
    assert "2 slots would suit 50.0, but START accepts it on none" in printed
    assert "Disk" not in printed
    site.pool.machines = [{**SLOT, "VM_AvailNum": 0}]
    assert "no slot with HasVM has VM_AvailNum >= 1 (most: 0)" in site.explain()[1]
