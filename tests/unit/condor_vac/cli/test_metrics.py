# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac metrics``: what Prometheus' own parser reads of it, and what damage and hostile text change."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from condor_vac.base.errors import VacError
from condor_vac.cli import metric_families, metrics, metrics_credentials, metrics_worker_node
from condor_vac.cli.metric_families import FAMILIES, Metrics
from condor_vac.factory import totals as factory_totals
from condor_vac.factory.state import State
from condor_vac.factory.totals import Totals
from condor_vac.worker import settings
from condor_vac.worker.checks.node import Node
from tests.unit.condor_vac.cli.pretended_node import Pretended
from tests.unit.condor_vac.cli.surveyed import LAST, Site
from tests.unit.condor_vac.cli.test_doctor_remains import UUIDS, lease, token
from tests.unit.condor_vac.standins import NOW

Samples = dict[tuple[str, ...], float]
OBSERVED = {"idle": 3, "running": 5, "held": 1, "removed": 0, "works": 4, "ended": {}}
TOTALS = Totals(
    NOW - 900, NOW - 30, 15, 2, 40, 30, 7200.5, 60.25, {"success 200": 9, "fizzle none": 3, "agent other": 1}
)  # fmt: skip


def samples(text: str) -> Samples:
    """Each sample of a text by its name and label values, in the order of the names of labels."""
    return {
        (sample.name, *(value for _name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture(autouse=True)
def _no_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "PATH", str(tmp_path / "no_worker.json"))
    monkeypatch.setattr(metrics_credentials, "Node", lambda: Node(str(tmp_path)))


@pytest.fixture
def busy(site: Site) -> Site:
    numbers = {"allowed_unproven": 12, "credit": -2.5}
    site.keep(State(last={**LAST, "numbers": numbers, "observed": OBSERVED}, avoid=("wn1", "wn2")))
    factory_totals.save(str(site.states / "gridpp"), TOTALS)
    return site


def of(site: Site) -> Samples:
    code, out, err = site.run("metrics")
    assert (code, err) == (0, "")
    return samples(out)


def test_an_access_point(busy: Site) -> None:
    found = of(busy)
    wanted = {
        ("condor_vac_machines", "gridpp", "idle"): 3,
        ("condor_vac_machines", "gridpp", "running"): 5,
        ("condor_vac_machines_working", "gridpp"): 4,
        ("condor_vac_machines_limit", "gridpp"): 1000,
        ("condor_vac_machines_allowed", "gridpp"): 12,
        ("condor_vac_credit_machines", "gridpp"): -2.5,
        ("condor_vac_hosts_avoided", "gridpp"): 2,
        ("condor_vac_machines_submitted_total", "gridpp"): 40,
        ("condor_vac_machines_started_total", "gridpp"): 30,
        ("condor_vac_machines_ended_total", "200", "success", "gridpp"): 9,
        ("condor_vac_machines_ended_total", "none", "fizzle", "gridpp"): 3,
        ("condor_vac_machines_ended_total", "other", "agent", "gridpp"): 1,
        ("condor_vac_machines_ended_total", "400", "banned", "gridpp"): 0,
        ("condor_vac_machines_ended_total", "none", "refused", "gridpp"): 0,
        ("condor_vac_machine_worked_seconds_total", "gridpp"): 7200.5,
        ("condor_vac_machine_wasted_seconds_total", "gridpp"): 60.25,
        ("condor_vac_cycle_errors_total", "gridpp"): 2,
        ("condor_vac_last_cycle_timestamp_seconds", "gridpp"): NOW - 30,
        ("condor_vac_last_cycle_failed", "gridpp"): 0,
        ("condor_vac_state_readable", "state.json", "gridpp"): 1,
    }
    assert {key: found.get(key) for key in wanted} == wanted
    code, out, _err = busy.run("metrics", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["condor_vac_hosts_avoided"]["samples"] == [{"labels": {"machinetype": "gridpp"}, "value": 2.0}]
    assert set(report) <= set(FAMILIES)


@pytest.mark.parametrize(("file", "lost", "kept"), [
    ("state.json", "condor_vac_last_cycle_failed", "condor_vac_cycles_total"),
    ("totals.json", "condor_vac_cycles_total", "condor_vac_last_cycle_failed"),
])  # fmt: skip
def test_a_damaged_file_costs_its_own_samples(busy: Site, file: str, lost: str, kept: str) -> None:
    (busy.states / "gridpp" / file).write_text('{"version": 1, "policy": "<script>"}')
    (busy.types / "other.json").write_text((busy.types / "gridpp.json").read_text().replace("gridpp", "other"))
    found = of(busy)
    assert (lost, "gridpp") not in found
    assert (kept, "gridpp") in found
    assert found["condor_vac_state_readable", file, "gridpp"] == 0
    assert found["condor_vac_state_readable", file, "other"] == 1
    (busy.states / "gridpp" / file).rename(busy.states / "gridpp" / f"{file}.damaged")
    again = of(busy)
    assert again["condor_vac_state_set_aside", file, "gridpp"] == 1
    assert again["condor_vac_state_set_aside", file, "other"] == 0


def test_a_damaged_machinetype_costs_its_own_samples(busy: Site) -> None:
    (busy.types / "other.json").write_text("{")
    found = of(busy)
    assert found["condor_vac_machinetype_readable", "other"] == 0
    assert found["condor_vac_machinetype_readable", "gridpp"] == 1
    assert found["condor_vac_machines", "gridpp", "idle"] == 3


def test_figures_that_are_none_are_left_out(busy: Site) -> None:
    observed = {"idle": "</script>", "running": True, "held": [1], "removed": 10**400, "works": 2}
    busy.keep(State(last={**LAST, "observed": observed, "numbers": {"credit": {}}}))
    found = of(busy)
    assert not [key for key in found if key[0] == "condor_vac_machines"]
    assert found["condor_vac_machines_working", "gridpp"] == 2


def test_retired_machinetypes_have_none(busy: Site) -> None:
    (busy.types / "gridpp.json").unlink()
    assert not [key for key in of(busy) if "gridpp" in key]


def test_the_file_is_written_whole_for_all_to_read(busy: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "collector"
    place.mkdir()
    for _ in range(2):
        assert busy.run("metrics", "--textfile", str(place)) == (0, "", "")
    assert os.listdir(place) == [metrics.NAME]
    assert (place / metrics.NAME).stat().st_mode & 0o777 == 0o644
    before = samples((place / metrics.NAME).read_text())
    assert before["condor_vac_hosts_avoided", "gridpp"] == 2

    def missing(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(VacError, match="install python3-prometheus-client"):
        Metrics().text()


@pytest.mark.parametrize("words", [("metrics", "--textfile", "none"), ("metrics", "--machinetypes", "none")])
def test_wrong_places_are_bad_usage(site: Site, words: tuple[str, ...]) -> None:
    if "--machinetypes" in words:
        site.types = site.types / "none"
    code, out, err = site.run(*words)
    assert (code, out) == (2, "")
    assert "none" in err
    assert err.count("\n") == 1


def of_node(node: Pretended) -> Samples:
    made = Metrics()
    metrics_worker_node.collect(made, str(node.base / "run/condor_vac"), str(node.base / "etc/condor_vac/worker.json"))
    return samples(made.text().decode())


def test_a_worker_node(node: Pretended) -> None:
    images = node.base / "images"
    node.write("/etc/condor_vac/worker.json", json.dumps({"image_dir": str(images)}))
    node.write("/images/.versions/bad.json", "[]")
    lease(node, 1)
    lease(node, 2, started=None, started_boottime=None)
    lease(node, 3, stopping={"cause": "heartbeat", "message": "m", "boottime": 1.0})
    lease(node, 4, ended=7, ended_boottime=7.0, saved=True)
    lease(node, 5).write_text("<script>")
    troubles = node.write("/run/condor_vac/troubles.json", '["libvirt is away"]')
    os.utime(troubles, (NOW, NOW))
    found = of_node(node)
    states = {key[1]: value for key, value in found.items() if key[0] == "condor_vac_leases"}
    assert states == {"starting": 1, "running": 1, "stopping": 1, "saved": 0, "ended": 1}
    assert found["condor_vac_leases_damaged",] == 1
    assert found["condor_vac_watch_last_run_timestamp_seconds",] == NOW
    assert found["condor_vac_watch_troubles",] == 1
    assert found["condor_vac_image_good", "bad"] == 0
    node.write("/etc/condor_vac/worker.json", "{")
    troubles.unlink()
    found = of_node(node)
    assert (found["condor_vac_unreadable", "images"], found["condor_vac_unreadable", "leases"]) == (1, 0)
    assert found["condor_vac_watch_last_run_timestamp_seconds",] == 0
    assert not any(uuid in key for uuid in UUIDS for key in found)


def test_credentials(node: Pretended, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_credentials, "Node", lambda: Node(str(node.base)))
    node.write("/etc/condor/tokens.d/pool", token(NOW), 0o600)
    node.write("/etc/condor/tokens.d/forever", token(None), 0o600)
    node.write("/etc/condor/tokens.d/none", "secret")
    made = Metrics()
    metrics_credentials.collect(made)
    text = made.text().decode()
    assert "secret" not in text
    found = samples(text)
    ends, readable = "condor_vac_credential_expiry_timestamp_seconds", "condor_vac_credential_readable"
    tokens = "/etc/condor/tokens.d"
    assert {key: value for key, value in found.items() if key[0] == ends} == {(ends, "token", f"{tokens}/pool"): NOW}
    assert found[readable, "token", f"{tokens}/none"] == 0
    assert found[readable, "token", f"{tokens}/forever"] == 1
    assert found["condor_vac_unreadable", "credentials"] == 0
    node.answers["condor_config_val -dump"] = (1, "no such program")
    made = Metrics()
    metrics_credentials.collect(made)
    assert samples(made.text().decode())["condor_vac_unreadable", "credentials"] == 1


def test_labels_are_one_line_and_bounded() -> None:
    made = Metrics()
    hostile = 'a"} 1\ncondor_vac_machines{state="x\x1b[2J' + "b" * 4096
    made.add("condor_vac_image_good", 1, image=hostile)
    for number in range(metric_families.SAMPLES_LIMIT + 10):
        made.add("condor_vac_machines_working", number, machinetype=str(number))
    found = samples(made.text().decode())
    (value,) = [key[1] for key in found if key[0] == "condor_vac_image_good"]
    assert len(value) == 200
    assert value.isprintable()
    assert not [key for key in found if key[0] == "condor_vac_machines"]
    assert len([key for key in found if key[0] == "condor_vac_machines_working"]) == metric_families.SAMPLES_LIMIT
    with pytest.raises(KeyError, match="no label host"):
        made.add("condor_vac_machines_working", 1, machinetype="a", host="wn1")
