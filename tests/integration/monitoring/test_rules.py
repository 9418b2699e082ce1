# SPDX-License-Identifier: GPL-3.0-or-later
"""The alert rules by promtool: each alert fires for one course of metrics, and is silent for one that looks alike."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from condor_vac.cli.metric_families import FAMILIES
from tests.integration.monitoring import tools

DAY = 86400
MT = 'instance="ap",machinetype="lhcb"'


def ended(kind: str) -> str:
    return f'condor_vac_machines_ended_total{{{MT},kind="{kind}",code="none"}}'


def state(word: str) -> str:
    return f'condor_vac_machines{{{MT},state="{word}"}}'


FILE = 'node_textfile_mtime_seconds{instance="ap",file="/x/condor_vac.prom"}'
LAST, INTERVAL = f"condor_vac_last_cycle_timestamp_seconds{{{MT}}}", f"condor_vac_cycle_interval_seconds{{{MT}}}"
CREDENTIAL = 'condor_vac_credential_expiry_timestamp_seconds{instance="ap",kind="token",path="/t"}'
FAILED, STARTED = f"condor_vac_last_cycle_failed{{{MT}}}", f"condor_vac_machines_started_total{{{MT}}}"
AVOIDED, GOOD = f"condor_vac_hosts_avoided{{{MT}}}", f"condor_vac_machinetype_readable{{{MT}}}"
TOTALS = f'condor_vac_state_readable{{{MT},file="totals.json"}}'
IMAGE = 'condor_vac_image_good{instance="wn",image="a"}'
WATCH, TROUBLES = (f'condor_vac_watch_{what}{{instance="wn"}}' for what in ("last_run_timestamp_seconds", "troubles"))
FINDINGS = 'condor_vac_doctor_findings{instance="wn",step="nfs",check="exports"}'
DOCTOR = 'condor_vac_doctor_last_run_timestamp_seconds{instance="wn"}'
UNREADABLE = 'condor_vac_unreadable{instance="wn",part="leases"}'
WASTED, WORKED = (f"condor_vac_machine_{word}_seconds_total{{{MT}}}" for word in ("wasted", "worked"))
# Alert → the minute at which it is looked at, the series with which it fires, and those with which it is silent. Time
# begins at 0, and a step is five minutes.
CASES: dict[str, tuple[int, dict[str, str], dict[str, str]]] = {
    "CondorVacMetricsStale": (30, {FILE: "0x9"}, {FILE: "0+300x9"}),
    "CondorVacFactoryStopped": (30, {LAST: "0x9", INTERVAL: "60x9"}, {LAST: "0x9", INTERVAL: "900x9"}),
    "CondorVacFactoryFailing": (30, {FAILED: "1x9"}, {FAILED: "1x2 0x9"}),
    "CondorVacFileDamaged": (20, {TOTALS: "0x9", GOOD: "1x9"}, {TOTALS: "1x9", GOOD: "1x9"}),
    "CondorVacVMsFail": (
        80,
        {ended("banned"): "0+5x20", ended("success"): "0x20"},
        {ended("banned"): "0+5x20", ended("success"): "0+15x20"},
    ),
    "CondorVacNothingStarts": (
        150,
        {state("idle"): "5x40", state("running"): "0x40", STARTED: "9x40"},
        {state("idle"): "5x40", state("running"): "0x40", STARTED: "9x15 10x25"},
    ),
    "CondorVacVMsHeld": (80, {state("held"): "2x20"}, {state("held"): "2x9 0x9", state("idle"): "9x20"}),
    "CondorVacHostsAvoided": (40, {AVOIDED: "1x12"}, {AVOIDED: "1x4 0x9"}),
    "CondorVacTimeWasted": (
        1600, {WASTED: "0+1500x330", WORKED: "0+1000x330"}, {WASTED: "0+1500x330", WORKED: "0+4500x330"},
    ),
    "CondorVacImageDamaged": (40, {IMAGE: "0x12"}, {IMAGE: "0x2 1x9"}),
    "CondorVacWatchStopped": (30, {WATCH: "0x9"}, {WATCH: "0+300x9"}),
    "CondorVacWatchTroubles": (20, {TROUBLES: "1x9"}, {TROUBLES: "1x2 0x9"}),
    "CondorVacDoctorFindings": (70, {FINDINGS: "1x20"}, {FINDINGS: "0x20"}),
    "CondorVacDoctorStale": (2900, {DOCTOR: "0x590"}, {DOCTOR: "0+300x590"}),
    "CondorVacCredentialExpires": (70, {CREDENTIAL: f"{29 * DAY}x20"}, {CREDENTIAL: f"{32 * DAY}x20"}),
    "CondorVacCredentialExpired": (20, {CREDENTIAL: "600x9"}, {CREDENTIAL: f"{DAY}x9"}),
    "CondorVacUnreadable": (20, {UNREADABLE: "1x9"}, {UNREADABLE: "0x9"}),
}  # fmt: skip


def alerts() -> dict[str, dict[str, Any]]:
    return {
        rule["alert"]: rule for group in yaml.safe_load(tools.RULES.read_text())["groups"] for rule in group["rules"]
    }


def test_every_alert_has_its_cases() -> None:
    assert set(CASES) == set(alerts())


def test_the_rules_are_well_formed() -> None:
    done = tools.promtool("check", "rules", str(tools.RULES))
    assert done.returncode == 0, done.stdout + done.stderr


def course(fires: bool, expected: bool) -> dict[str, Any]:
    """One test of promtool's for all alerts, each on an instance of its own: making a storage is what takes time."""
    series, looks = {}, []
    for alert, (minute, *given) in CASES.items():
        for name, values in given[0 if fires else 1].items():
            series[re.sub('instance="[a-z]+"', f'instance="{alert}"', name)] = values
        # By expression, since labels and annotations are the rules' own.
        found = f'count(ALERTS{{alertname="{alert}",alertstate="firing",instance="{alert}"}}) or vector(0)'
        sample = {"labels": "{}", "value": int(expected)}
        looks.append({"expr": found, "eval_time": f"{minute}m", "exp_samples": [sample]})
    return {
        "interval": "5m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": looks,
    }


@pytest.mark.parametrize("wrong", [False, True])
def test_each_alert_fires_and_is_silent(tmp_path: Path, wrong: bool) -> None:
    """Where every expectation is wrong promtool refuses each of them."""
    tests = [course(fires, fires is not wrong) for fires in (True, False)]
    file = tmp_path / "tests.yml"
    # JSON is YAML.
    file.write_text(json.dumps({"rule_files": [str(tools.RULES)], "evaluation_interval": "5m", "tests": tests}))
    done = tools.promtool("test", "rules", str(file))
    output = done.stdout + done.stderr
    assert (done.returncode == 0) is not wrong, output
    assert output.count("expr:") == (2 * len(CASES) if wrong else 0), output


def test_rules_and_dashboard_name_families_that_there_are() -> None:
    names = {f"{name}_total" if family.kind == "counter" else name for name, family in FAMILIES.items()}
    text = tools.RULES.read_text() + tools.DASHBOARD.read_text()
    used = set(re.findall(r"\bcondor_vac_[a-z_]+", text)) - {"condor_vac_"}
    assert used - names == set()
